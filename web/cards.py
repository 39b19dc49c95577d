"""Cards: found, looked at, blocked in two clicks, and which doors have confirmed it."""

import uuid

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from issuer.access import bundles, log, receipts
from issuer.access.log import EventFilter
from issuer.cards import blocking, face_data, lifecycle, queries
from issuer.cards.blocking import AwaitsSecondPerson, BlockReason, Changed
from issuer.cards.face import draw_faces
from issuer.cards.queries import Filter
from issuer.cards.states import BLOCKED, CardState
from issuer.errors import IssuerError, Refused
from issuer.policy import Action, scopes
from issuer.registry import agencies
from issuer.trust import status
from issuer.trust.status import Position
from web.requests import _cursor
from web.site import actor, now, parts, poke, reading, say_done, say_refused, t, transaction

pages = Blueprint("cards", __name__)


@pages.get("/cards")
def index() -> str:
    """The cards this officer may see, newest first."""
    with reading() as session:
        wanted = Filter(request.args.get("state") or None, request.args.get("agency") or None, _cursor())
        page = queries.cards(session, actor(), wanted)
        return render_template("cards.html", page=page, states=list(CardState), agencies=agencies.all_agencies(session))


@pages.get("/cards/<uuid:card_id>")
def show(card_id: uuid.UUID) -> str:
    """One card: its state, its faces, its last taps, and how far its last change has come."""
    asking = actor()
    with reading() as session:
        card, person = queries.card(session, asking, card_id)
        position = _position() or status.head(session)
        may_see_events = bool(scopes(asking, Action.EVENTS_VIEW))
        return render_template(
            "card.html",
            card=card,
            person=person,
            is_blocked=card.state in BLOCKED,
            undo_until=blocking.undo_until(card),
            now=now(),
            reasons=list(BlockReason),
            position=position,
            confirmations=receipts.confirmations(session, *position) if card.state != CardState.ACTIVE else None,
            events=log.page(session, asking, EventFilter(card_uuid=card.uuid), limit=10) if may_see_events else (),
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
    waiting = [one.name for one in told.doors if not one.is_confirmed]
    return jsonify(confirmed=told.confirmed, total=told.total, waiting=waiting)


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
            card = lifecycle.activate(session, parts().hsm, actor(), card_id, now())
            bundles.person_changed(session, parts().hsm, card.person_id, now())
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
    epoch, seq = request.args.get("epoch", type=int), request.args.get("seq", type=int)
    return None if epoch is None or seq is None else Position(epoch, seq)
