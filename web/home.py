"""The first page: what waits for this officer."""

from flask import Blueprint, render_template

from issuer.access import alarms
from issuer.cards import outdated, queries
from issuer.policy import Action, scopes
from issuer.registry import people
from web.site import actor, now, reading

pages = Blueprint("home", __name__)


@pages.get("/")
def index() -> str:
    """How many records and requests wait, and the alarms nobody has looked at."""
    asking = actor()
    with reading() as session:
        may_see_people = bool(scopes(asking, Action.PERSON_VIEW))
        may_see_events = bool(scopes(asking, Action.EVENTS_VIEW))
        return render_template(
            "home.html",
            records=people.counts(session, asking) if may_see_people else {},
            cards=queries.card_counts(session, asking) if scopes(asking, Action.CARD_VIEW) else {},
            requests=queries.request_counts(session, asking) if scopes(asking, Action.CARD_VIEW) else {},
            outdated=outdated.count(session, asking, now()) if scopes(asking, Action.CARD_VIEW) else 0,
            alarms=alarms.waiting(session, asking) if may_see_events else (),
        )
