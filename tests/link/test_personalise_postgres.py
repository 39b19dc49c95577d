"""Cards over a real PostgreSQL: many officers at once, each request, blank and person exactly once."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from card_office import ADMIN, ENCODER, HR, Centre, open_centre, silent
from postgres import make_database, server

from cardlink.errors import LinkLost
from cardlink.transport.connection import Torn
from issuer import database
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.cards import lifecycle, outdated, stock, update
from issuer.cards.guards import live_cards
from issuer.cards.personalise import Done, Job
from issuer.cards.run import run
from issuer.cards.states import CardState, Form, Kind
from issuer.cards.stock import StockState
from issuer.cards.tables import Card
from issuer.errors import IssuerError
from issuer.trust import compromise


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with server() as folder:
        url = make_database(folder, "centre")
        with open_centre(tmp_path_factory.mktemp("centre"), url) as opened:
            yield opened


def counts(centre: Centre) -> dict[StockState, int]:
    with database.reading(centre.factory) as session:
        return stock.counts(session)


def test_a_torn_card_is_resumed_and_handed_over(centre: Centre) -> None:
    card, blank = centre.allocated()
    for _ in range(2):
        with pytest.raises(LinkLost):
            centre.encode(card.id, Torn(blank.connect(), 50))
    assert centre.encode(card.id, blank.connect()).outcome == Done(card.id, card.uuid)
    with database.transaction(centre.factory) as session:
        lifecycle.activate(session, centre.hsm, ENCODER, card.id, centre.clock())
    assert centre.card(card.id).state == CardState.ACTIVE


def test_a_torn_update_is_resumed_and_counted(centre: Centre) -> None:
    card, blank = centre.encoded()
    centre.clock.pass_by(timedelta(seconds=1))
    label = card.credential_label or ""
    compromise.compromised(centre.factory, centre.ceremony, ADMIN, label, centre.clock())
    with pytest.raises(LinkLost):
        run(Torn(blank.connect(), 12), updated(centre, card), silent)
    assert run(blank.connect(), updated(centre, card), silent).outcome == Done(card.id, card.uuid)
    with database.reading(centre.factory) as session:
        told = outdated.progress_of(session, label, centre.clock())
        assert card.id not in {one.card.id for one in outdated.waiting(session, ENCODER, centre.clock())}
    assert told.done == 1


def updated(centre: Centre, card: Card) -> Job:
    return update.start(centre.factory, centre.hsm, ENCODER, card.id, centre.clock)


def test_many_who_take_the_same_request_make_one_card(centre: Centre) -> None:
    request = centre.approved()
    for _ in range(6):
        centre.blank()
    before = counts(centre)[StockState.BLANK]

    def take(_: int) -> str:
        try:
            centre.allocate(request.id, None)
        except IssuerError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(take, range(6)))
    assert sorted(answers) == [*["cards.wrong_state"] * 5, "made"]
    assert counts(centre)[StockState.BLANK] == before - 1


def test_many_who_take_blanks_never_get_the_same_one(centre: Centre) -> None:
    requests = [centre.approved().id for _ in range(8)]
    while counts(centre)[StockState.BLANK] < 8:
        centre.blank()

    def take(request_id: uuid.UUID) -> str:
        card = centre.allocate(request_id, None)
        return str(card.stock_serial)

    with ThreadPoolExecutor(8) as pool:
        serials = list(pool.map(take, requests))
    assert len(set(serials)) == 8


def test_one_named_blank_goes_to_one_of_many(centre: Centre) -> None:
    serial = centre.blank().serial
    requests = [centre.approved().id for _ in range(4)]

    def take(number: int) -> str:
        try:
            centre.allocate(requests[number], serial)
        except IssuerError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(4))) == ["made", *["stock.not_blank"] * 3]


def test_many_who_ask_for_one_person_leave_one_request(centre: Centre) -> None:
    person = centre.person()

    def ask(_: int) -> str:
        try:
            with database.transaction(centre.factory) as session:
                lifecycle.request_card(session, HR, person, Form.CHIP, centre.clock())
        except IssuerError as error:
            return error.code
        return "asked"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, range(6))) == ["asked", *["cards.request_open"] * 5]


def test_a_replacement_that_is_handed_over_twice_at_once_leaves_one_active_card(centre: Centre) -> None:
    old, _ = centre.active()
    blank = centre.blank()
    new = centre.allocate(centre.approved(old.person_id, kind=Kind.REISSUE).id, blank.serial)
    centre.encode(new.id, blank.connect())

    def hand_over(_: int) -> str:
        try:
            with database.transaction(centre.factory) as session:
                lifecycle.activate(session, centre.hsm, ENCODER, new.id, centre.clock())
        except IssuerError as error:
            return error.code
        return "active"

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(hand_over, range(3))) == ["active", *["cards.wrong_state"] * 2]
    with database.reading(centre.factory) as session:
        assert [one.id for one in live_cards(session, old.person_id)] == [new.id]
        assert isinstance(audit.verify(session), Intact)
