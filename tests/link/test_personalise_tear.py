"""A card pulled out at any exchange: it is resumed or spoiled, counted once, and never two live cards."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from card_office import ENCODER, Blank, Centre, open_centre

from cardlink.errors import LinkLost
from cardlink.gp import commands as gp
from cardlink.iso7816.apdu import Ins
from cardlink.piv.tables import CONTAINERS, KeyRef
from cardlink.transport.connection import Connection, Torn
from issuer import database
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.cards import stock
from issuer.cards.guards import live_cards
from issuer.cards.personalise import Done, Outcome
from issuer.cards.profiles import THEMO
from issuer.cards.states import CardState
from issuer.cards.stock import StockState
from issuer.cards.tables import Card, CardRequest, StockItem


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


@dataclass
class Heard:
    """A connection that notes what was sent."""

    below: Connection
    sent: list[bytes]

    def transmit(self, apdu: bytes) -> bytes:
        self.sent.append(apdu)
        return self.below.transmit(apdu)


def is_torn_and_resumed(centre: Centre, at: int, *, after_card: bool) -> bool:
    """Lose the card at one exchange, put it back, run again; False when the run was over before that exchange.

    Runs differ by an exchange or two: signatures, and so what must be written, have not always the same length.
    """
    card, blank = centre.allocated()
    try:
        centre.encode(card.id, Torn(blank.connect(), at, after_card=after_card))
    except LinkLost:
        assert_nothing_counts(centre, card)
        outcome = centre.encode(card.id, blank.connect()).outcome
        assert_finished_once(centre, card, blank, outcome)
        return True
    return False


def assert_nothing_counts(centre: Centre, card: Card) -> None:
    """While it is torn the card waits, its blank is held, and nobody holds the job."""
    found = centre.card(card.id)
    assert (found.state, found.job_token) == (CardState.ALLOCATED, None)
    with database.reading(centre.factory) as session:
        assert session.get_one(StockItem, found.stock_serial).state == StockState.ALLOCATED


def assert_finished_once(centre: Centre, card: Card, blank: Blank, outcome: Outcome) -> None:
    """Encoded, one live card, its blank used, the card the very one that the register describes."""
    assert outcome == Done(card.id, card.uuid)
    found = centre.card(card.id)
    assert found.state == CardState.ENCODED
    with database.reading(centre.factory) as session:
        assert [one.id for one in live_cards(session, found.person_id)] == [card.id]
        assert session.get_one(StockItem, blank.serial).state == StockState.USED
        assert session.get_one(CardRequest, found.request_id).state == CardState.ALLOCATED
    persistent = blank.chip.persistent
    assert set(persistent.key_sets) == {THEMO.card_kvn}
    assert set(THEMO_TAGS) <= set(persistent.objects)
    assert all(not persistent.references[ref].is_default for ref in (KeyRef.PIN, KeyRef.PUK))
    assert all(reference.left == reference.limit for reference in persistent.references.values())


THEMO_TAGS = [row.tag for row in THEMO.containers if row.tag in CONTAINERS]


def exchanges_of_a_run(centre: Centre) -> list[bytes]:
    """Every APDU of a run from end to end."""
    card, blank = centre.allocated()
    heard = Heard(blank.connect(), [])
    centre.encode(card.id, heard)
    return heard.sent


def turning_points(sent: list[bytes]) -> list[int]:
    """The first exchange (from 1) of each kind of command."""
    return [n for n, apdu in enumerate(sent, start=1) if apdu[:2] not in {one[:2] for one in sent[: n - 1]}]


@pytest.mark.parametrize("after_card", [False, True], ids=["before-the-card-acts", "after-the-card-acted"])
def test_torn_at_the_first_of_each_kind_of_command_it_is_resumed(centre: Centre, after_card: bool) -> None:
    for at in turning_points(exchanges_of_a_run(centre)):
        assert is_torn_and_resumed(centre, at, after_card=after_card)


@pytest.mark.slow
@pytest.mark.parametrize("after_card", [False, True], ids=["before-the-card-acts", "after-the-card-acted"])
def test_torn_at_every_exchange_it_is_resumed(centre: Centre, after_card: bool) -> None:
    at = 1
    while is_torn_and_resumed(centre, at, after_card=after_card):
        at += 1
    assert at > 100
    with database.reading(centre.factory) as session:
        assert isinstance(audit.verify(session), Intact)
        counted = stock.counts(session)
    assert (counted[StockState.ALLOCATED], counted[StockState.USED]) == (0, centre.blanks)


def test_torn_again_and_again_it_still_ends(centre: Centre) -> None:
    card, blank = centre.allocated()
    for _ in range(3):
        with pytest.raises(LinkLost):
            centre.encode(card.id, Torn(blank.connect(), 40))
    assert_finished_once(centre, card, blank, centre.encode(card.id, blank.connect()).outcome)


def test_after_a_torn_put_key_the_live_set_is_learnt_without_a_failed_authentication(centre: Centre) -> None:
    """EXTERNAL AUTHENTICATE is never sent with a key set whose cryptogram failed."""
    sent = exchanges_of_a_run(centre)
    at = next(n for n, apdu in enumerate(sent, start=1) if apdu[1] == Ins.PUT_KEY)
    card, blank = centre.allocated()
    with pytest.raises(LinkLost):
        centre.encode(card.id, Torn(blank.connect(), at, after_card=True))
    assert set(blank.chip.persistent.key_sets) == {THEMO.card_kvn}
    answers: list[bytes] = []
    heard = Heard(blank.connect(), [])

    class Answers:
        """Notes the answers to EXTERNAL AUTHENTICATE."""

        def transmit(self, apdu: bytes) -> bytes:
            answer = heard.transmit(apdu)
            if apdu[1] == Ins.EXTERNAL_AUTHENTICATE:
                answers.append(answer)
            return answer

    assert_finished_once(centre, card, blank, centre.encode(card.id, Answers()).outcome)
    assert set(answers) == {b"\x90\x00"}
    opened = [apdu[1] for apdu in heard.sent if apdu[1] in (Ins.INITIALIZE_UPDATE, Ins.EXTERNAL_AUTHENTICATE)]
    # looked at, tried with the transport keys, opened with its own: two INITIALIZE UPDATE before the first of the pairs
    assert opened[:4] == [Ins.INITIALIZE_UPDATE] * 3 + [Ins.EXTERNAL_AUTHENTICATE]


def test_a_torn_change_of_pin_or_puk_costs_no_try(centre: Centre) -> None:
    sent = exchanges_of_a_run(centre)
    for at in [n for n, apdu in enumerate(sent, start=1) if apdu[1] == Ins.CHANGE_REFERENCE_DATA]:
        assert is_torn_and_resumed(centre, at, after_card=True)


def test_another_blank_cannot_go_on_with_a_torn_job(centre: Centre) -> None:
    card, blank = centre.allocated()
    other = centre.blank()
    with pytest.raises(LinkLost):
        centre.encode(card.id, Torn(blank.connect(), 60))
    before = dict(other.chip.persistent.key_sets)
    for _ in range(7):  # more often than a step may be tried: looking at another card counts as nothing
        with pytest.raises(Exception, match=r"cards\.other_blank"):
            centre.encode(card.id, other.connect())
    assert other.chip.persistent.key_sets == before
    assert_finished_once(centre, card, blank, centre.encode(card.id, blank.connect()).outcome)


def test_a_card_that_always_breaks_off_at_the_same_step_ends_spoiled_with_the_reason(centre: Centre) -> None:
    card, blank = centre.allocated()

    class Brittle:
        """Breaks off at PUT KEY each time."""

        def __init__(self) -> None:
            self.below = blank.connect()

        def transmit(self, apdu: bytes) -> bytes:
            if apdu[1] == Ins.PUT_KEY:
                raise LinkLost("the antenna is cracked")
            return self.below.transmit(apdu)

    for _ in range(5):
        with pytest.raises(LinkLost):
            centre.encode(card.id, Brittle())
    outcome = centre.encode(card.id, Brittle()).outcome
    assert not isinstance(outcome, Done)
    assert outcome.reason == "rotate: began 5 times without an end"
    found = centre.card(card.id)
    assert (found.state, found.state_reason) == (CardState.SPOILED, outcome.reason)
    with database.reading(centre.factory) as session:
        assert session.get_one(StockItem, blank.serial).state == StockState.SPOILED
        assert session.get_one(CardRequest, found.request_id).state == CardState.APPROVED
        assert live_cards(session, found.person_id) == []
    fresh = centre.blank()
    again = centre.allocate(found.request_id, fresh.serial)
    assert_finished_once(centre, again, fresh, centre.encode(again.id, fresh.connect()).outcome)


def test_a_card_with_lost_keys_is_spoiled(centre: Centre) -> None:
    card, blank = centre.allocated()

    class Forgetful:
        """A card whose keys are neither of the two sets."""

        def transmit(self, apdu: bytes) -> bytes:
            answer = connection.transmit(apdu)
            if apdu[1] == Ins.INITIALIZE_UPDATE and apdu[0] == gp.CLA_GP:
                return answer[:-10] + bytes(8) + answer[-2:]
            return answer

    connection = blank.connect()
    outcome = centre.encode(card.id, Forgetful()).outcome
    assert not isinstance(outcome, Done)
    assert outcome.reason == "rotate: neither the transport keys nor the card's own are alive"
    assert centre.card(card.id).state == CardState.SPOILED


def test_the_encoder_is_named_in_the_audit_log(centre: Centre) -> None:
    card, _ = centre.encoded()
    with database.reading(centre.factory) as session:
        rows = audit.entries(session, subject=str(card.uuid), action="card.encoded")
    assert [row.actor for row in rows] == [ENCODER.name]
