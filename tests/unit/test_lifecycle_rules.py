"""The life of a card: every row of the table, every guard's refusal with its code, one live card, the audit log."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
from card_register import (
    APPROVER,
    ENCODER,
    EVERYTHING,
    HR,
    NOW,
    OTHER,
    STRANGER,
    VERIFY_URL,
    Register,
    open_register,
)

from cardlink.statements.qr import parse_fragment, read_qr
from cardlink.statements.status import Status
from issuer import database
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.cards import lifecycle, stock
from issuer.cards.states import LIVE, CardState, Event, Form, Kind
from issuer.cards.stock import StockState
from issuer.cards.transitions import TRANSITIONS
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.policy import Actor, Role
from issuer.registry.tables import Agency, RecordState

REQUEST_STATES = (CardState.REQUESTED, CardState.APPROVED)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


def test_the_usual_way_of_a_chip_card_is_in_the_audit_log_step_by_step(register: Register) -> None:
    card = register.active(Form.CHIP)
    assert register.state(card) is CardState.ACTIVE
    assert register.audited(card.request_id) == ["card.requested", "request.approve", "request.allocate"]
    steps = ["allocated", "encoded", "printed", "checked", "handed_over", "active"]
    assert register.audited(card.uuid) == [f"card.{step}" for step in steps]
    with database.reading(register.factory) as session:
        assert isinstance(audit.verify(session), Intact)


def test_a_plastic_card_skips_encoding_and_has_qr_and_status(register: Register) -> None:
    card = register.active(Form.PLASTIC)
    assert (card.stock_serial, card.key_hash, card.credential) == (None, None, None)
    assert "card.encoded" not in register.audited(card.uuid)
    assert card.qr_text is not None
    url, fragment = card.qr_text.split("#")
    said = read_qr(parse_fragment(fragment)).value
    assert url == VERIFY_URL
    assert (said.status_list, said.status_index) == (card.status_list, card.status_idx)
    assert str(said.identifier) == card.identifier
    assert register.status(card) == Status.VALID


@pytest.mark.parametrize(("scheme", "third"), [(1, "CC"), (2, "01.003")])
def test_the_identifier_follows_the_scheme_of_the_agency(register: Register, scheme: int, third: str) -> None:
    with database.transaction(register.factory) as session:
        session.get_one(Agency, "H38").scheme = scheme
    assert register.allocated().identifier == f"H38.001185000001.{third}"


def test_a_card_lives_five_years_less_a_day(register: Register) -> None:
    card = register.allocated()
    assert (card.issued_on, card.expires_on) == (date(2026, 3, 2), date(2031, 3, 1))


def test_every_event_that_the_table_does_not_name_is_refused(register: Register) -> None:
    card = register.allocated()
    for state in CardState:
        register.put(card, state=state)
        for event in Event:
            if (state, event) not in TRANSITIONS:
                with pytest.raises(Conflict) as refused:
                    register.move(card, event, EVERYTHING)
                assert (refused.value.code, refused.value.facts["state"]) == ("cards.wrong_state", state)
    assert register.status(card) == Status.SUSPENDED


def test_no_row_leads_out_of_an_end_but_to_destruction() -> None:
    ends = (CardState.REVOKED, CardState.EXPIRED, CardState.SURRENDERED, CardState.SPOILED)
    leaving = {(state, row.to) for (state, _), row in TRANSITIONS.items() if state in ends}
    assert leaving == {(state, CardState.DESTROYED) for state in ends}
    gone = (CardState.DESTROYED, CardState.CANCELLED)
    assert not [state for state, _ in TRANSITIONS if state in gone]


def test_nobody_approves_what_they_asked_for(register: Register) -> None:
    request = register.request(actor=EVERYTHING)
    with pytest.raises(Forbidden) as refused:
        register.approve(request, EVERYTHING)
    assert refused.value.code == "cards.own_request"
    register.approve(request, APPROVER)


def test_nobody_turns_their_own_request_down_but_takes_it_back(register: Register) -> None:
    request = register.request(actor=EVERYTHING)
    with database.transaction(register.factory) as session, pytest.raises(Forbidden, match=r"cards\.own_request"):
        lifecycle.reject(session, EVERYTHING, request.id, "nhầm", NOW)
    with database.transaction(register.factory) as session:
        assert lifecycle.cancel(session, EVERYTHING, request.id, "nhầm", NOW).state == CardState.CANCELLED


def test_who_approved_a_card_does_not_make_it(register: Register) -> None:
    request = register.approve(register.request(), EVERYTHING)
    register.blank()
    with pytest.raises(Forbidden) as refused:
        register.allocate(request, actor=EVERYTHING)
    assert refused.value.code == "cards.approver_encodes"
    card = register.allocate(request, actor=ENCODER)
    register.put(card, credential=b"x", key_hash=b"y")
    with pytest.raises(Forbidden, match=r"cards\.approver_encodes"):
        register.move(card, Event.ENCODE, EVERYTHING)


def test_an_officer_of_another_agency_is_refused_at_every_step(register: Register) -> None:
    register.blank()
    request = register.request()
    plastic = register.allocated(Form.PLASTIC)
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        register.request(actor=STRANGER)
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        register.approve(request, STRANGER)
    register.approve(request)
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        register.allocate(request, actor=STRANGER)
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        register.activate(plastic, STRANGER)


def test_a_part_of_the_system_without_a_user_asks_for_no_card(register: Register) -> None:
    nobody = Actor(None, "local:root", ((Role.HR, "*"),))
    with pytest.raises(Forbidden) as refused:
        register.request(actor=nobody)
    assert refused.value.code == "policy.needs_user"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"state": RecordState.APPRAISED}, "not_approved"),
        ({"attested_on": date(2024, 1, 1)}, "attested_long_ago"),
        ({"photo_sha256": None}, "no_photo"),
        ({"sex": 1}, "number_and_sex"),
    ],
)
def test_a_record_that_is_not_up_to_date_gets_no_card_and_the_reason_is_named(
    register: Register, facts: dict[str, object], reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        register.request(register.person(**facts))
    assert refused.value.code == "freshness.not_fresh"
    assert reason in str(refused.value.facts["reasons"])


def test_the_gate_stands_again_at_approval_and_at_allocation(register: Register) -> None:
    person = register.person()
    request = register.request(person)
    register.change(person, attested_on=date(2024, 1, 1))
    with pytest.raises(Refused, match=r"freshness\.not_fresh"):
        register.approve(request)
    register.change(person, attested_on=date(2026, 1, 15))
    register.approve(request)
    register.change(person, photo_sha256=None)
    register.blank()
    with pytest.raises(Refused, match=r"freshness\.not_fresh"):
        register.allocate(request)


def test_a_turned_down_request_needs_a_reason_and_frees_the_person(register: Register) -> None:
    request = register.request()
    with database.transaction(register.factory) as session, pytest.raises(Refused, match=r"cards\.reason_needed"):
        lifecycle.reject(session, APPROVER, request.id, " ", NOW)
    with database.transaction(register.factory) as session:
        assert lifecycle.reject(session, APPROVER, request.id, "sai chức danh", NOW).state == CardState.CANCELLED
    register.request(request.person_id)


def test_one_open_request_for_a_person(register: Register) -> None:
    request = register.request()
    with pytest.raises(Conflict) as refused:
        register.request(request.person_id)
    assert refused.value.code == "cards.request_open"


@pytest.mark.parametrize("state", LIVE)
def test_a_first_card_only_for_who_has_none(register: Register, state: CardState) -> None:
    card = register.active()
    register.put(card, state=state)
    with pytest.raises(Conflict) as refused:
        register.request(card.person_id)
    assert refused.value.code == "cards.has_card"


def test_a_replacement_only_for_who_had_one(register: Register) -> None:
    with pytest.raises(Refused) as refused:
        register.request(kind=Kind.REISSUE)
    assert refused.value.code == "cards.no_card_before"


def test_the_old_card_ends_in_the_moment_in_which_the_new_one_counts(register: Register) -> None:
    old = register.active()
    new = register.allocated(Form.PLASTIC, old.person_id, Kind.REISSUE)
    assert (register.state(old), register.status(old)) == (CardState.ACTIVE, Status.VALID)
    assert register.status(new) == Status.SUSPENDED
    register.activate(new)
    assert (register.state(old), register.status(old)) == (CardState.REVOKED, Status.REVOKED)
    assert (register.state(new), register.status(new)) == (CardState.ACTIVE, Status.VALID)


def test_an_expired_card_is_not_activated(register: Register) -> None:
    card = register.allocated(Form.PLASTIC)
    register.pass_by(timedelta(days=6 * 365))
    with pytest.raises(Refused) as refused:
        register.activate(card)
    assert refused.value.code == "cards.expired"


def test_a_chip_card_that_was_not_encoded_is_neither_printed_nor_marked_encoded(register: Register) -> None:
    card = register.allocated()
    with pytest.raises(Refused, match=r"cards\.not_encoded"):
        register.move(card, Event.PRINT)
    with pytest.raises(Refused, match=r"cards\.not_read_back"):
        register.move(card, Event.ENCODE)


def test_a_plastic_card_is_not_encoded_and_takes_no_blank(register: Register) -> None:
    card = register.allocated(Form.PLASTIC)
    with pytest.raises(Refused, match=r"cards\.no_chip"):
        register.move(card, Event.ENCODE)
    request = register.approve(register.request(form=Form.PLASTIC))
    with pytest.raises(Refused, match=r"cards\.no_chip"):
        register.allocate(request, register.blank())


def test_a_spoiled_card_frees_its_request_and_never_its_blank(register: Register) -> None:
    card = register.allocated()
    with database.transaction(register.factory) as session:
        lifecycle.spoil(session, register.keys, ENCODER, card.id, "rách", NOW)
    assert (register.state(card), register.status(card)) == (CardState.SPOILED, Status.REVOKED)
    with database.reading(register.factory) as session:
        request = session.get_one(lifecycle.CardRequest, card.request_id)
        assert stock.counts(session)[StockState.SPOILED] == 1
    assert request.state == CardState.APPROVED
    with pytest.raises(Conflict, match=r"stock\.not_blank"):
        register.allocate(request, card.stock_serial)
    another = register.allocate(request, register.blank())
    assert another.uuid != card.uuid
    assert (another.status_list, another.status_idx) != (card.status_list, card.status_idx)


def test_what_is_unknown_is_said_to_be(register: Register) -> None:
    card = register.allocated()
    with database.transaction(register.factory) as session:
        with pytest.raises(NotFound, match=r"cards\.unknown"):
            lifecycle.find(session, card.request_id)
        with pytest.raises(NotFound, match=r"cards\.unknown_request"):
            lifecycle.approve(session, APPROVER, card.id, NOW)
        with pytest.raises(NotFound, match=r"cards\.no_person"):
            lifecycle.request_card(session, HR, card.id, Form.CHIP, NOW)


def test_two_who_take_the_same_request_at_once_make_one_card(register: Register) -> None:
    request = register.approve(register.request())
    for _ in range(2):
        register.blank()

    def take(_: int) -> str:
        try:
            register.allocate(request)
        except Conflict as conflict:
            return conflict.code
        return "made"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, range(2))) == ["cards.wrong_state", "made"]
    with database.reading(register.factory) as session:
        assert stock.counts(session)[StockState.BLANK] == 1


def test_two_requests_for_one_person_at_once_leave_one(register: Register) -> None:
    person = register.person()

    def ask(_: int) -> str:
        try:
            register.request(person)
        except Conflict as conflict:
            return conflict.code
        return "asked"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == ["asked", *["cards.request_open"] * 3]


def test_a_person_of_another_agency_is_approved_there(register: Register) -> None:
    person = register.person(agency_code=OTHER)
    request = register.request(person, actor=STRANGER)
    assert request.agency_code == OTHER
    with pytest.raises(Forbidden, match=r"policy\.other_agency"):
        register.approve(request, APPROVER)
