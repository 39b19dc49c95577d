"""Power cut at every write of every command: the card is as before or as after, and no try is won back.

The commands stand in `tests/conformance/writes.txt`; one that the card has and the table has not is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from card_session import KEPT, Session
from card_world import CARDS, prepared
from notation import Row, fits, read_table

from cardlink.errors import Malformed
from cardos.card import Card
from cardos.dispatch import APPLICATIONS, DOMAIN, DOOR, PIV, PKOC
from cardos.errors import StoreFailed
from cardos.factory import TRANSPORT_KVN
from cardos.image import FileStore
from cardos.records import Kind, Reference, decode_record
from cardos.state import Persistent
from cardos.store import MemoryStore

NAMES = {PIV.aid: "PIV", DOMAIN.aid: "DOMAIN", DOOR.aid: "DOOR", PKOC.aid: "PKOC"}
DRAWN = (Kind.KEY, Kind.PKOC_KEY)
TABLE = read_table("writes.txt", 8)
WRITERS = {f"{row.cells[0]} {row.cells[3]}": row for row in TABLE if row.cells[3] != "-"}
LISTED = {row.cells[:3]: row.cells[3] != "-" for row in TABLE}
SECRET = bytes.fromhex("C0" * 32)  # made up for these tests
SELECT = bytes.fromhex("00A4040005A000000308")
SELECT_DOMAIN = bytes.fromhex("00A4040008A000000151000000")


class PowerCut(Exception):
    """The card loses its power here."""


class CutStore(MemoryStore):
    """A store that loses power at write number `at`, counted from 1: before it, or just after it."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        super().__init__(records)
        self.at = 0
        self.after = False
        self.is_failing = False
        self.history = [self.load()]

    def arm(self, at: int = 0, *, after: bool = False, is_failing: bool = False) -> None:
        """From now on count writes; at number `at` the power goes, or (`is_failing`) there is no room."""
        self.at, self.after, self.is_failing = at, after, is_failing
        self.history = [self.load()]

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        is_here = self.at == len(self.history)
        if is_here and self.is_failing:
            self.history.append(self.load())
            raise StoreFailed("no room")
        if is_here and not self.after:
            raise PowerCut
        super().commit(changes)
        self.history.append(self.load())
        if is_here:
            raise PowerCut

    @property
    def writes(self) -> int:
        """How many writes there were since it was armed."""
        return len(self.history) - 1


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a row's command: the store, and the answer, None where the power was cut."""

    session: Session
    store: CutStore
    answer: bytes | None


def ready(row: Row) -> tuple[Session, CutStore]:
    store = CutStore(CARDS[row.cells[4]]())
    session = prepared(row.cells[4], row.cells[5], "contact", store)
    return session, store


def run(row: Row, at: int = 0, *, after: bool = False, is_failing: bool = False) -> Run:
    session, store = ready(row)
    store.arm(at, after=after, is_failing=is_failing)
    try:
        return Run(session, store, session.say(row.cells[6]))
    except PowerCut:
        return Run(session, store, None)


def counters(records: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """The tries left of every PIN and PUK."""
    return {name: value[1] for name, value in records.items() if name[0] == Kind.REFERENCE}


def without_tries(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The records with every counter at its limit: the one thing that may lie between before and after."""
    return {
        name: bytes((value[0], value[0])) + value[2:] if name[0] == Kind.REFERENCE else value
        for name, value in records.items()
    }


def same_card(one: Mapping[bytes, bytes], other: Mapping[bytes, bytes]) -> bool:
    """Are two cards alike but for keys drawn at random: those only have to be of the same kind."""
    return one.keys() == other.keys() and all(
        one[name][:3] == other[name][:3] if name[0] in DRAWN else one[name] == other[name] for name in one
    )


@cache
def writes_of(name: str) -> int:
    return run(WRITERS[name]).store.writes


CUTS = [(name, at, after) for name in WRITERS for at in range(1, writes_of(name) + 1) for after in (False, True)]


def test_every_command_of_every_application_stands_in_the_table() -> None:
    handlers = {
        (NAMES[aid], cla, f"{ins:02X}")
        for aid, application in APPLICATIONS.items()
        for cla, commands in (("00", application.handlers), ("80", application.gp_handlers))
        for ins in commands
    }
    assert handlers == LISTED.keys()


class Noting(MemoryStore):
    """A store that notes which command wrote."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        super().__init__(records)
        self.apdu = b""
        self.wrote: set[bytes] = set()

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.wrote.add(self.apdu)
        super().commit(changes)


def test_what_the_table_says_never_writes_has_not_written_in_any_case_of_the_tables() -> None:
    never = {(cla, ins) for (_, cla, ins), writes in LISTED.items() if not writes}
    never -= {(cla, ins) for (_, cla, ins), writes in LISTED.items() if writes}
    never |= {("00", "A4"), ("00", "C0"), ("80", "82")}
    wrote = set()
    for row in read_table("commands.txt", 6):
        store = Noting(CARDS[row.cells[1]]())
        session = prepared(row.cells[1], row.cells[2], "contact" if row.cells[3] == "both" else row.cells[3], store)
        for one in row.cells[4].split(";"):
            store.apdu = one.rpartition(":")[2].split()[:2] and bytes.fromhex(
                "".join(one.rpartition(":")[2].split()[:2])
            )
            session.say(one.strip())
        wrote |= {(f"{apdu[0] & 0x80:02X}", f"{apdu[1]:02X}") for apdu in store.wrote if apdu}
    assert wrote
    assert not wrote & never


@pytest.mark.parametrize("name", WRITERS)
def test_between_its_writes_a_command_has_changed_nothing_but_a_counter_that_went_down(name: str) -> None:
    whole = run(WRITERS[name])
    assert whole.answer is not None
    assert fits(WRITERS[name].cells[7], whole.answer), whole.answer.hex()
    assert 1 <= whole.store.writes <= 2
    before, *between, _ = whole.store.history
    for state in between:
        assert without_tries(state) == without_tries(before)
        assert all(left <= counters(before)[ref] for ref, left in counters(state).items())
        assert state != before


@pytest.mark.parametrize(("name", "at", "after"), CUTS)
def test_a_command_cut_at_any_write_is_as_before_or_as_after(name: str, at: int, after: bool) -> None:
    history = run(WRITERS[name]).store.history
    cut = run(WRITERS[name], at, after=after)
    assert cut.answer is None
    left = cut.store.load()
    assert same_card(left, history[at if after else at - 1])
    assert same_card(without_tries(left), without_tries(history[0])) or same_card(left, history[-1])
    # it starts again, and says what it is
    card = Card(MemoryStore(left))
    assert card.transmit(SELECT_DOMAIN)[-2:] in (b"\x90\x00", b"\x69\x85")
    assert card.transmit(SELECT)[-2] in (0x90, 0x69, 0x6A)


@pytest.mark.parametrize(("name", "at"), [(name, at) for name, at, after in CUTS if after])
def test_a_write_without_room_is_6581_and_the_card_knows_what_it_holds(name: str, at: int) -> None:
    history = run(WRITERS[name]).store.history
    failed = run(WRITERS[name], at, is_failing=True)
    assert failed.answer == b"\x65\x81"
    assert same_card(failed.store.load(), history[at - 1])
    fresh, live = Persistent(failed.store), failed.session.card.persistent
    for part in KEPT:
        assert getattr(live, part) == getattr(fresh, part), part
    # no status was won by what did not happen
    assert failed.session.send(SELECT)[-2] in (0x90, 0x69)
    was_verified = "pin" in WRITERS[name].cells[5].split()
    assert failed.session.send(bytes.fromhex("00200080"))[-2] in (0x63, 0x69, *([0x90] if was_verified else []))


GUESSES = {
    "PIN by VERIFY": ("00 20 00 80 ({})", "PIN", "WRONG"),
    "PIN by CHANGE REFERENCE DATA": ("00 24 00 80 ({} NEWPIN)", "PIN", "WRONG"),
    "PUK by CHANGE REFERENCE DATA": ("00 24 00 81 ({} NEWPUK)", "PUK", "WRONGPUK"),
    "PUK by RESET RETRY COUNTER": ("00 2C 00 80 ({} NEWPIN)", "PUK", "WRONGPUK"),
}


@pytest.mark.parametrize("how", GUESSES)
def test_the_counter_goes_down_in_the_store_before_anything_is_compared(how: str) -> None:
    command, *values = GUESSES[how]
    first_writes = []
    for value in values:
        store = CutStore(CARDS["blank"]())
        session = prepared("blank", "-", "contact", store)
        store.arm(1, after=True)
        with pytest.raises(PowerCut):
            session.say(command.format(value))
        before, after = store.history
        changed = {name for name in before if before[name] != after[name]}
        assert len(changed) == 1
        assert counters(after)[changed.pop()] == 4
        first_writes.append(after)
    # the same write for right and wrong: nothing was known yet
    assert first_writes[0] == first_writes[1]


def tries(store: MemoryStore, ref: int = 0x80) -> int:
    found = [decode_record(name, raw) for name, raw in store.load().items() if name[0] == Kind.REFERENCE]
    (left,) = [one.left for one in found if isinstance(one, Reference) and one.number == ref]
    return left


def test_cutting_the_power_right_after_verify_wins_no_try() -> None:
    store = CutStore(CARDS["blank"]())
    for left in (4, 3, 2, 1, 0):
        session = Session({}, store=store)
        session.must("00 A4 04 00 (AID)")
        store.arm(1, after=True)
        with pytest.raises(PowerCut):
            session.say("00 20 00 80 (WRONG)")
        assert tries(store) == left
    session = Session({}, store=store)
    session.must("00 A4 04 00 (AID)")
    store.arm()
    assert session.say("00 20 00 80 (PIN)") == b"\x69\x83"
    assert store.writes == 0


def test_the_store_sees_the_counter_before_anything_is_compared() -> None:
    store = CutStore(CARDS["blank"]())
    session = prepared("blank", "-", "contact", store)
    store.arm(1)
    with pytest.raises(PowerCut):
        session.say("00 20 00 80 (PIN)")
    session.say("power:")
    session.must("00 A4 04 00 (AID)")
    store.arm()
    assert session.say("00 20 00 80") == b"\x63\xc5"


def test_a_torn_rotation_leaves_exactly_one_living_key_set() -> None:
    rotate = WRITERS["DOMAIN put another key set in its place"]
    for late, alive in ((False, {TRANSPORT_KVN}), (True, {0x01})):
        left = run(rotate, 1, after=late).store.load()
        assert set(Card(MemoryStore(left)).persistent.key_sets) == alive


# --- the same in a file, which may end at any byte ----------------------------------------------------------------


class NotedFile(FileStore):
    """A file that notes how long it was, and what it held, after each commit."""

    def __init__(self, path: Path, secret: bytes, *, sync: bool = True) -> None:
        super().__init__(path, secret, sync=sync)
        self.steps = [(path.stat().st_size, self.load())]

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        super().commit(changes)
        self.steps.append((self.path.stat().st_size, self.load()))


def torn_at(name: str, folder: Path, step: int) -> int:
    """Run a row over a file and cut the file at every `step`th byte of what the command wrote; how many cuts."""
    row = WRITERS[name]
    path, torn = folder / "whole.card", folder / "torn.card"
    NotedFile.create(path, SECRET, CARDS[row.cells[4]](), sync=False).close()
    file = NotedFile(path, SECRET, sync=False)
    session = prepared(row.cells[4], row.cells[5], "contact", file)
    del file.steps[:-1]
    session.say(row.cells[6])
    file.close()
    raw = path.read_bytes()
    ends = [end for end, _ in file.steps]
    cuts = sorted({*range(ends[0], len(raw) + 1, step), *ends, *(end - 1 for end in ends[1:])})
    for size in cuts:
        torn.write_bytes(raw[:size])
        opened = FileStore(torn, SECRET, sync=False)
        held = opened.load()
        assert held == next(state for end, state in reversed(file.steps) if end <= size), f"{name} cut at {size}"
        Card(opened)
        opened.close()
    torn.unlink()
    path.unlink()
    return len(cuts)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_inside_any_write_of_a_command_holds_the_state_before_that_write(name: str, tmp_path: Path) -> None:
    assert torn_at(name, tmp_path, 97) >= 3


@pytest.mark.soak
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_at_every_byte_of_a_command_holds_the_state_before_that_write(name: str, tmp_path: Path) -> None:
    assert torn_at(name, tmp_path, 1) > 30


def test_a_card_without_one_of_its_records_does_not_start() -> None:
    for missing in CARDS["blank"]():
        records = {name: value for name, value in CARDS["blank"]().items() if name != missing}
        with pytest.raises(Malformed):
            Card(MemoryStore(records))
