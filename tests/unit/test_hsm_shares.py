"""Shares of the store's secret, against published vectors and against mistakes of their holders."""

import os
from itertools import combinations

import pytest
import shamir_mnemonic

from hsm_sim.errors import BadRequest
from hsm_sim.shares import Gathering, combine, look, split

SECRET = bytes(range(32))

# SLIP-0039, test vectors: "valid mnemonic without sharing (256 bits)", passphrase "TREZOR". We use no passphrase.
PUBLISHED = (
    "theory painting academic academic armed sweater year military elder discuss acne wildlife boring employer fused "
    "large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces beyond phantom capital marvel lips brave "
    "detect luck"
)


def test_a_published_share_is_read() -> None:
    place = look(PUBLISHED)
    assert (place.number, place.threshold) == (1, 1)
    secret = shamir_mnemonic.combine_mnemonics([PUBLISHED], b"TREZOR")
    assert secret.hex() == "989baf9dcaad5b10ca33dfd8cc75e42477025dce88ae83e75a230086a0e00e92"
    with pytest.raises(BadRequest, match="no share"):
        look(PUBLISHED.replace("luck", "lucky"))


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5)])
def test_any_so_many_shares_give_the_secret_and_fewer_do_not(threshold: int, count: int) -> None:
    shares = split(SECRET, threshold, count)
    assert len(set(shares)) == count
    for some in combinations(shares, threshold):
        assert combine(some) == SECRET
    for few in combinations(shares, threshold - 1):
        with pytest.raises(BadRequest):
            combine(few)


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (0, 1), (4, 3), (2, 17)])
def test_what_is_no_split_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(BadRequest):
        split(SECRET, threshold, count)
    with pytest.raises(BadRequest):
        split(SECRET[:31], 2, 3)


def test_shares_are_gathered_one_by_one_in_any_order_and_case() -> None:
    shares = split(SECRET, 3, 5)
    gathering = Gathering()
    assert gathering.add(f"  {shares[4].upper()}\n") is None
    assert gathering.add(shares[4]) is None  # the same holder again
    assert (gathering.count, gathering.needed) == (1, 3)
    assert gathering.add(shares[0].replace(" ", "  ")) is None
    assert gathering.add(shares[2]) == SECRET


def test_a_mistyped_share_and_one_of_another_split_are_refused_and_cost_nothing() -> None:
    shares, others = split(SECRET, 2, 3), split(os.urandom(32), 2, 3)
    gathering = Gathering()
    gathering.add(shares[0])
    words = shares[1].split()
    for wrong in (" ".join(words[:-1]), " ".join([*words[:5], words[6], words[5], *words[7:]]), "", others[1]):
        with pytest.raises(BadRequest):
            gathering.add(wrong)
    assert gathering.add(shares[1]) == SECRET
