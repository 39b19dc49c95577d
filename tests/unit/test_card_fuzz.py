"""Whatever bytes come: a status word, no exception, and nothing kept unless the command succeeded.

What must hold, and how the APDUs are made, stands in `tests/conformance/fuzz_moves.py`; `./run soak card` plays ten
million of them, and lets coverage lead others.
"""

import pytest
from card_session import Session
from card_soak import GROWTH_BYTES_MAX, WARM_BLOCKS, Memory, Played
from card_states import BEFORE
from fuzz_moves import (
    CANARY,
    STARTS,
    STEPS,
    Broken,
    Start,
    begun,
    check,
    examples,
    filled,
    play,
    private_parts,
    step,
)

from cardlink.piv import commands as piv
from cardlink.piv import tables
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.dispatch import APPLICATIONS
from cardos.records import Kind
from cardos.store import MemoryStore

SEQUENCES = 800  # of 25 APDUs
REFERENCE = bytes((Kind.REFERENCE, 0, 0, 0, 0x80))
OBJECT = bytes((Kind.OBJECT, 0, 0x5F, 0xC1, 0x02))


@pytest.mark.parametrize("part", range(8))
def test_any_bytes_get_a_status_word_and_change_nothing_unless_they_succeed(part: int) -> None:
    for number in range(part, SEQUENCES, 8):
        assert play(f"suite {number}") == STEPS


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start.words or 'selected'} {start.face}")
def test_every_example_gets_a_status_word_in_every_state(start: Start) -> None:
    for apdu in examples(is_stranger=start.is_stranger):
        session, store = begun(start)
        for is_inside in (True, False):
            step(session, store, apdu, start, is_inside=is_inside)


@pytest.mark.parametrize("words", ["cold", "select", "select pin", "domain", "domain channel", "select SM"])
def test_all_class_and_instruction_bytes_get_a_status_word(words: str) -> None:
    session = Session(filled())
    for word in words.split():
        if word != "cold":
            BEFORE[word](session)
    for cla in range(256):
        for ins in range(256):
            answer = session.send(bytes((cla, ins, 0x00, 0x00)))
            assert len(answer) >= 2
            assert answer[-2] >> 4 in (6, 9)


def test_every_container_of_the_table_can_be_asked_for_in_any_state() -> None:
    card = Card(MemoryStore(filled()))
    for interface in Interface:
        card.transmit(piv.SELECT_PIV_APDU, interface)
        for tag in (*tables.CONTAINERS, 0x5FC17F, 0x5FFF00, 0x4F, 0x5F2F):
            assert card.transmit(piv.get_data(tag).encode(), interface)[-2] in (0x90, 0x61, 0x69, 0x6A)


def test_every_command_of_the_card_is_among_the_examples() -> None:
    known = {(apdu[0] & 0x80, apdu[1]) for apdu in examples(is_stranger=False)}
    for application in APPLICATIONS.values():
        assert {(0x00, ins) for ins in application.handlers} <= known
        assert {(0x80, ins) for ins in application.gp_handlers} <= known


@pytest.mark.parametrize(
    ("answer", "changes", "is_stranger"),
    [
        (b"", {}, True),
        (b"\x90", {}, True),
        (b"\x60\x00", {}, True),
        (b"\x12\x34", {}, True),
        (b"data\x6a\x82", {}, True),
        (b"\x53\x10" + CANARY + b"\x90\x00", {}, True),
        (b"\x69\x82", {OBJECT: (b"old", b"new")}, False),
        (b"\x90\x00", {OBJECT: (None, b"new")}, True),
        (b"\x63\xc4", {REFERENCE: (b"\x05\x05\x00", b"\x05\x03\x00")}, True),
        (b"\x69\x82", {REFERENCE: (b"\x05\x05\x00", b"\x05\x04\x00")}, True),
        (b"\x90\x00", {REFERENCE: (b"\x05\x04\x00", b"\x05\x05\x00")}, True),
        (b"\x63\xc4", {REFERENCE: (b"\x05\x05\x00", None)}, False),
    ],
)
def test_what_must_never_be_is_found(
    answer: bytes, changes: dict[bytes, tuple[bytes | None, bytes | None]], is_stranger: bool
) -> None:
    with pytest.raises(Broken):
        check(answer, changes, is_stranger=is_stranger)


def test_a_secret_in_an_answer_is_found_whoever_asked() -> None:
    for secret in private_parts():
        assert len(secret) >= 8
        with pytest.raises(Broken, match="secret"):
            check(b"\x53" + secret + b"\x90\x00", {}, is_stranger=False)


def test_what_may_be_is_let_through() -> None:
    check(b"\x90\x00", {OBJECT: (b"old", b"new")}, is_stranger=False)
    check(b"\x53\x10" + CANARY + b"\x90\x00", {}, is_stranger=False)
    check(b"\x63\xc4", {REFERENCE: (b"\x05\x05\x00", b"\x05\x04\x00")}, is_stranger=True)


def test_the_soak_finds_a_process_that_grows_once_it_is_warm() -> None:
    memory = Memory()
    for block in range(WARM_BLOCKS):
        assert not memory.note(Played(block, 1, 10_000_000 * (block + 1)))
    warm = 10_000_000 * WARM_BLOCKS
    assert not memory.note(Played(WARM_BLOCKS, 1, warm + GROWTH_BYTES_MAX))
    assert "grew" in memory.note(Played(WARM_BLOCKS + 1, 1, warm + GROWTH_BYTES_MAX + 1))
    # another process is another matter
    assert not memory.note(Played(0, 2, 10 * warm))
