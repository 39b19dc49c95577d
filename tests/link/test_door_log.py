"""The door's log: whole, edited, shortened, forked; a full disk, a damaged file; what the centre acknowledged."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from door_cards import Issued
from door_world import Running, World

from cardlink.statements.record import Kind, check_chain, decode_record, read_head, record_hash
from cardlink.statements.refusal import Refused
from reader_daemon.database import Database
from reader_daemon.errors import LogBroken, NotDurable, StorageDamaged
from reader_daemon.events import EventLog, Happening, Place, last_place, verify_log
from reader_daemon.reasons import DoorReason


class Log:
    """A door with some taps in its log."""

    def __init__(self, tmp_path: Path, taps: int = 5) -> None:
        self.path = tmp_path / "door"
        self.world = World()
        self.card: Issued = self.world.issue()
        self.door: Running = self.world.ready_door(self.path, self.world.everybody(self.card))
        self.door.loop.head_every_records = 3
        for _ in range(taps):
            self.door.tap(self.card)

    def records(self) -> list[bytes]:
        rows = self.door.daemon.database.rows("SELECT record FROM records ORDER BY boot, seq")
        return [row[0] for row in rows if isinstance(row[0], bytes)]

    def edit(self, *statements: str) -> None:
        with self.door.daemon.database.transaction() as connection:
            for statement in statements:
                connection.execute(statement)

    def verify(self) -> Place:
        return verify_log(self.door.daemon.database, self.world.door, self.door.daemon.key.public)

    def restart(self) -> None:
        self.door.close()
        self.door = self.world.open_door(self.door.config, self.door.machine)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.door.close()


def test_records_are_chained_over_boots_and_count_from_one_in_each(log: Log) -> None:
    log.restart()
    log.door.tap(log.card)
    records = [decode_record(raw) for raw in log.records()]
    assert [(one.boot, one.seq, one.kind) for one in records if one.boot == 2] == [(2, 1, "start"), (2, 2, "tap")]
    assert [one.kind for one in records if one.boot == 1] == ["start", *["tap"] * 5, "stop"]
    assert not isinstance(check_chain(log.records()), Refused)
    assert log.verify().boot == 2


def test_a_record_tells_what_was_decided_and_with_what(log: Log) -> None:
    record = decode_record(log.records()[-1])
    assert record.kind == Kind.TAP
    assert record.card_uuid == log.card.credential.card_uuid
    assert (record.bundle_seq, record.status_epoch, record.status_seq) == (1, 1, 0)
    assert record.elapsed_us > 0
    assert record.wall_ms == log.world.now_s * 1000


def test_heads_are_signed_at_the_start_and_every_so_many_records(log: Log) -> None:
    rows = log.door.daemon.database.rows("SELECT statement FROM heads ORDER BY boot, seq")
    heads = [read_head(row[0]).value for row in rows if isinstance(row[0], bytes)]
    assert [one.seq for one in heads] == [1, 4]
    log.door.machine.run(301)
    log.door.loop.sign_head_if_due()
    assert len(log.door.daemon.database.rows("SELECT 1 FROM heads")) == 3


EDITS: list[tuple[str, tuple[str, ...], str]] = [
    (
        "a changed record",
        ("UPDATE records SET record = (SELECT record FROM records WHERE seq = 2) WHERE seq = 3",),
        "gap",
    ),
    ("a changed hash", ("UPDATE records SET hash = zeroblob(32) WHERE seq = 3",), "stored hash"),
    ("a record taken out", ("DELETE FROM records WHERE seq = 3",), "gap"),
    ("a start taken out", ("DELETE FROM records WHERE seq = 1",), "gap"),
    ("the tail under a signed head cut off", ("DELETE FROM records WHERE seq >= 4",), "shortened-log"),
    (
        "two records exchanged",
        (
            "UPDATE records SET seq = 99 WHERE seq = 2",
            "UPDATE records SET seq = 2 WHERE seq = 3",
            "UPDATE records SET seq = 3 WHERE seq = 99",
        ),
        "gap",
    ),
]


@pytest.mark.parametrize(("what", "statements", "want"), EDITS, ids=[one[0] for one in EDITS])
def test_an_edited_log_is_found_and_the_record_named(
    log: Log, what: str, statements: tuple[str, ...], want: str
) -> None:
    assert log.verify().seq == 6
    log.edit(*statements)
    with pytest.raises(LogBroken) as caught:
        log.verify()
    assert want in str(caught.value.facts["why"])
    assert int(str(caught.value.facts["seq"])) >= 1


def test_every_flipped_byte_of_a_record_is_found(log: Log) -> None:
    raw = log.records()[2]
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 0x01
        log.edit(f"UPDATE records SET record = x'{flipped.hex()}' WHERE seq = 3")  # noqa: S608 our own hex
        with pytest.raises(LogBroken):
            log.verify()
    log.edit(f"UPDATE records SET record = x'{raw.hex()}' WHERE seq = 3")  # noqa: S608 our own hex
    assert log.verify().seq == 6


def test_a_record_forged_with_its_hash_breaks_the_next_link_or_the_signed_head(log: Log) -> None:

    from cardlink.statements.record import encode_record

    forged = encode_record(decode_record(log.records()[3])._replace(reason="forged"))
    digest = record_hash(forged).hex()
    log.edit(f"UPDATE records SET record = x'{forged.hex()}', hash = x'{digest}' WHERE seq = 4")  # noqa: S608 our own hex
    with pytest.raises(LogBroken, match="broken-chain"):
        log.verify()
    log.edit("DELETE FROM records WHERE seq > 4")
    with pytest.raises(LogBroken, match="forked"):
        log.verify()


def test_a_log_forked_by_an_old_copy_is_found_where_both_meet(log: Log, tmp_path: Path) -> None:
    import shutil

    log.door.close()
    shutil.copytree(log.path, tmp_path / "copy")
    heads = []
    for directory, taps in ((log.path, 3), (tmp_path / "copy", 1)):
        config = log.door.config.__class__(data_dir=directory)
        door = log.world.open_door(config, log.door.machine)
        for _ in range(taps):
            door.tap(log.card)
        page = door.daemon.events.waiting()
        assert page is not None
        heads.append(door.daemon.events.place())
        door.close()
    log.door = log.world.open_door(log.door.config, log.door.machine)
    first, second = heads
    assert (first.boot, second.boot) == (2, 2)
    database = log.door.daemon.database
    rows = database.rows("SELECT hash FROM records WHERE boot = ? AND seq = ?", second.boot, second.seq)
    assert rows[0][0] != second.record_hash  # the same number with another hash


def test_a_broken_log_at_the_start_is_an_alarm_and_the_door_goes_on(log: Log) -> None:
    log.edit("DELETE FROM records WHERE seq = 3")
    log.restart()
    assert "broken-chain" in log.door.alarms()
    assert log.door.tap(log.card).opened


def test_a_boot_number_is_never_used_again_even_when_all_records_are_gone(log: Log) -> None:
    log.restart()
    page = log.door.daemon.events.waiting()
    while page is not None:
        log.door.daemon.events.acknowledge(page.last)
        page = log.door.daemon.events.waiting()
    place = last_place(log.door.daemon.database)
    log.restart()
    assert log.door.daemon.events.boot == 3
    first = decode_record(log.records()[0] if decode_record(log.records()[0]).boot == 3 else log.records()[1])
    assert first.boot in (2, 3)
    assert log.verify().boot == 3
    assert place.boot == 2


# -- what the centre has -----------------------------------------------------------------------------------------


def test_only_what_was_acknowledged_is_deleted(log: Log) -> None:
    events = log.door.daemon.events
    page = events.waiting()
    assert page is not None
    assert len(page.records) == 6
    third = record_hash(page.records[2])
    events.acknowledge(Place(1, 3, third))
    assert len(log.records()) == 3
    events.acknowledge(Place(1, 3, third))  # the same answer twice does no harm
    assert log.verify().seq == 6
    log.door.tap(log.card)
    assert log.verify().seq == 7


def test_an_acknowledgement_of_another_record_deletes_nothing(log: Log) -> None:
    for wrong in (Place(1, 3, bytes(32)), Place(1, 99, bytes(32)), Place(7, 1, bytes(32))):
        with pytest.raises(LogBroken):
            log.door.daemon.events.acknowledge(wrong)
    assert len(log.records()) == 6


def test_records_go_out_one_boot_at_a_time_oldest_first(log: Log) -> None:
    log.restart()
    page = log.door.daemon.events.waiting()
    assert page is not None
    assert {decode_record(raw).boot for raw in page.records} == {1}
    assert read_head(page.head).value.seq == 7
    log.door.daemon.events.acknowledge(page.last)
    page = log.door.daemon.events.waiting()
    assert page is not None
    assert {decode_record(raw).boot for raw in page.records} == {2}


# -- a disk that fails -------------------------------------------------------------------------------------------


def fill(door: Running) -> Callable[[], None]:
    """Take away all room for growth from the database, as a full disk does; answers how to give it back."""
    connection = door.daemon.database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def free() -> None:
        connection.execute("PRAGMA max_page_count = 1000000")

    return free


def test_a_full_disk_opens_no_door_and_loses_no_event(log: Log) -> None:
    free = fill(log.door)
    said = ""
    stored = len(log.records())
    for _ in range(400):
        tapped = log.door.tap(log.card)
        said = tapped.said
        if said != "granted":
            break
        stored += 1
    assert said == DoorReason.LOG_UNAVAILABLE
    assert len(log.records()) == stored
    assert log.door.tap(log.card).said == DoorReason.LOG_UNAVAILABLE
    free()
    assert log.door.tap(log.card).opened
    assert log.verify().seq == stored + 1


def test_a_disk_that_cannot_be_written_is_a_typed_error(log: Log) -> None:
    log.door.daemon.database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(NotDurable):
        log.door.daemon.events.append(Happening(Kind.TAP))
    assert log.door.tap(log.card).said == DoorReason.LOG_UNAVAILABLE
    log.door.daemon.database._connection.execute("PRAGMA query_only = OFF")


def test_a_status_event_that_cannot_be_stored_counts_at_once_and_asks_for_snapshots(log: Log) -> None:
    from cardlink.statements.status import Status

    log.door.daemon.database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(NotDurable):
        log.door.state.take_event(log.world.set_status(log.card, Status.REVOKED))
    assert log.door.state.is_disk_behind  # no receipt while this holds
    log.door.daemon.database._connection.execute("PRAGMA query_only = OFF")
    assert log.door.tap(log.card).said == "revoked"
    assert log.door.state.take_snapshots([log.world.snapshot()], []) is None
    assert not log.door.state.is_disk_behind


@pytest.mark.parametrize("damage", ["header", "page", "truncated", "no database"])
def test_a_damaged_database_says_exactly_what_is_wrong(log: Log, damage: str) -> None:
    log.door.close()
    path = log.path / "door.db"
    raw = bytearray(path.read_bytes())
    if damage == "header":
        raw[:16] = bytes(16)
    elif damage == "page":
        raw[4096:8192] = b"\xff" * 4096
    elif damage == "truncated":
        del raw[len(raw) // 2 :]
    else:
        raw[:] = b"not a database at all" * 500
    path.write_bytes(raw)
    with pytest.raises(StorageDamaged) as caught:
        log.world.open_door(log.door.config)
    assert caught.value.code == "database-damaged"
    assert str(path) in str(caught.value.facts["path"])
    with Path(path).open("wb"):
        pass  # an empty file is a new database: the door starts without state and opens nothing
    log.door = log.world.open_door(log.door.config)
    assert log.door.tap(log.card).said == DoorReason.NO_TRUST


def test_a_database_of_another_version_is_not_touched(log: Log) -> None:
    log.door.close()
    connection = sqlite3.connect(log.path / "door.db")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StorageDamaged, match="database-version"):
        log.world.open_door(log.door.config)
    connection = sqlite3.connect(log.path / "door.db")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    log.door = log.world.open_door(log.door.config)


def test_a_log_opened_beside_its_database_alone_continues_the_chain(tmp_path: Path) -> None:
    world = World()
    running = world.open_door(world.install(tmp_path / "door"))
    key, clock = running.daemon.key, running.clock
    running.close()
    database = Database(tmp_path / "door" / "door.db")
    before = last_place(database)
    events = EventLog(database, world.door, key, clock)
    events.append(Happening(Kind.FAULT))
    assert events.place().boot == before.boot + 1
    assert verify_log(database, world.door, key.public) == events.place()
    database.close()
