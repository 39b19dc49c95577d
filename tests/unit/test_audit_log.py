"""The audit log: appended in the act's own transaction, chained, and every alteration found and named."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from empty_database import open_empty
from sqlalchemy import text

from issuer import database
from issuer.audit import log
from issuer.audit.log import Break, Broken, Intact
from issuer.policy import Actor, Role

NOW = datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)
OFFICER = Actor(uuid.UUID(int=7), "hoa", ((Role.HR, "H38"),))


@pytest.fixture
def factory(tmp_path: Path) -> database.SessionFactory:
    engine = open_empty(tmp_path / "centre.db")
    factory = database.session_factory(engine)
    with database.transaction(factory) as session:
        for n in range(5):
            facts = {"n": n, "lý do": "mất thẻ", "list": [1, None, True], "map": {"b": "2", "a": 1}}
            log.append(session, OFFICER, "card.blocked", f"card-{n}", facts, NOW + timedelta(seconds=n))
    return factory


def verdict(factory: database.SessionFactory) -> Intact | Broken:
    with database.reading(factory) as session:
        return log.verify(session)


def test_an_untouched_log_is_intact(factory: database.SessionFactory) -> None:
    found = verdict(factory)
    assert isinstance(found, Intact)
    assert found.rows == 5
    with database.reading(factory) as session:
        assert found.head == log.entries(session, limit=1)[0].hash


def test_an_empty_log_is_intact(tmp_path: Path) -> None:
    engine = open_empty(tmp_path / "empty.db")
    assert verdict(database.session_factory(engine)) == Intact(0, log.BEGINNING)


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'lan'",
        "actor_id = NULL",
        "action = 'card.seen'",
        "subject = 'card-9'",
        "facts = '{}'",
        "at = '2026-03-01 08:30:09.000000'",
        "hash = zeroblob(32)",
    ],
)
def test_an_altered_row_is_named(factory: database.SessionFactory, change: str) -> None:
    with database.transaction(factory) as session:
        session.execute(text(f"UPDATE audit_log SET {change} WHERE n = 3"))  # noqa: S608 - from the list above
    assert verdict(factory) == Broken(3, Break.HASH)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM audit_log WHERE n = 2", Broken(2, Break.NUMBER)),
        ("DELETE FROM audit_log WHERE n = 1", Broken(1, Break.NUMBER)),
        ("UPDATE audit_log SET n = 9 WHERE n = 5", Broken(5, Break.NUMBER)),
        ("UPDATE audit_log SET previous = zeroblob(32) WHERE n = 4", Broken(4, Break.LINK)),
    ],
)
def test_a_missing_renumbered_or_unlinked_row_is_named(
    factory: database.SessionFactory, change: str, found: Broken
) -> None:
    with database.transaction(factory) as session:
        session.execute(text(change))
    assert verdict(factory) == found


def test_a_row_rewritten_with_a_fitting_hash_breaks_the_next_link(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as session:
        row = log.entries(session, subject="card-1")[0]
        row.actor = "lan"
        leaf = log._leaf(row.n, row.at, row.actor, row.actor_id, row.action, row.subject, row.facts)
        row.hash = log._chain(row.previous, leaf)
    assert verdict(factory) == Broken(3, Break.LINK)


def test_an_act_that_fails_leaves_no_row(factory: database.SessionFactory) -> None:
    def act() -> None:
        with database.transaction(factory) as session:
            log.append(session, OFFICER, "card.blocked", "card-6", {}, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    assert verdict(factory) == Intact(5, _head(factory))


def _head(factory: database.SessionFactory) -> bytes:
    with database.reading(factory) as session:
        return log.entries(session, limit=1)[0].hash


def test_a_fact_that_would_not_come_back_the_same_is_refused(factory: database.SessionFactory) -> None:
    with database.transaction(factory) as session, pytest.raises(TypeError, match="float"):
        log.append(session, OFFICER, "card.blocked", "card-6", {"x": 1.5}, NOW)


def test_the_log_is_read_from_its_end_page_by_page(factory: database.SessionFactory) -> None:
    with database.reading(factory) as session:
        assert [row.n for row in log.entries(session, limit=2)] == [5, 4]
        assert [row.n for row in log.entries(session, before=4)] == [3, 2, 1]
        assert [row.n for row in log.entries(session, subject="card-2")] == [3]
        assert [row.n for row in log.entries(session, action="door")] == []
        assert len(log.entries(session, actor_id=OFFICER.user_id)) == 5


def test_the_time_is_kept_to_the_microsecond_in_utc(factory: database.SessionFactory) -> None:
    with database.reading(factory) as session:
        assert log.entries(session)[-1].at == NOW
