"""The store's file: frames that a power cut tears, that nobody moves or leaves out, and files of the first format."""

import os
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hsm_world import KDD, SECRET, HsmWorld

from hsm_sim import store as store_module
from hsm_sim.core import Peer
from hsm_sim.errors import BadRequest, Denied, NoSuchKey, NotAllocated, StoreSealed
from hsm_sim.keys import KeyState, Kind, Role, Use, make_key
from hsm_sim.log import Head
from hsm_sim.store import HEAD_BYTES, Job, State, Store, read_state, write_copy

OFFICER = Peer(Role.SO, 0)


def key_of(number: int) -> dict[str, object]:
    label = f"key-{number}"
    return {label: make_key(label, Kind.AES_256, Use.CARD_MASTER, ("H49",), number, bytes([number]) * 32)}


def states(count: int) -> list[State]:
    """A row of states, each with one key more than the last, and one job less."""
    made = [State(jobs={f"job-{number}": Job(KDD, b"123456") for number in range(count)})]
    for number in range(1, count):
        last = made[-1]
        jobs = {name: job for name, job in last.jobs.items() if name != f"job-{number}"}
        made.append(State(keys={**last.keys, **key_of(number)}, jobs=jobs))  # type: ignore[dict-item]  # keys of above
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def written(path: Path, row: list[State]) -> list[int]:
    """Write the states one after the other; where the file ended after each."""
    store = Store(path, SECRET, os.urandom, create=True)
    ends = []
    for number, state in enumerate(row):
        store.save(state, Head(number, number, bytes(32)))
        ends.append(path.stat().st_size)
    store.close()
    return ends


def same(one: State, other: State) -> bool:
    return (dict(one.keys), dict(one.jobs)) == (dict(other.keys), dict(other.jobs))


def test_a_file_cut_at_any_byte_holds_a_state_that_was_or_none(path: Path) -> None:
    row = states(5)
    ends = written(path, row)
    raw = path.read_bytes()
    for size in range(len(raw) + 1):
        path.write_bytes(raw[:size])
        whole = [state for state, end in zip(row, ends, strict=True) if end <= size]
        if not whole:
            with pytest.raises(StoreSealed):
                read_state(path, SECRET)
            continue
        found = read_state(path, SECRET)
        assert same(found, whole[-1])
        assert found.generation == len(whole)


def test_what_a_cut_left_does_not_stand_before_the_next_change(path: Path) -> None:
    row = states(3)
    ends = written(path, row)
    path.write_bytes(path.read_bytes()[: ends[1] + 9])
    store = Store(path, SECRET, os.urandom)
    assert same(store.state, row[1])
    store.save(row[2], Head())
    store.close()
    assert same(read_state(path, SECRET), row[2])


@pytest.mark.parametrize("change", ["swap", "leave out", "double", "of another file"])
def test_frames_are_neither_moved_nor_left_out_nor_mixed(path: Path, tmp_path: Path, change: str) -> None:
    ends = written(path, states(4))
    raw = path.read_bytes()
    head, *frames = [raw[a:b] for a, b in zip([0, HEAD_BYTES, *ends], [HEAD_BYTES, *ends], strict=False)]
    written(tmp_path / "other", states(4))
    other = (tmp_path / "other").read_bytes()[ends[0] : ends[1]]
    changed = {
        "swap": [frames[0], frames[2], frames[1], frames[3]],
        "leave out": [frames[0], frames[2], frames[3]],
        "double": [frames[0], frames[0], *frames[1:]],
        "of another file": [frames[0], other, *frames[2:]],
    }[change]
    path.write_bytes(head + b"".join(changed))
    with pytest.raises(StoreSealed):
        read_state(path, SECRET)


def test_a_file_that_has_grown_is_written_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COMPACT_FROM_BYTES", 2000)
    store = Store(path, SECRET, os.urandom, create=True)
    largest = 0
    for number in range(200):
        store.save(State(jobs={"job": Job(KDD, b"%06d" % number)}), Head())
        largest = max(largest, path.stat().st_size)
    store.close()
    assert largest < 4000
    assert read_state(path, SECRET).jobs == {"job": Job(KDD, b"000199")}
    assert read_state(path, SECRET).generation == 200


def test_a_store_of_the_first_format_is_read_and_kept_in_the_new_one(tmp_path: Path) -> None:
    """Written here as the first version wrote it: one frame, CBOR of lists."""
    path, salt, nonce = tmp_path / "store", bytes(16), bytes(12)
    plain = cbor2.dumps(
        [
            7,
            [
                ["signer", "ec-p256", "card", ["H49"], 5, bytes(31) + b"\1", "active"],
                ["old", "aes-256", "card-master", [], 6, bytes(32), "disabled"],
            ],
            [["user", b"salt", b"digest", 3]],
            [["job-1", KDD, b"123456"]],
            [0, 0, bytes(32)],
        ]
    )
    sealing = HKDF(hashes.SHA256(), 32, salt, b"themo-hsm-store-1").derive(SECRET)
    head = b"THEMOHS1" + salt
    path.write_bytes(head + nonce + ChaCha20Poly1305(sealing).encrypt(nonce, plain, head))
    with pytest.raises(StoreSealed):
        read_state(path, bytes(32))
    for _ in range(2):  # as it was, and as it is kept
        store = Store(path, SECRET, os.urandom)
        state = store.state
        assert {label: key.info.state for label, key in state.keys.items()} == {
            "signer": KeyState.ACTIVE,
            "old": KeyState.DEACTIVATED,
        }
        assert state.keys["signer"].info.public is not None
        assert state.pins["user"].role is Role.USER
        assert (state.pins["user"].tries, state.generation) == (3, 7)
        assert state.jobs == {"job-1": Job(KDD, b"123456")}
        store.close()
    assert path.read_bytes().startswith(b"THEMOHS2")


def test_a_copy_under_another_secret_holds_the_same(path: Path, tmp_path: Path) -> None:
    row = states(4)
    written(path, row)
    other = bytes(reversed(SECRET))
    write_copy(tmp_path / "copy", other, read_state(path, SECRET), os.urandom)
    assert same(read_state(tmp_path / "copy", other), row[-1])
    with pytest.raises(StoreSealed):
        read_state(tmp_path / "copy", SECRET)
    with pytest.raises(StoreSealed, match="there already"):
        write_copy(path, other, row[0], os.urandom)


def test_nothing_is_left_of_a_store_that_was_zeroised(tmp_path: Path) -> None:
    world = HsmWorld(tmp_path)
    hsm = world.open()
    hsm.call(OFFICER, "generate", ["key", "aes-256", "card-master", [], [0, 0, 0], True])
    with world.store_path.open("rb") as held:
        hsm.zeroise()
        assert set(held.read()) == {0}
    assert not world.store_path.exists()
    assert not hsm.state.keys
    hsm.close()
    with pytest.raises(StoreSealed, match="missing"):
        Store(world.store_path, SECRET, os.urandom)


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_where_jobs_are_allocated_no_other_job_opens_a_session(tmp_path: Path) -> None:
    hsm = HsmWorld(tmp_path).open()
    user, allocator = Peer(Role.USER, 0), Peer(Role.ALLOCATOR, 0)
    hsm.call(OFFICER, "load_transport", ["batch", bytes(16), bytes(16), bytes(16)])
    opening = ["job-1", "transport", "batch", KDD, 0x30, bytes(8), bytes(29), 0x33, 256]
    with pytest.raises(BadRequest):  # so far that the card's answer, which is none, is looked at
        hsm.call(user, "open_session", opening)
    hsm.call(OFFICER, "add_person", ["Vàng Đức Sơn", "allocator", "allocator-1"])
    with pytest.raises(NotAllocated, match="not allocated"):
        hsm.call(user, "open_session", opening)
    for op, args in (("allocate", ["job-1", KDD]), ("allow_pin", ["job-1"])):
        with pytest.raises(Denied):
            hsm.call(user, op, args)
    hsm.call(allocator, "allocate", ["job-1", b""])
    with pytest.raises(BadRequest):
        hsm.call(user, "open_session", opening)
    assert hsm.state.jobs["job-1"].kdd == b""  # a card that proved no keys takes no job away
    hsm.call(allocator, "allocate", ["job-1", KDD])
    hsm.call(allocator, "allocate", ["job-1", b""])
    assert hsm.state.jobs["job-1"].kdd == KDD
    with pytest.raises(Denied, match="another card"):
        hsm.call(allocator, "allocate", ["job-1", bytes(10)])
    with pytest.raises(Denied, match="another card"):
        hsm.call(user, "open_session", [*opening[:3], bytes(10), *opening[4:]])
    for op, peer in (("reveal_pin", user), ("allow_pin", allocator)):
        with pytest.raises(NoSuchKey, match="no PIN"):
            hsm.call(peer, op, ["job-1"])
    for wrong in ("", "two words", "x" * 65):
        with pytest.raises(BadRequest):
            hsm.call(allocator, "allocate", [wrong, b""])
    hsm.close()
