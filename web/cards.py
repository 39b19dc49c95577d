"""Cards: found, looked at, blocked in two clicks, and which doors have confirmed it."""

import uuid

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from issuer.access import log, receipts
from issuer.access.log import EventFilter
from issuer.access.receipts import Confirmations
from issuer.cards import blocking, face_data, lifecycle, outdated, queries
from issuer.cards.blocking import AwaitsSecondPerson, BlockReason, Changed
from issuer.cards.face import draw_faces
from issuer.cards.open_updates import find_open
from issuer.cards.queries import Filter
from issuer.cards.states import BLOCKED, CardState
from issuer.cards.tables import Card
from issuer.cards.update_plan import UPDATABLE, causes_of, keys_at_fault
from issuer.errors import IssuerError, Refused
from issuer.policy import Action, Actor, allows, scopes
from issuer.registry import agencies
from issuer.trust import status
from issuer.trust.status import Position
from web.doors import event_row
from web.site import (
    actor,
    key_asked,
    now,
    number_asked,
    parts,
    poke,
    reading,
    say_done,
    say_refused,
    t,
    transaction,
)

pages = Blueprint("cards", __name__)

NAMED_DOORS = 20


@pages.get("/cards")
def index() -> str:
    """The cards this officer may see, newest first."""
    with reading() as session:
        wanted = Filter(request.args.get("state") or None, request.args.get("agency") or None, key_asked("after"))
        page = queries.cards(session, actor(), wanted)
        waiting = outdated.count(session, actor(), now())
        return render_template(
            "cards.html",
            page=page,
            states=list(CardState),
            agencies=agencies.all_agencies(session),
            outdated=waiting,
        )


@pages.get("/cards/<uuid:card_id>")
def show(card_id: uuid.UUID) -> str:
    """One card: its state, its faces, its last taps, and how far its last change has come."""
    asking = actor()
    with reading() as session:
        card, person = queries.card(session, asking, card_id)
        change = _position()
        position = change or status.head(session)
        told = receipts.confirmations(session, *position) if change or card.state != CardState.ACTIVE else None
        may_see_events = bool(scopes(asking, Action.EVENTS_VIEW))
        return render_template(
            "card.html",
            card=card,
            person=person,
            is_blocked=card.state in BLOCKED,
            undo=blocking.undo_for(card, asking, now()),
            undo_until=blocking.undo_until(card),
            may_update=card.state in UPDATABLE,
            due=causes_of(session, card, keys_at_fault(session, now())),
            open_update=find_open(session, card.id),
            has_reader=bool(parts().config.station_reader),
            block_reasons=blocking.possible_reasons(card),
            said_reason=_reason_text(card),
            position=position,
            confirmations=told,
            waiting=_waiting(told, asking) if told else "",
            events=[event_row(one) for one in log.page(session, asking, EventFilter(card_uuid=card.uuid), limit=10)]
            if may_see_events
            else (),
        )


@pages.get("/cards/<uuid:card_id>/<any(front, back):side>.png")
def face(card_id: uuid.UUID, side: str) -> Response:
    """One face as an image, drawn from the register as it stands."""
    with reading() as session:
        queries.card(session, actor(), card_id)
        data = face_data.face_data(session, card_id)
    return Response(draw_faces(data).png(side), mimetype="image/png")


@pages.get("/cards/<uuid:card_id>/confirmations")
def confirmations(card_id: uuid.UUID) -> Response:
    """How many doors have confirmed a place of the feed, for the script that keeps the page up to date."""
    with reading() as session:
        queries.card(session, actor(), card_id)
        told = receipts.confirmations(session, *(_position() or status.head(session)))
    return jsonify(confirmed=told.confirmed, total=told.total, waiting=_waiting(told, actor()))


@pages.post("/cards/<uuid:card_id>/block")
def block(card_id: uuid.UUID) -> BaseResponse:
    """Khóa thẻ: at once, everywhere."""
    try:
        reason = BlockReason(request.form.get("reason", ""))
    except ValueError:
        reason = None
    try:
        if reason is None:
            raise Refused("cards.reason_needed")
        with transaction() as session:
            changed = blocking.block(
                session, parts().hsm, actor(), card_id, reason, now(), request.form.get("note", "").strip()
            )
        return _changed(changed, t("web.did.block"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))


@pages.post("/cards/<uuid:card_id>/unblock")
def unblock(card_id: uuid.UUID) -> BaseResponse:
    """Take a block back: alone within ten minutes, later with a second person."""
    try:
        with transaction() as session:
            answer = blocking.unblock(session, parts().hsm, actor(), card_id, now())
        match answer:
            case Changed():
                return _changed(answer, t("web.did.unblock"))
            case AwaitsSecondPerson():
                say_done(t("web.did.unblock_asked"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))


@pages.post("/cards/<uuid:card_id>/revoke")
def revoke(card_id: uuid.UUID) -> BaseResponse:
    """Thu hồi: for good."""
    try:
        with transaction() as session:
            changed = blocking.revoke(
                session, parts().hsm, actor(), card_id, request.form.get("reason", "").strip(), now()
            )
        return _changed(changed, t("web.did.revoke"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))


@pages.post("/cards/<uuid:card_id>/activate")
def activate(card_id: uuid.UUID) -> BaseResponse:
    """Bàn giao thẻ: the holder has signed for it; from now on it counts, and doors learn of it."""
    try:
        with transaction() as session:
            lifecycle.activate(session, parts().hsm, actor(), card_id, now())
        poke()
        say_done(t("web.did.activate"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))


def _changed(changed: Changed, text: str) -> BaseResponse:
    poke()
    say_done(text)
    at = changed.position
    return redirect(url_for("cards.show", card_id=changed.card.id, epoch=at.epoch, seq=at.seq))


def _position() -> Position | None:
    epoch, seq = number_asked("epoch"), number_asked("seq")
    return None if epoch is None or seq is None else Position(epoch, seq)


def _reason_text(card: Card) -> str:
    """Why the card is in its state: what the officer wrote, or the words for the bare reason."""
    said = card.state_reason or ""
    return t(f"card.block.{said}") if said in set(BlockReason) else said


def _waiting(told: Confirmations, asking: Actor) -> str:
    """Which doors have not confirmed; those of agencies that the officer has no business with are only counted."""
    late = [one for one in told.doors if not one.is_confirmed]
    named = [one.name for one in late if allows(asking, Action.CARD_VIEW, one.owner_agency)][:NAMED_DOORS]
    others = len(late) - len(named)
    if others:
        named.append(t("card.waiting_others", count=others))
    return ", ".join(named) or "–"
