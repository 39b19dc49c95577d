"""Doors: where they stand, what they may do, what they report, live."""

import uuid

from flask import Blueprint, Response, jsonify, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from issuer import policy
from issuer.access import alarms, doors, log, receipts, rules
from issuer.access.log import EventFilter, EventView
from issuer.errors import IssuerError
from issuer.messages import catalogue
from issuer.policy import Action
from issuer.trust import status
from web.site import (
    actor,
    key_asked,
    lang,
    now,
    number_asked,
    reading,
    say_done,
    say_refused,
    show_time,
    t,
    transaction,
)

pages = Blueprint("doors", __name__)

LIVE_ROWS = 40


@pages.get("/doors")
def index() -> str:
    """Every door with how far it has confirmed, the alarms, and the newest events."""
    asking = actor()
    policy.require_anywhere(asking, Action.DOOR_VIEW)
    with reading() as session:
        head = status.head(session)
        told = {one.door_id: one for one in receipts.confirmations(session, *head).doors}
        return render_template(
            "doors.html",
            doors=doors.doors(session, asking),
            confirmations=told,
            head=head,
            alarms=alarms.waiting(session, asking),
            events=[event_row(event) for event in log.page(session, asking, limit=LIVE_ROWS)],
        )


@pages.get("/doors/<uuid:door_id>")
def show(door_id: uuid.UUID) -> str:
    """One door: settings, rules, events."""
    asking = actor()
    with reading() as session:
        return render_template(
            "door.html",
            door=doors.door(session, asking, door_id),
            rules=rules.rules(session, asking, door_id),
            events=[event_row(one) for one in log.page(session, asking, EventFilter(door_id=door_id), limit=LIVE_ROWS)],
        )


@pages.get("/events")
def events() -> Response:
    """Events after a number, for the script that keeps a table live."""
    wanted = EventFilter(door_id=key_asked("door"))
    with reading() as session:
        found = log.since(session, actor(), number_asked("after") or 0, wanted, limit=LIVE_ROWS)
    return jsonify(events=[event_row(event) for event in found])


@pages.post("/alarms/<int:alarm_id>/seen")
def seen(alarm_id: int) -> BaseResponse:
    """Note that somebody has looked at an alarm."""
    try:
        with transaction() as session:
            alarms.seen(session, actor(), alarm_id, now())
        say_done(t("web.did.alarm_seen"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("doors.index"))


def event_row(event: EventView) -> dict[str, object]:
    """An event in the words of a page."""
    decision = event.decision or ""
    return {
        "id": event.id,
        "at": show_time(event.at),
        "door": event.door_name,
        "kind": t(f"door.kind.{event.kind}"),
        "decision": t(f"door.decision.{decision}") if decision else "",
        "look": {"granted": "good", "refused": "bad"}.get(decision, "none"),
        "reason": _reason_text(event.reason) if event.reason else "",
        "person": event.person_name or "",
        "card": "" if event.card_uuid is None else str(event.card_uuid)[:8],
    }


def _reason_text(code: str) -> str:
    """The words for a door's reason; a door newer than this centre may give one that is not known here yet."""
    known = f"page.door.reason.{code}"
    if not catalogue.knows(known, lang()):
        return code
    said = catalogue.text(known, lang())
    return said[:1].upper() + said[1:]
