"""From the request to the card in hand: each function is one use case in the caller's transaction.

What may follow what, and under which condition, stands in `issuer/cards/transitions.py` alone.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cardlink.statements.status import Status
from issuer import ids
from issuer.access import bundles
from issuer.audit import log as audit
from issuer.cards import guards, revocation, statements, stock
from issuer.cards.guards import Context
from issuer.cards.states import LIVE, OPEN_REQUEST, CardState, Event, Form, Kind
from issuer.cards.stock import StockState
from issuer.cards.tables import Card, CardRequest
from issuer.cards.transitions import StatusChange, step
from issuer.cards.validity import last_day
from issuer.days import local_day
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor, require, require_other
from issuer.registry.tables import Person
from issuer.trust import masters, status
from issuer.trust.port import Allocating, Signing

STATUS_OF = {
    StatusChange.VALID: Status.VALID,
    StatusChange.REVOKED: Status.REVOKED,
    StatusChange.SUSPENDED: Status.SUSPENDED,
    StatusChange.STOLEN: Status.STOLEN,
}


def request_card(
    session: Session,
    actor: Actor,
    person_id: uuid.UUID,
    form: Form,
    now: datetime,
    *,
    kind: Kind = Kind.NEW,
    reason: str = "",
) -> CardRequest:
    """Ask for a card. The record must be up to date, nothing else open, and a first card the first one."""
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("cards.no_person", person=str(person_id))
    require(actor, Action.CARD_REQUEST, person.agency_code)
    require_other(actor, None, "cards.own_request")
    guards.person_is_fresh(session, person_id, now)
    _refuse_double(session, person_id, kind)
    request = CardRequest(
        id=ids.new_id(),
        person_id=person_id,
        agency_code=person.agency_code,
        kind=kind,
        form=form,
        state=CardState.REQUESTED,
        reason=reason,
        requested_by=actor.user_id,
        requested_name=actor.name,
        requested_at=now,
        decided_by=None,
        decided_name=None,
        decided_at=None,
        decision_reason=None,
    )
    try:
        with session.begin_nested():
            session.add(request)
    except IntegrityError as error:  # somebody else asked in the same moment
        raise Conflict("cards.request_open", person=person.full_name) from error
    _note(session, actor, "card.requested", request.id, now, {"form": form, "kind": kind, "person": str(person_id)})
    return request


def approve(session: Session, actor: Actor, request_id: uuid.UUID, now: datetime, reason: str = "") -> CardRequest:
    """Approve a request; never one's own, and only while the record is still up to date."""
    request = _request(session, request_id)
    step_request(session, actor, request, Event.APPROVE, now, {"reason": reason})
    request.decided_by, request.decided_name, request.decided_at = actor.user_id, actor.name, now
    request.decision_reason = reason
    session.flush()
    return request


def reject(session: Session, actor: Actor, request_id: uuid.UUID, reason: str, now: datetime) -> CardRequest:
    """Turn a request down, with a reason."""
    if not reason.strip():
        raise Refused("cards.reason_needed")
    request = _request(session, request_id)
    step_request(session, actor, request, Event.REJECT, now, {"reason": reason})
    request.decided_by, request.decided_name, request.decided_at = actor.user_id, actor.name, now
    request.decision_reason = reason
    session.flush()
    return request


def cancel(session: Session, actor: Actor, request_id: uuid.UUID, reason: str, now: datetime) -> CardRequest:
    """Take a request back before a card is made for it."""
    request = _request(session, request_id)
    step_request(session, actor, request, Event.CANCEL, now, {"reason": reason})
    return request


def allocate(
    session: Session,
    hsm: Signing,
    actor: Actor,
    request_id: uuid.UUID,
    serial: str | None,
    verify_url: str,
    now: datetime,
    jobs: Allocating | None = None,
) -> Card:
    """Make a card of an approved request: its UUID, its place in a status list, its QR, and a blank for a chip.

    The status stands at suspended until the card is handed over, so that one lost on the way opens nothing. `jobs`
    opens the card's job in the HSM, where card keys work only for jobs that were opened by another role than uses them.
    With it, a card that is allocated and still waits to be encoded gets its job opened again: there it ends by itself.
    """
    request = _request(session, request_id)
    if jobs is not None and request.state == CardState.ALLOCATED:
        waiting = _waiting_chip(session, request, serial)
        if waiting is not None:
            guards.another_person_encodes(context_of(session, actor, waiting, now))
            _open_job(session, jobs, actor, waiting, now)
            return waiting
    step_request(session, actor, request, Event.ALLOCATE, now, {"serial": serial})
    person = guards.person_is_fresh(session, request.person_id, now)
    form = Form(request.form)
    if form is Form.PLASTIC and serial is not None:
        raise Refused("cards.no_chip", card=serial)
    item = stock.take(session, serial, now) if form is Form.CHIP else None
    issued_on = local_day(now)
    card_id = ids.new_id()
    place = status.allocate(session, card_id, now)
    card = Card(
        id=card_id,
        uuid=ids.new_card_uuid(),
        request_id=request.id,
        person_id=person.id,
        agency_code=request.agency_code,
        form=form,
        state=CardState.ALLOCATED,
        identifier=str(statements.identifier_of(session, person)),
        stock_serial=None if item is None else item.serial,
        master_label=None if item is None else masters.current(session),
        status_list=place.list_n,
        status_idx=place.idx,
        issued_on=issued_on,
        expires_on=last_day(issued_on),
        created=now,
    )
    texts = statements.sign_qr(session, hsm, card, person, verify_url, now)
    card.qr_statement, card.qr_text, card.qr_plain = texts.statement, texts.signed, texts.plain
    session.add(card)
    session.flush()
    status.set_status(session, hsm, card.id, Status.SUSPENDED, now)
    _open_job(session, jobs, actor, card, now)
    return card


def _waiting_chip(session: Session, request: CardRequest, serial: str | None) -> Card | None:
    """The card that was allocated for a request and is not encoded yet, of this blank where one is named."""
    wanted = [Card.request_id == request.id, Card.state == CardState.ALLOCATED, Card.stock_serial.is_not(None)]
    if serial is not None:
        wanted.append(Card.stock_serial == serial)
    return session.scalars(select(Card).where(*wanted)).one_or_none()


def _open_job(session: Session, jobs: Allocating | None, actor: Actor, card: Card, now: datetime) -> None:
    if jobs is not None and card.stock_serial is not None:
        jobs.allocate(str(card.id), bytes.fromhex(card.stock_serial))
    facts = {"request": str(card.request_id), "serial": card.stock_serial}
    _note(session, actor, "card.allocated", card.uuid, now, facts)


def print_card(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """The faces are printed: after encoding, or at once for a plastic card."""
    return move(session, hsm, actor, card_id, Event.PRINT, now)


def check(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """Faces and chip were looked at and fit together."""
    return move(session, hsm, actor, card_id, Event.CHECK, now)


def hand_over(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """The holder has the card and has signed for it. It still opens nothing."""
    return move(session, hsm, actor, card_id, Event.HAND_OVER, now)


def activate(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """Bring a card from where it stands into the holder's hand and make it count.

    Printing, checking and handing over that are still to be done are done and noted one by one; the person's older
    card is revoked in the same transaction, so that there is never a moment with two.
    """
    card = find(session, card_id)
    for event in (Event.PRINT, Event.CHECK, Event.HAND_OVER):
        if card.state == _BEFORE[event] or (event is Event.PRINT and card.state == CardState.ALLOCATED):
            move(session, hsm, actor, card_id, event, now)
    for other in guards.live_cards(session, card.person_id):
        if other.id != card.id and card.state == CardState.HANDED_OVER:
            move(session, hsm, actor, other.id, Event.REPLACE, now, reason=str(card.uuid))
    move(session, hsm, actor, card_id, Event.ACTIVATE, now)
    request = _request(session, card.request_id)
    request.state = CardState.ACTIVE
    session.flush()
    return card


_BEFORE = {
    Event.PRINT: CardState.ENCODED,
    Event.CHECK: CardState.PRINTED,
    Event.HAND_OVER: CardState.CHECKED,
}


def spoil(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, reason: str, now: datetime) -> Card:
    """A card that came out wrong: it and its blank are done with, and the request waits for another."""
    card = move(session, hsm, actor, card_id, Event.SPOIL, now, reason=reason)
    if card.stock_serial is not None:
        stock.mark(session, card.stock_serial, StockState.SPOILED, reason, now)
    request = _request(session, card.request_id)
    request.state = CardState.APPROVED
    card.job_token = card.job_seen = None
    session.flush()
    return card


def destroy(session: Session, hsm: Signing, actor: Actor, card_id: uuid.UUID, now: datetime) -> Card:
    """A card that is out of use was destroyed."""
    return move(session, hsm, actor, card_id, Event.DESTROY, now)


def move(
    session: Session,
    hsm: Signing,
    actor: Actor,
    card_id: uuid.UUID,
    event: Event,
    now: datetime,
    *,
    reason: str = "",
) -> Card:
    """Take one card through one row of the table: guard, state, published status, audit entry."""
    card = find(session, card_id, locked=True)
    row = step(context_of(session, actor, card, now), event)
    before, card.state, card.state_reason = card.state, row.to, reason or None
    session.flush()
    if row.status is not StatusChange.KEEP:
        status.set_status(session, hsm, card.id, STATUS_OF[row.status], now)
    revocation.card_moved(session, card.id, CardState(before), event, now)
    if (before in bundles.HOLDING) != (row.to in bundles.HOLDING):
        bundles.person_changed(session, hsm, card.person_id, now)
    facts = {"event": event, "from": before, "to": row.to, "reason": reason}
    _note(session, actor, f"card.{row.to}", card.uuid, now, facts)
    return card


def step_request(
    session: Session, actor: Actor, request: CardRequest, event: Event, now: datetime, facts: Mapping[str, str | None]
) -> None:
    """Take one request through one row of the table."""
    row = step(Context(session, actor, request, None, now), event)
    before, request.state = request.state, row.to
    session.flush()
    _note(session, actor, f"request.{event}", request.id, now, {"from": before, "to": row.to, **facts})


def context_of(session: Session, actor: Actor, card: Card, now: datetime) -> Context:
    """What the guards look at for this card."""
    return Context(session, actor, _request(session, card.request_id), card, now)


def find(session: Session, card_id: uuid.UUID, *, locked: bool = False) -> Card:
    """Find a card by its row key. Raises NotFound."""
    card = session.get(Card, card_id, populate_existing=True, with_for_update=True if locked else None)
    if card is None:
        raise NotFound("cards.unknown", card=str(card_id))
    return card


def _request(session: Session, request_id: uuid.UUID) -> CardRequest:
    request = session.get(CardRequest, request_id, populate_existing=True, with_for_update=True)
    if request is None:
        raise NotFound("cards.unknown_request", request=str(request_id))
    return request


def _refuse_double(session: Session, person_id: uuid.UUID, kind: Kind) -> None:
    """One open request for a person; a first card only for who has none, a replacement only for who had one."""
    mine = select(CardRequest.id).where(CardRequest.person_id == person_id)
    if session.scalars(mine.where(CardRequest.state.in_(OPEN_REQUEST))).first() is not None:
        raise Conflict("cards.request_open", person=str(person_id))
    cards = session.scalars(select(Card).where(Card.person_id == person_id)).all()
    if kind is Kind.NEW:
        live = [card for card in cards if card.state in LIVE]
        if live:
            raise Conflict("cards.has_card", card=str(live[0].uuid))
    elif not cards:
        raise Refused("cards.no_card_before", kind=kind)


def _note(
    session: Session, actor: Actor, action: str, subject: uuid.UUID, now: datetime, facts: Mapping[str, str | None]
) -> None:
    audit.append(session, actor, action, str(subject), facts, now)
