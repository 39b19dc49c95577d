"""Cards that were issued and need something new: which wait, how far it has come, and calling one in."""

import uuid
from itertools import islice

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from issuer.cards import outdated, queries, update
from issuer.errors import Forbidden, IssuerError
from issuer.policy import Action, scopes
from issuer.trust.connect import allocator
from web.site import actor, key_asked, now, parts, reading, say_done, say_refused, t, transaction

pages = Blueprint("updates", __name__)


@pages.get("/cards/outdated")
def index() -> str:
    """The cards that have to be called in, oldest first, and the progress of each key."""
    asking, agency = actor(), request.args.get("agency") or None
    if not scopes(asking, Action.CARD_VIEW):
        raise Forbidden("policy.no_role", action=Action.CARD_VIEW.value)
    with reading() as session:
        found = outdated.waiting(session, asking, now(), agency, key_asked("after"))
        rows = list(islice(found, queries.PAGE + 1))
        return render_template(
            "outdated.html",
            rows=rows[: queries.PAGE],
            following=rows[queries.PAGE - 1].card.id if len(rows) > queries.PAGE else None,
            progress=outdated.progress(session, asking, now(), agency),
        )


@pages.post("/cards/<uuid:card_id>/update")
def order(card_id: uuid.UUID) -> BaseResponse:
    """Open the update of a card: the station does it as soon as the card lies on its reader."""
    try:
        with transaction() as session:
            update.order(session, actor(), card_id, now(), allocator(parts().config))
        say_done(t("update.opened"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))
