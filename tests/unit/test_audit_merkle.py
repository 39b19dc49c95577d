"""RFC 6962 trees by the published vectors of Certificate Transparency, and by a tree computed as the RFC defines it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.audit import merkle

# The leaves, roots and proofs of google/certificate-transparency's merkle_tree_test.cc, which other logs repeat.
LEAVES = [
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
PUBLISHED = """
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
"""
ROOTS = PUBLISHED.split()
PATHS = {
    (0, 1): "",
    (0, 8): """96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    (5, 8): """bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    (2, 3): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
}
GROWTH = {
    (1, 1): "",
    (1, 8): """96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    (6, 8): """0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    (2, 5): """5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b""",
}


def subtrees(leaves: list[bytes]) -> merkle.Subtree:
    hashes = [merkle.leaf_hash(one) for one in leaves]
    return lambda level, index: merkle.join(hashes[index << level : (index + 1) << level])


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 writes it."""
    if len(leaves) < 2:
        return merkle.leaf_hash(leaves[0]) if leaves else merkle.EMPTY_ROOT
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    return merkle.node_hash(by_definition(leaves[:middle]), by_definition(leaves[middle:]))


def made(size: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    growing = merkle.Growing()
    for leaf in LEAVES[:size]:
        growing.add(merkle.leaf_hash(leaf))
    assert merkle.root(size, subtrees(LEAVES)).hex() == growing.root().hex() == ROOTS[size]
    assert by_definition(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "path"), PATHS.items())
def test_audit_paths_are_the_published_ones(place: tuple[int, int], path: str) -> None:
    index, size = place
    found = merkle.inclusion(index, size, subtrees(LEAVES))
    assert [one.hex() for one in found] == path.split()
    assert merkle.is_included(merkle.leaf_hash(LEAVES[index]), index, size, found, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("sizes", "path"), GROWTH.items())
def test_consistency_proofs_are_the_published_ones(sizes: tuple[int, int], path: str) -> None:
    old, new = sizes
    found = merkle.consistency(old, new, subtrees(LEAVES))
    assert [one.hex() for one in found] == path.split()
    assert merkle.is_consistent(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), found)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31, 33])
def test_every_leaf_and_every_earlier_tree_is_proven_and_nothing_else(size: int) -> None:
    leaves = made(size)
    subtree, root = subtrees(leaves), by_definition(leaves)
    for index in range(size):
        path = merkle.inclusion(index, size, subtree)
        leaf = merkle.leaf_hash(leaves[index])
        assert merkle.is_included(leaf, index, size, path, root)
        assert not merkle.is_included(merkle.leaf_hash(b"other"), index, size, path, root)
        assert not merkle.is_included(leaf, index ^ 1, size, path, root)
        assert not merkle.is_included(leaf, index, size, [*path, bytes(32)], root)
        assert not path or not merkle.is_included(leaf, index, size, path[:-1], root)
    for old in range(size + 1):
        path = merkle.consistency(old, size, subtree)
        assert merkle.is_consistent(old, by_definition(leaves[:old]), size, root, path)
        assert not merkle.is_consistent(old, bytes(32), size, root, path)
        assert old == 0 or not merkle.is_consistent(old, by_definition(leaves[:old]), size, bytes(32), path)
        assert not merkle.is_consistent(old, by_definition(leaves[:old]), size, root, [*path, bytes(32)])


@given(st.integers(1, 70), st.integers(0, 69), st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_made_up_paths_prove_nothing(size: int, index: int, path: list[bytes]) -> None:
    root = by_definition(made(size))
    assert not merkle.is_included(merkle.leaf_hash(b"other"), index, size, path, root)
    assert not merkle.is_consistent(index, merkle.leaf_hash(b"other"), size, root, path)


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion(index, size, subtrees(LEAVES))
    with pytest.raises(ValueError, match="no proof"):
        merkle.consistency(4, 3, subtrees(LEAVES))
