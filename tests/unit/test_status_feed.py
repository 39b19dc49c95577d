"""Status lists, entries and the numbered feed of signed events (issuer.trust.status)."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from empty_database import open_empty
from signing_keys import LocalKeys, add_signer
from sqlalchemy import insert, select

from cardlink.statements import status as wire
from cardlink.statements.cose import verify_sign1
from cardlink.statements.status import Status
from cardlink.statements.status_state import StatusList as HeldList
from cardlink.statements.status_state import StatusState, apply_event, packed_bytes, read_entry
from issuer import database, outbox
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.trust import status
from issuer.trust.signers import status_signer
from issuer.trust.status import Place, Position, PublicState
from issuer.trust.status_tables import StatusEntry

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    opened = open_empty(tmp_path / "centre.db")
    return database.session_factory(opened)


@pytest.fixture
def keys(factory: SessionFactory) -> LocalKeys:
    made = LocalKeys()
    with database.transaction(factory) as session:
        add_signer(session, made, "status", "G09", NOW)
        status.create_list(session, 10, NOW)
    return made


def new_card(factory: SessionFactory) -> tuple[uuid.UUID, Place]:
    card_id = uuid.uuid4()
    with database.transaction(factory) as session:
        return card_id, status.allocate(session, card_id, NOW)


def set_to(factory: SessionFactory, keys: LocalKeys, card_id: uuid.UUID, value: Status) -> Position:
    with database.transaction(factory) as session:
        return status.set_status(session, keys, card_id, value, NOW)


def state_from_events(factory: SessionFactory) -> StatusState:
    with database.reading(factory) as session:
        (one,) = status.lists(session)
        events = status.events_between(session, 1, 0)
        state = StatusState(1, 0, {one.n: HeldList(0, one.length, bytes(packed_bytes(one.length)))})
    for _, body in events:
        after = apply_event(state, wire.read_event(body).value)
        assert isinstance(after, StatusState), after
        state = after
    return state


def test_places_are_random_unused_and_within_the_list(factory: SessionFactory, keys: LocalKeys) -> None:
    places = [new_card(factory)[1] for _ in range(60)]
    assert len(set(places)) == 60
    assert all(place.list_n == 1 and 0 <= place.idx < 1024 for place in places)
    assert [place.idx for place in places] != sorted(place.idx for place in places)


def test_a_full_list_takes_no_more_and_a_second_one_does(factory: SessionFactory, keys: LocalKeys) -> None:
    with database.transaction(factory) as session:
        small = status.create_list(session, 2, NOW)
        assert small.n == 2
        session.get_one(type(small), 1).used = 1024
        places = {status.allocate(session, uuid.uuid4(), NOW) for _ in range(3)}
        assert {place.list_n for place in places} == {2}
        with pytest.raises(Refused, match=r"status\.lists_full"):
            status.allocate(session, uuid.uuid4(), NOW)


def test_a_card_has_one_place(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, _ = new_card(factory)
    with database.transaction(factory) as session, pytest.raises(Refused, match=r"status\.card_has_place"):
        status.allocate(session, card_id, NOW)


def test_a_change_writes_entry_event_and_outbox_row_together(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, place = new_card(factory)
    assert set_to(factory, keys, card_id, Status.SUSPENDED) == Position(1, 1)
    with database.reading(factory) as session:
        assert status.value_of(session, card_id) is Status.SUSPENDED
        assert status.head(session) == Position(1, 1)
        ((seq, body),) = status.events_between(session, 1, 0)
        (row,) = outbox.after(session, 0)
        assert (row.kind, row.key, row.body) == ("status", "1.1", body)
        public_key = status_signer(session, keys, NOW).cose_key.public_key()
    received = wire.read_event(body)
    assert (seq, received.value.seq, received.value.issuer) == (1, 1, "G09")
    assert received.value.entries == (wire.Entry(place.list_n, place.idx, Status.SUSPENDED),)
    assert verify_sign1(received.statement, public_key)


def test_a_rolled_back_change_leaves_nothing(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, _ = new_card(factory)
    with factory() as session:
        status.set_status(session, keys, card_id, Status.SUSPENDED, NOW)
        session.rollback()
    with database.reading(factory) as session:
        assert status.value_of(session, card_id) is Status.VALID
        assert status.head(session) == Position(1, 0)
        assert not status.events_between(session, 1, 0)
        assert outbox.last(session) == 0


def test_revoked_is_final(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, _ = new_card(factory)
    set_to(factory, keys, card_id, Status.REVOKED)
    for value in (Status.VALID, Status.SUSPENDED, Status.STOLEN):
        with pytest.raises(Refused, match=r"status\.final"):
            set_to(factory, keys, card_id, value)
    assert set_to(factory, keys, card_id, Status.REVOKED) == Position(1, 1)


def test_a_value_that_stands_makes_no_event(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, _ = new_card(factory)
    assert set_to(factory, keys, card_id, Status.VALID) == Position(1, 0)
    assert set_to(factory, keys, card_id, Status.STOLEN) == Position(1, 1)
    assert set_to(factory, keys, card_id, Status.STOLEN) == Position(1, 1)


def test_a_card_without_a_place_is_not_found(factory: SessionFactory, keys: LocalKeys) -> None:
    with pytest.raises(NotFound, match=r"status\.no_place"):
        set_to(factory, keys, uuid.uuid4(), Status.SUSPENDED)


def test_many_cards_change_in_one_event(factory: SessionFactory, keys: LocalKeys) -> None:
    cards = [new_card(factory)[0] for _ in range(20)]
    with database.transaction(factory) as session:
        at = status.set_statuses(session, keys, [(card, Status.SUSPENDED) for card in cards], NOW)
    assert at == Position(1, 1)
    with database.reading(factory) as session:
        ((_, body),) = status.events_between(session, 1, 0)
    assert len(wire.read_event(body).value.entries) == 20


def test_a_mass_change_is_told_in_portions_and_read_in_pages(
    factory: SessionFactory, keys: LocalKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "EVENT_ENTRIES", 8)
    monkeypatch.setattr(status, "EVENT_BYTES_AT_ONCE", 400)
    cards = [new_card(factory)[0] for _ in range(20)]
    with database.transaction(factory) as session:
        at = status.set_statuses(session, keys, [(card, Status.REVOKED) for card in cards], NOW)
    assert at == Position(1, 3)
    with database.reading(factory) as session:
        first = status.events_between(session, 1, 0)
        rest = status.events_between(session, 1, first[-1][0])
    events = [wire.read_event(body).value for _, body in [*first, *rest]]
    assert [len(event.entries) for event in events] == [8, 8, 4]
    assert [seq for seq, _ in first] == [1, 2]


def test_concurrent_writers_make_numbers_without_gap_or_repeat(factory: SessionFactory, keys: LocalKeys) -> None:
    cards = [new_card(factory) for _ in range(40)]

    def block(card_id: uuid.UUID) -> Position:
        return set_to(factory, keys, card_id, Status.SUSPENDED)

    with ThreadPoolExecutor(8) as pool:
        positions = list(pool.map(block, [card_id for card_id, _ in cards]))
    assert sorted(one.seq for one in positions) == list(range(1, 41))
    state = state_from_events(factory)
    assert all(read_entry(state.lists[1].packed, place.idx) is Status.SUSPENDED for _, place in cards)


def test_concurrent_allocations_never_share_a_place(factory: SessionFactory, keys: LocalKeys) -> None:
    def one(_: int) -> Place:
        return new_card(factory)[1]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(80)))) == 80


def test_a_snapshot_equals_the_events_applied_and_the_entries(factory: SessionFactory, keys: LocalKeys) -> None:
    values = [Status.SUSPENDED, Status.STOLEN, Status.REVOKED, Status.VALID]
    cards = [new_card(factory) for _ in range(24)]
    for number, (card_id, _) in enumerate(cards):
        set_to(factory, keys, card_id, values[number % 4])
    for card_id, _ in cards[::4]:
        set_to(factory, keys, card_id, Status.VALID)
    with database.reading(factory) as session:
        signer = status_signer(session, keys, NOW)
        made = status.snapshot(session, signer, 1, NOW)
        rows = session.execute(select(StatusEntry.idx, StatusEntry.value)).all()
    received = wire.read_snapshot(made.body)
    state = state_from_events(factory)
    assert received.value.packed == state.lists[1].packed
    assert (received.value.epoch, received.value.seq) == made.position == Position(1, state.seq)
    assert all(read_entry(received.value.packed, row.idx) == row.value for row in rows)
    assert verify_sign1(received.statement, signer.cose_key.public_key())


def test_a_snapshot_of_an_untouched_list_is_all_valid(factory: SessionFactory, keys: LocalKeys) -> None:
    with database.reading(factory) as session:
        made = status.snapshot(session, status_signer(session, keys, NOW), 1, NOW)
    assert wire.read_snapshot(made.body).value.packed == bytes(256)


def test_a_list_of_two_and_a_half_million_cards_is_built_whole(factory: SessionFactory, keys: LocalKeys) -> None:
    """2^22 places, of which 100,000 are not valid (4 % of 2.5 million): only those are rows that a snapshot reads."""
    with database.transaction(factory) as session:
        big = status.create_list(session, 22, NOW)
        rows = [
            {"list_n": big.n, "idx": idx * 41, "card_id": uuid.UUID(int=idx), "value": 1 + idx % 3, "changed": NOW}
            for idx in range(100_000)
        ]
        session.execute(insert(StatusEntry), rows)
    with database.reading(factory) as session:
        signer = status_signer(session, keys, NOW)
        made = status.snapshot(session, signer, big.n, NOW)
    packed = wire.read_snapshot(made.body).value.packed
    assert len(packed) == 1 << 20
    assert all(read_entry(packed, idx * 41) == 1 + idx % 3 for idx in range(0, 100_000, 997))


def test_events_are_read_on_from_any_number_in_portions(factory: SessionFactory, keys: LocalKeys) -> None:
    for _ in range(7):
        set_to(factory, keys, new_card(factory)[0], Status.SUSPENDED)
    with database.reading(factory) as session:
        assert [seq for seq, _ in status.events_between(session, 1, 3)] == [4, 5, 6, 7]
        assert [seq for seq, _ in status.events_between(session, 1, 3, limit=2)] == [4, 5]
        assert status.events_between(session, 2, 0) == []


def test_a_new_epoch_counts_from_the_start(factory: SessionFactory, keys: LocalKeys) -> None:
    card_id, _ = new_card(factory)
    set_to(factory, keys, card_id, Status.SUSPENDED)
    with database.transaction(factory) as session:
        assert status.start_epoch(session) == 2
    assert set_to(factory, keys, card_id, Status.REVOKED) == Position(2, 1)
    with database.reading(factory) as session:
        made = status.snapshot(session, status_signer(session, keys, NOW), 1, NOW)
    assert made.position == Position(2, 1)


def test_heartbeat_and_fresh_carry_the_place_of_the_feed(factory: SessionFactory, keys: LocalKeys) -> None:
    with database.reading(factory) as session:
        signer = status_signer(session, keys, NOW)
    beat = wire.read_heartbeat(status.heartbeat(signer, Position(3, 14), 1_800_000_000))
    answer = wire.read_fresh(status.fresh(signer, Position(3, 14), b"n" * 16, NOW))
    assert (beat.value.epoch, beat.value.seq, beat.value.issued_s) == (3, 14, 1_800_000_000)
    assert (answer.value.epoch, answer.value.seq, answer.value.nonce) == (3, 14, b"n" * 16)
    for received in (beat.statement, answer.statement):
        assert verify_sign1(received, signer.cose_key.public_key())


@pytest.mark.parametrize(
    ("value", "expires_on", "said"),
    [
        (Status.VALID, date(2031, 3, 1), PublicState.ACTIVE),
        (Status.VALID, date(2026, 3, 2), PublicState.ACTIVE),
        (Status.VALID, date(2026, 3, 1), PublicState.EXPIRED),
        (Status.SUSPENDED, date(2031, 3, 1), PublicState.BLOCKED),
        (Status.STOLEN, date(2031, 3, 1), PublicState.BLOCKED),
        (Status.REVOKED, date(2020, 1, 1), PublicState.WITHDRAWN),
    ],
)
def test_the_public_hears_one_word(
    factory: SessionFactory, keys: LocalKeys, value: Status, expires_on: date, said: PublicState
) -> None:
    card_id, place = new_card(factory)
    set_to(factory, keys, card_id, value)
    with database.reading(factory) as session:
        assert status.public_state(session, *place, expires_on, NOW) is said


def test_the_day_of_expiry_ends_in_vietnam(factory: SessionFactory, keys: LocalKeys) -> None:
    _, place = new_card(factory)
    midnight = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
    with database.reading(factory) as session:
        before = status.public_state(session, *place, date(2026, 3, 2), midnight - timedelta(seconds=1))
        after = status.public_state(session, *place, date(2026, 3, 2), midnight)
    assert (before, after) == (PublicState.ACTIVE, PublicState.EXPIRED)


def test_a_place_nobody_has_is_unknown(factory: SessionFactory, keys: LocalKeys) -> None:
    with database.reading(factory) as session:
        assert status.public_state(session, 1, 5, date(2031, 1, 1), NOW) is PublicState.UNKNOWN
        assert status.public_state(session, 9, 5, date(2031, 1, 1), NOW) is PublicState.UNKNOWN


@pytest.mark.parametrize("ask", [status.head, status.start_epoch])
def test_before_the_first_list_there_is_no_feed(
    factory: SessionFactory, ask: Callable[[database.Session], object]
) -> None:
    with database.transaction(factory) as session, pytest.raises(NotFound, match=r"status\.no_list"):
        ask(session)
