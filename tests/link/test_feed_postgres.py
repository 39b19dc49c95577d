"""The same feed over a real PostgreSQL: writers at once, connections lost, nothing lost or doubled."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from feed_centre import ADMIN, INSTALLATION, Centre, DoorLog, now, open_centre
from ports import free_port
from postgres import make_database, server
from sqlalchemy import text

from cardlink.statements import cbor
from cardlink.statements import status as wire
from cardlink.statements.record import record_hash
from cardlink.statements.status import Status
from issuer import database
from issuer.access import bundles, receipts, rules
from issuer.access.rules import Effect, RulePlan
from issuer.audit import log as audit
from issuer.trust import status
from issuer.trust.status import Place, Position


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with server() as folder:
        url = make_database(folder, "centre")
        with open_centre(tmp_path_factory.mktemp("feed"), free_port(), url) as centre:
            yield centre


def head(centre: Centre) -> Position:
    with database.reading(centre.factory) as session:
        return status.head(session)


def test_writers_at_once_make_numbers_that_a_listener_hears_in_order(centre: Centre) -> None:
    before = head(centre).seq
    listener = centre.listen(after=before)
    cards = [centre.new_card() for _ in range(60)]
    with ThreadPoolExecutor(6) as pool:
        positions = list(pool.map(lambda card: centre.set_status(card, Status.SUSPENDED), cards))
    assert sorted(one.seq for one in positions) == list(range(before + 1, before + 61))
    heard = [wire.read_event(listener.next("status").body()).value.seq for _ in cards]
    assert heard == list(range(before + 1, before + 61))
    listener.close()


def test_allocations_at_once_never_share_a_place(centre: Centre) -> None:
    def one(_: int) -> Place:
        with database.transaction(centre.factory) as session:
            return status.allocate(session, uuid.uuid4(), now())

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(one, range(60)))) == 60


def test_use_cases_that_take_the_same_locks_in_any_order_do_not_block_each_other(centre: Centre) -> None:
    door_id, _ = centre.enrolled()
    cards = [centre.new_card() for _ in range(20)]

    def status_first(card_id: uuid.UUID) -> None:
        with database.transaction(centre.factory) as session:
            status.set_status(session, centre.hsm, card_id, Status.SUSPENDED, now())
            audit.append(session, ADMIN, "card.blocked", str(card_id), {}, now())

    def audit_first(card_id: uuid.UUID) -> None:
        with database.transaction(centre.factory) as session:
            rules.add(session, ADMIN, door_id, RulePlan(Effect.ALLOW, agencies=(INSTALLATION,)), now())
            bundles.publish(session, centre.hsm, door_id, now())
            status.set_status(session, centre.hsm, card_id, Status.REVOKED, now())

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit((status_first, audit_first)[n % 2], card_id) for n, card_id in enumerate(cards)]
        for one in work:
            one.result()
    with database.reading(centre.factory) as session:
        assert isinstance(audit.verify(session), audit.Intact)
        assert bundles.current(session, door_id)[0] == 10


def test_a_snapshot_is_of_one_moment_while_others_write(centre: Centre) -> None:
    """Read without a repeatable transaction: the place and the entries come from one statement."""
    cards = [centre.new_card() for _ in range(30)]
    with ThreadPoolExecutor(2) as pool:
        work = pool.submit(lambda: [centre.set_status(card, Status.STOLEN) for card in cards])
        while not work.done():
            with centre.factory() as session, session.begin():
                made = status.snapshot(session, status.status_signer(session, centre.hsm, now()), 1, now())
                told = status.events_between(session, 1, made.position.seq)
            held = wire.read_snapshot(made.body).value
            for _, body in told:
                for entry in wire.read_event(body).value.entries:
                    assert held.packed[entry.index // 4] >> 2 * (entry.index % 4) & 3 == 0
        work.result()


def test_records_and_receipts_are_taken(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log = DoorLog(door_id, key)
    records = log.write(20)
    for _ in range(2):
        code, answer = centre.request("POST", f"/records/{door_id}", log.message(records))
        assert code == 200
        assert cbor.decode(answer, max_bytes=200) == {"boot": 1, "seq": 20, "hash": record_hash(records[-1])}
    at = centre.change()
    assert centre.request("POST", "/receipts", key.receipt(door_id, at))[0] == 204
    with database.reading(centre.factory) as session:
        told = receipts.confirmations(session, *at)
    assert [one.is_confirmed for one in told.doors if one.door_id == door_id] == [True]


def test_the_same_records_sent_twice_at_once_are_stored_once(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log = DoorLog(door_id, key)
    message = log.message(log.write(50))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: centre.request("POST", f"/records/{door_id}", message), range(4)))
    assert {code for code, _ in answers} == {200}
    with database.reading(centre.factory) as session:
        count = session.execute(text("SELECT count(*) FROM door_events WHERE door_id = :door"), {"door": door_id})
        assert count.scalar() == 50


def test_lost_database_connections_are_made_again(centre: Centre) -> None:
    listener = centre.listen(after=centre.settled().seq)
    card_id = centre.new_card()
    with database.transaction(centre.factory) as session:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        session.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))  # noqa: S608 - no input in it
    time.sleep(0.5)
    at = centre.set_status(card_id, Status.REVOKED)
    assert wire.read_event(listener.next("status").body()).value.seq == at.seq
    listener.close()
    deadline = time.monotonic() + 10
    while centre.request("POST", "/fresh", b"n" * 16)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
