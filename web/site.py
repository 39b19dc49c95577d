"""What every page needs: the parts of the installation, who is asking, in which language, at what time."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime

from flask import current_app, flash, g, request
from sqlalchemy.orm import Session
from werkzeug.exceptions import NotFound as PageNotFound

from issuer import database, outbox
from issuer.audit import refusals
from issuer.config import Config
from issuer.database import SessionFactory
from issuer.days import LOCAL
from issuer.errors import Forbidden, IssuerError, Refused
from issuer.limits import RateLimit
from issuer.messages import catalogue
from issuer.policy import Actor
from issuer.trust.port import SigningHsm

EXTENSION = "themo"
LANGUAGE_COOKIE = "lang"
QUESTIONS_PER_S, QUESTIONS_AT_ONCE = 10.0, 120
"""The public questions of one address: a desk that scans card after card passes, who walks through a list does not."""
REVOCATION_PER_S, REVOCATION_AT_ONCE = 20.0, 200
"""Lists and OCSP, for each address: a gate of an office asks for many."""
MANY = 2**53
"""No row number or place of the feed is that high, here or in a browser."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are wired to: settings, database, HSM, clock; and how often an address may ask."""

    config: Config
    factory: SessionFactory
    hsm: SigningHsm
    now: Callable[[], datetime]
    questions: RateLimit = field(default_factory=lambda: RateLimit(QUESTIONS_PER_S, QUESTIONS_AT_ONCE))
    revocation_questions: RateLimit = field(default_factory=lambda: RateLimit(REVOCATION_PER_S, REVOCATION_AT_ONCE))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody signed in: who, with which rights at this moment, preferring which language."""

    actor: Actor
    full_name: str
    language: str


def parts() -> Parts:
    """The parts of this application."""
    found = current_app.extensions[EXTENSION]
    if not isinstance(found, Parts):
        raise TypeError("the application was made without its parts")
    return found


def now() -> datetime:
    """The time of this request, aware UTC."""
    return parts().now()


def reading() -> AbstractContextManager[Session]:
    """A consistent view of the database for a page."""
    return database.reading(parts().factory)


def transaction() -> AbstractContextManager[Session]:
    """One use case, committed at its end."""
    return database.transaction(parts().factory)


def poke() -> None:
    """Tell the feed that something was committed; without it the feed would find it a little later."""
    outbox.poke(parts().config)


def visitor() -> Visitor | None:
    """Who is signed in, or nobody."""
    found = g.get("visitor")
    return found if isinstance(found, Visitor) else None


def actor() -> Actor:
    """Who is asking; pages behind the sign-in only."""
    here = visitor()
    if here is None:
        raise PageNotFound
    return here.actor


def lang() -> str:
    """The language of this answer: asked for in the address, chosen before, the visitor's own, else Vietnamese."""
    here = visitor()
    for wanted in (request.args.get("lang"), request.cookies.get(LANGUAGE_COOKIE), here.language if here else None):
        if wanted in ("vi", "en"):
            return wanted
    return "vi"


def t(code: str, **facts: object) -> str:
    """A text of the message catalogue in the language of this answer; the pages' own stand under `page.`."""
    own = f"page.{code}"
    return catalogue.text(own if catalogue.knows(own, lang()) else code, lang(), **facts)


def explain(error: IssuerError) -> str:
    """A refusal as an office reads it: what is wrong and, where there is one, the hint."""
    said = sentence(t(error.code, **error.facts))
    hint = catalogue.hint(error.code, lang(), **error.facts)
    return f"{said} {sentence(hint)}" if hint else said


def sentence(text: str) -> str:
    """A text of the catalogue, which is written for a command line, as a sentence on a page."""
    begun = text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?", ":")) else f"{begun}."


def say_refused(error: IssuerError) -> None:
    """Show a refusal on the next page; what somebody tried and may not do is noted in the audit log."""
    note_forbidden(error)
    flash(explain(error), "bad")


def note_forbidden(error: IssuerError) -> None:
    """Write down that somebody tried what they may not do: the act itself was rolled back."""
    here = visitor()
    if isinstance(error, Forbidden) and here is not None:
        refusals.note(parts().factory, here.actor, error, now())


def key_asked(name: str) -> uuid.UUID | None:
    """A row's key from the address, None where there is none. Raises Refused."""
    text = request.args.get(name)
    try:
        return uuid.UUID(text) if text else None
    except ValueError as error:
        raise Refused("people.bad_cursor") from error


def number_asked(name: str) -> int | None:
    """A number from the address, None where there is none or it cannot be one of ours."""
    value = request.args.get(name, type=int)
    return value if value is not None and 0 <= value < MANY else None


def show_date(value: date | None) -> str:
    """dd/mm/yyyy, as offices write it."""
    return "" if value is None else f"{value:%d/%m/%Y}"


def show_time(value: datetime | None) -> str:
    """dd/mm/yyyy hh:mm:ss in Việt Nam."""
    return "" if value is None else f"{value.astimezone(LOCAL):%d/%m/%Y %H:%M:%S}"


def say_done(text: str) -> None:
    """Show on the next page what was done."""
    flash(text, "good")


def say_refused_text(text: str) -> None:
    """Show on the next page what is wrong."""
    flash(text, "bad")
