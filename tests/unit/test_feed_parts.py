"""The feed's small parts: rate limit, frames, snapshot files, what is read from the outbox."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from access_office import DOOR_ADMIN, NOW, OWNER, add_door, furnish
from empty_database import open_empty
from signing_keys import LocalKeys

from cardlink.statements.status import Status, read_snapshot
from issuer import database
from issuer.access import bundles, rules
from issuer.access.rules import Effect, RulePlan
from issuer.database import SessionFactory
from issuer.feed.hub import CURRENT_FOR_S, Hub, base64url, number_frame, status_frame
from issuer.feed.signing import FeedSigner
from issuer.feed.snapshots import RENEW_AT_AGE, Snapshots
from issuer.feed.source import KEEP_OUTBOX, Source
from issuer.limits import MAX_ADDRESSES, RateLimit
from issuer.outbox import Kind
from issuer.trust import status
from issuer.trust.status import Position


@pytest.fixture
def keys() -> LocalKeys:
    return LocalKeys()


@pytest.fixture
def factory(tmp_path: Path, keys: LocalKeys) -> Iterator[SessionFactory]:
    opened = open_empty(tmp_path / "centre.db")
    made = database.session_factory(opened)
    with database.transaction(made) as session:
        furnish(session, keys)
    yield made
    opened.dispose()


@pytest.fixture
def snapshots(tmp_path: Path, factory: SessionFactory, keys: LocalKeys) -> Snapshots:
    made = Snapshots(tmp_path / "snapshots", Source(factory), FeedSigner(factory, keys))
    made.load(NOW)
    return made


def change(factory: SessionFactory, keys: LocalKeys, value: Status = Status.SUSPENDED) -> Position:
    card_id = uuid.uuid4()
    with database.transaction(factory) as session:
        status.allocate(session, card_id, NOW)
        return status.set_status(session, keys, card_id, value, NOW)


def test_an_address_may_ask_a_burst_and_then_at_its_rate() -> None:
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.wait_s("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait_s("b", 100.0) == 0
    assert limit.wait_s("a", 100.6) == 0
    assert limit.wait_s("a", 100.6) > 0
    assert [limit.wait_s("a", 200.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_no_number_of_addresses_fills_the_memory() -> None:
    limit = RateLimit(per_second=1, burst=1)
    for number in range(MAX_ADDRESSES + 500):
        limit.wait_s(str(number), 0.0)
    assert len(limit.buckets) == MAX_ADDRESSES


def test_frames_are_server_sent_events() -> None:
    assert status_frame(Position(2, 7), b"\xfb\xff") == b"event: status\nid: 2.7\ndata: -_8\n\n"
    assert number_frame("trust", 12) == b"event: trust\ndata: 12\n\n"
    assert base64url(b"\x00") == b"AA"


def test_a_place_that_was_not_looked_up_lately_is_not_current() -> None:
    hub = Hub(Position(1, 1), looked_s=50.0)
    assert hub.is_current(50.0 + CURRENT_FOR_S / 2)
    assert not hub.is_current(50.0 + CURRENT_FOR_S)


def test_a_snapshot_is_made_when_it_is_missing_behind_or_old(
    factory: SessionFactory, keys: LocalKeys, snapshots: Snapshots
) -> None:
    assert snapshots.refresh(Position(1, 0), NOW) == 1
    assert snapshots.refresh(Position(1, 0), NOW) == 0
    at = change(factory, keys)
    assert snapshots.refresh(at, NOW) == 0  # it rests: the events since are there by number
    snapshots.built[1].rest_until_s = 0.0
    assert snapshots.refresh(at, NOW) == 1
    assert read_snapshot(snapshots.path(1).read_bytes()).value.seq == at.seq
    assert snapshots.refresh(at, NOW + RENEW_AT_AGE + timedelta(seconds=1)) == 1
    assert snapshots.refresh(at, NOW - timedelta(days=1)) == 1  # the clock went back: not kept for a day too long


def test_a_restarted_feed_takes_its_files_up_and_makes_broken_ones_again(
    factory: SessionFactory, keys: LocalKeys, snapshots: Snapshots
) -> None:
    snapshots.refresh(Position(1, 0), NOW)
    again = Snapshots(snapshots.directory, snapshots.source, snapshots.signer)
    again.load(NOW)
    assert again.refresh(Position(1, 0), NOW) == 0
    snapshots.path(1).write_bytes(snapshots.path(1).read_bytes()[:-3])
    again = Snapshots(snapshots.directory, snapshots.source, snapshots.signer)
    again.load(NOW)
    assert again.refresh(Position(1, 0), NOW) == 1
    assert read_snapshot(snapshots.path(1).read_bytes()).value.seq == 0


def test_news_are_events_in_order_and_notices_of_what_there_is_to_fetch(
    factory: SessionFactory, keys: LocalKeys
) -> None:
    source = Source(factory)
    position, number = source.start()
    assert source.news(position, number).events == ()
    changed = [change(factory, keys) for _ in range(3)]
    with database.transaction(factory) as session:
        door_id = add_door(session).id
        rules.add(session, DOOR_ADMIN, door_id, RulePlan(Effect.ALLOW, agencies=(OWNER,)), NOW)
        bundles.publish(session, keys, door_id, NOW)
    news = source.news(position, number)
    assert [at for at, _ in news.events] == changed
    assert news.position == changed[-1]
    assert [(one.kind, one.number, one.door) for one in news.notices] == [(Kind.BUNDLE, 1, door_id)]
    assert source.news(news.position, news.outbox_number).notices == ()


def test_the_rest_of_an_epoch_is_told_before_the_next_one(factory: SessionFactory, keys: LocalKeys) -> None:
    source = Source(factory)
    last = change(factory, keys)
    with database.transaction(factory) as session:
        status.start_epoch(session)
    first = change(factory, keys)
    news = source.news(Position(1, 0), 0)
    assert (news.position, [at for at, _ in news.events]) == (last, [last])
    news = source.news(news.position, news.outbox_number)
    assert (news.position, [at for at, _ in news.events]) == (first, [Position(2, 1)])


def test_old_news_are_forgotten_and_events_are_not(factory: SessionFactory, keys: LocalKeys) -> None:
    source = Source(factory)
    at = change(factory, keys)
    source.prune(NOW + KEEP_OUTBOX + timedelta(seconds=1))
    assert source.start() == (at, 0)
    assert len(source.events(1, 0)) == 1
    again = change(factory, keys)
    assert source.news(at, 1).position == again


def test_a_signer_is_asked_for_again_after_a_while(factory: SessionFactory, keys: LocalKeys) -> None:
    feed_signer = FeedSigner(factory, keys)
    first = feed_signer.signer(NOW)
    assert feed_signer.signer(NOW + timedelta(seconds=30)) is first
    assert feed_signer.signer(NOW + timedelta(seconds=61)) is not first
