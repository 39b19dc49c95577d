"""Requests for cards: approved or turned down by somebody other than who asked."""

import uuid

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from issuer.accounts import users
from issuer.cards import lifecycle, queries
from issuer.cards.queries import Filter
from issuer.cards.states import CardState
from issuer.errors import IssuerError, Refused
from issuer.registry import freshness
from web.site import actor, key_asked, now, reading, say_done, say_refused, t, transaction

pages = Blueprint("requests", __name__)

SHOWN = (CardState.REQUESTED, CardState.APPROVED, CardState.ALLOCATED, CardState.ACTIVE, CardState.CANCELLED)


@pages.get("/requests")
def index() -> str:
    """The requests this officer may see, newest first."""
    with reading() as session:
        page = queries.requests(
            session,
            actor(),
            Filter(request.args.get("state") or None, request.args.get("agency") or None, key_asked("after")),
        )
        names = users.names_of(session, (one.requested_name for one, _ in page.rows))
        return render_template("requests.html", page=page, states=SHOWN, names=names)


@pages.get("/requests/<uuid:request_id>")
def show(request_id: uuid.UUID) -> str:
    """One request: for whom, by whom, and whether the record is up to date now."""
    with reading() as session:
        found, person = queries.request(session, actor(), request_id)
        return render_template(
            "request.html",
            request_row=found,
            person=person,
            names=users.names_of(session, filter(None, (found.requested_name, found.decided_name))),
            card=queries.card_of_request(session, request_id),
            findings=freshness.findings(session, person, now()),
            is_own=found.requested_by == actor().user_id,
        )


@pages.post("/requests/<uuid:request_id>/approve")
def approve(request_id: uuid.UUID) -> Response:
    """Approve."""
    try:
        with transaction() as session:
            lifecycle.approve(session, actor(), request_id, now(), request.form.get("reason", "").strip())
        say_done(t("web.did.approve_request"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("requests.show", request_id=request_id))


@pages.post("/requests/<uuid:request_id>/reject")
def reject(request_id: uuid.UUID) -> Response:
    """Turn down, with a reason."""
    reason = request.form.get("reason", "").strip()
    try:
        if not reason:
            raise Refused("cards.reason_needed")
        with transaction() as session:
            lifecycle.reject(session, actor(), request_id, reason, now())
        say_done(t("web.did.reject_request"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("requests.show", request_id=request_id))
