"""issuer.database on SQLite; tests/link runs the same behaviour on PostgreSQL."""

import socket
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from issuer import database, outbox
from issuer.outbox import Kind, Outbox

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


@pytest.fixture
def factory(tmp_path: Path) -> database.SessionFactory:
    engine = database.engine_at(f"sqlite:///{tmp_path / 'centre.db'}")
    database.Base.metadata.create_all(engine)
    return database.session_factory(engine)


def test_a_time_comes_back_in_utc(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as session:
        outbox.put(session, Kind.STATUS, "1", b"x", NOW.astimezone(timezone(timedelta(hours=7))))
    with database.reading(factory) as session:
        row = session.scalars(select(Outbox)).one()
        assert row.created == NOW
        assert row.created.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(factory: database.SessionFactory) -> None:
    with pytest.raises(Exception, match="without a zone"), database.transaction(factory) as session:
        outbox.put(session, Kind.STATUS, "1", b"x", NOW.replace(tzinfo=None))


def test_a_failed_use_case_leaves_nothing(factory: database.SessionFactory) -> None:
    def use_case() -> None:
        with database.transaction(factory) as session:
            outbox.put(session, Kind.STATUS, "1", b"x", NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        use_case()
    with database.reading(factory) as session:
        assert outbox.last(session) == 0


def test_reading_may_not_write(factory: database.SessionFactory) -> None:
    with database.reading(factory) as session, pytest.raises(OperationalError, match="readonly"):
        outbox.put(session, Kind.STATUS, "1", b"x", NOW)


def test_reading_does_not_wait_for_a_writer(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as writer:
        outbox.put(writer, Kind.STATUS, "1", b"x", NOW)
        with database.reading(factory) as session:
            assert outbox.last(session) == 0


def test_writers_follow_each_other_and_lose_nothing(factory: database.SessionFactory) -> None:
    def write() -> None:
        for _ in range(10):
            with database.transaction(factory) as session:
                seen = outbox.last(session)
                assert outbox.put(session, Kind.STATUS, "1", b"x", NOW) == seen + 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading(factory) as session:
        assert [row.id for row in outbox.after(session, 0)] == list(range(1, 41))


def test_an_outbox_number_is_never_used_twice(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as session:
        first = outbox.put(session, Kind.TRUST, "1", b"x", NOW)
        session.execute(text("DELETE FROM outbox"))
    with database.transaction(factory) as session:
        assert outbox.put(session, Kind.TRUST, "1", b"x", NOW) == first + 1


def test_the_database_is_in_wal_mode_with_foreign_keys(factory: database.SessionFactory) -> None:
    with database.reading(factory) as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA synchronous")) == 2


def test_a_prefix_is_a_range_of_whole_text(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as session:
        for key in ("H4", "H49", "H49.01", "H49.01.02", "H49Z", "H50", "h49.01"):
            outbox.put(session, Kind.BUNDLE, key, b"", NOW)
    with database.reading(factory) as session:
        begins = session.scalars(select(Outbox.key).where(database.starts_with(Outbox.key, "H49")).order_by(Outbox.key))
        assert list(begins) == ["H49", "H49.01", "H49.01.02", "H49Z"]
        below = session.scalars(select(Outbox.key).where(database.within_agency(Outbox.key, "H49")))
        assert sorted(below) == ["H49", "H49.01", "H49.01.02"]
        assert list(session.scalars(select(Outbox.key).where(database.within_agency(Outbox.key, "H4")))) == ["H4"]


def test_a_poke_reaches_the_feed_and_a_missing_feed_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    assert outbox.poke_at(path) is False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as feed:
        feed.bind(str(path))
        assert outbox.poke_at(path) is True
        assert feed.recv(16) == b"\x01"
