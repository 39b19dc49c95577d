"""People: one search box, one record with its history, its steps and the reasons why it may get no card."""

import uuid

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from issuer.accounts import users
from issuer.cards import lifecycle, queries
from issuer.cards.states import Form, Kind
from issuer.errors import IssuerError, NotFound, Refused
from issuer.policy import Action
from issuer.registry import agencies, freshness, people, photos, positions, workflow
from issuer.registry.tables import RecordState
from issuer.registry.workflow import Step
from web.site import actor, now, reading, say_done, say_refused, t, transaction

pages = Blueprint("people", __name__)

GIVE_BACK = "return"


@pages.get("/people")
def index() -> str:
    """Find people by name (with or without diacritics) or number; ordered by given name."""
    chosen = request.args.get("state") or None
    with reading() as session:
        page = people.search(
            session,
            actor(),
            request.args.get("q", ""),
            agency=request.args.get("agency") or None,
            state=RecordState(chosen) if chosen in set(RecordState) else None,
            after=request.args.get("after") or None,
        )
        current = queries.current_cards(session, [person.id for person in page.people])
        return render_template(
            "people.html", page=page, cards=current, states=list(RecordState), agencies=agencies.all_agencies(session)
        )


@pages.get("/people/<uuid:person_id>")
def show(person_id: uuid.UUID) -> str:
    """One record: data, steps, freshness, cards."""
    with reading() as session:
        person = people.get(session, actor(), person_id)
        steps = people.steps(session, person_id)
        return render_template(
            "person.html",
            person=person,
            agency=agencies.get(session, person.agency_code),
            position=positions.get(session, person.position_code) if person.position_code else None,
            steps=steps,
            names=users.names_of(session, (one.actor for one in steps)),
            findings=freshness.findings(session, person, now()),
            cards=queries.cards_of(session, person_id),
            requests=queries.requests_of(session, person_id),
            next_step=_next_step(person.state),
        )


@pages.get("/people/<uuid:person_id>/photo")
def photo(person_id: uuid.UUID) -> Response:
    """The portrait, for who may see the record."""
    with reading() as session:
        person = people.get(session, actor(), person_id)
        if person.photo_sha256 is None:
            raise NotFound("freshness.no_photo")
        return Response(photos.get(session, person.photo_sha256).jpeg, mimetype="image/jpeg")


@pages.post("/people/<uuid:person_id>/step")
def step(person_id: uuid.UUID) -> BaseResponse:
    """Take the record one step further, or give it back, with an opinion."""
    wanted, version = request.form.get("step", ""), request.form.get("version", type=int)
    opinion = request.form.get("opinion", "")
    try:
        if version is None or wanted not in (*Step, GIVE_BACK):
            raise Refused("page.web.bad_form")
        with transaction() as session:
            if wanted == GIVE_BACK:
                workflow.give_back(session, actor(), person_id, version, opinion, now())
            else:
                workflow.advance(session, actor(), person_id, version, Step(wanted), opinion, now())
        say_done(t(f"web.did.{wanted}"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("people.show", person_id=person_id))


@pages.post("/people/<uuid:person_id>/request")
def ask(person_id: uuid.UUID) -> BaseResponse:
    """Ask for a card for this person."""
    form, kind = request.form.get("form"), request.form.get("kind")
    reason = request.form.get("reason", "").strip()
    try:
        if form not in set(Form) or kind not in set(Kind):
            raise Refused("page.web.bad_form")
        with transaction() as session:
            lifecycle.request_card(session, actor(), person_id, Form(form), now(), kind=Kind(kind), reason=reason)
        say_done(t("web.did.request"))
        return redirect(url_for("requests.index"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("people.show", person_id=person_id))


def _next_step(state: str) -> tuple[Step, Action] | None:
    for name, move in workflow.MOVES.items():
        if move.before == state:
            return name, move.action
    return None
