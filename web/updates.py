"""Cards that were issued and need something new: which wait, how far it has come, and the update of one."""

import logging
import uuid
from itertools import islice

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from cardlink.errors import LinkLost
from issuer.cards import at_reader, outdated, queries, update
from issuer.errors import Forbidden, IssuerError, Refused
from issuer.policy import Action, scopes
from issuer.trust.connect import allocator, connect
from web.site import actor, key_asked, now, parts, poke, reading, say_done, say_refused, t, transaction

log = logging.getLogger(__name__)
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
def renew(card_id: uuid.UUID) -> BaseResponse:
    """Update the card on this machine's reader; where there is none, open the update for a station."""
    reader = parts().config.station_reader
    try:
        if reader:
            _at_reader(reader, card_id)
            poke()
            say_done(t("update.done"))
        else:
            with transaction() as session:
                update.order(session, actor(), card_id, now(), allocator(parts().config))
            say_done(t("update.opened"))
    except IssuerError as error:
        say_refused(error)
    return redirect(url_for("cards.show", card_id=card_id))


def _at_reader(reader: str, card_id: uuid.UUID) -> None:
    asking, here = actor(), parts()
    with reading() as session:
        card, _ = queries.card(session, asking, card_id)
    try:
        at_reader.run_at(
            reader,
            lambda: update.start(here.factory, connect(here.config), asking, card_id, here.now, allocator(here.config)),
            lambda progress: log.debug("card update card=%s step=%s", card.uuid, progress.step),
        )
    except LinkLost as lost:
        raise Refused("updates.torn", card=str(card.uuid), why=lost.why) from lost
