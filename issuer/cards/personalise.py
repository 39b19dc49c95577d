"""Personalisation at the centre: `next_command(job, last_answer)` says what goes to the card next, and does no I/O.

A station, the CLI and the tests only carry the bytes. Each step is journalled before and after; a card that was pulled
out half way is resumed at the first step that is not done, or ends spoiled with a reason.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.gp.scp03 import offers
from cardlink.iso7816.sw import SW
from issuer import database
from issuer.audit import log as audit
from issuer.cards import guards, journal, lifecycle, profiles, stock
from issuer.cards.acts import ACTS
from issuer.cards.makers import NOBODY, Makers
from issuer.cards.plan import Act, plan_for
from issuer.cards.profiles import THEMO, CardProfile
from issuer.cards.read_back import Mismatch
from issuer.cards.states import Event
from issuer.cards.stock import StockState
from issuer.cards.tables import Card, StockItem
from issuer.cards.talk import KeysLost, OtherCard, Talk, plain
from issuer.cards.workspace import Subject, Workspace, for_personalisation
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor, require
from issuer.trust.port import Allocating, Hsm

log = logging.getLogger(__name__)

MAX_TRIES = 5
"""A step that began so often without an end spoils the card."""

_CHANNEL_LOST = (SW.SECURITY_STATUS_NOT_SATISFIED, SW.SECURE_MESSAGING_INCORRECT)


@dataclass(frozen=True, slots=True)
class Send:
    """Give these bytes to the card and come back with its answer."""

    apdu: bytes
    step: str


@dataclass(frozen=True, slots=True)
class Done:
    """The card is encoded, read back and verified."""

    card_id: uuid.UUID
    card_uuid: uuid.UUID


@dataclass(frozen=True, slots=True)
class Spoiled:
    """The card and its blank are done with; the request waits for another. `reason` is for people and the audit log."""

    card_id: uuid.UUID
    reason: str


Outcome = Done | Spoiled


class Job:
    """One personalisation or update: the place in its plan, and the conversation that goes through it."""

    def __init__(self, work: Workspace, drive: "Drive") -> None:
        self._work = work
        self.plan = work.plan
        self.step = work.plan.steps[0].name
        self._begun = False
        self._talk: Talk[Outcome] = drive(self, work)

    def advance(self, last_answer: bytes | None) -> Send | Outcome:
        """Hear the last answer (None at the start) and say what comes next; an error gives the job back."""
        if self._begun == (last_answer is None):
            raise ValueError("an answer is due after the first command, and not before it")
        try:
            apdu = next(self._talk) if last_answer is None else self._talk.send(last_answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        except BaseException:
            self.abandon()
            raise
        self._begun = True
        return Send(apdu, self.step)

    def abandon(self) -> None:
        """The card or the line to it is gone: give the job back, to be resumed later."""
        self._talk.close()
        self._work.channel.drop()
        self._work.journal.release()


Drive = Callable[[Job, Workspace], Talk[Outcome]]
"""Goes through a job's plan, telling the job where it stands."""


def next_command(job: Job, last_answer: bytes | None) -> Send | Outcome:
    """Say what goes to the card next. Raises Refused, and changes nothing, when another card lies in the reader."""
    return job.advance(last_answer)


def start(
    factory: SessionFactory,
    hsm: Hsm,
    actor: Actor,
    card_id: uuid.UUID,
    clock: Callable[[], datetime],
    profile: CardProfile | None = None,
    makers: Makers = NOBODY,
) -> Job:
    """Take the job of an allocated card: a new one, or one that was torn. Raises Conflict while another is at it.

    `profile`: the card's product; without one, what it was begun as, or our plain one. `makers`: whose word on keys
    made on a chip counts.
    """
    with database.transaction(factory) as session:
        card = lifecycle.find(session, card_id, locked=True)
        guards.another_person_encodes(lifecycle.context_of(session, actor, card, clock()))
        if card.stock_serial is None or card.master_label is None:
            raise Refused("cards.no_chip", card=str(card.uuid))
        item = session.get(StockItem, card.stock_serial)
        if item is None:
            raise NotFound("stock.unknown", serial=card.stock_serial)
        profile = _checked(card, profile, begun_as(session, card.id), makers)
        token = journal.claim(session, card, clock())
        subject = Subject(
            card.id, card.uuid, card.person_id, card.stock_serial, item.transport_label, card.master_label
        )
    plan = plan_for(profile, asks_maker=bool(makers.roots))
    return Job(for_personalisation(factory, hsm, actor, subject, plan, token, clock, makers), _drive)


def begun_as(session: Session, card_id: uuid.UUID) -> str | None:
    """The product that a card was begun as; None before its first step is done."""
    facts = journal.facts_of(session, card_id, Act.ROTATE)
    return str(facts.get("product", THEMO.name)) if facts else None


def attested_by(session: Session, card_id: uuid.UUID) -> str | None:
    """The maker that vouched for the keys of a card; None where nobody did."""
    return journal.facts_of(session, card_id, Act.ATTEST).get("maker")


def _checked(card: Card, wanted: CardProfile | None, begun: str | None, makers: Makers) -> CardProfile:
    """The product that a card becomes. Raises Refused where it was begun as another, or nobody could judge it."""
    profile = wanted or (THEMO if begun is None else profiles.named(begun))
    if begun not in (None, profile.name):
        raise Refused("cards.other_product", card=str(card.uuid), begun=begun, wanted=profile.name)
    if profile.is_attested and not makers.roots:
        raise Refused("cards.no_makers", product=profile.name)
    return profile


def allow_pin(session: Session, jobs: Allocating, actor: Actor, card_id: uuid.UUID, now: datetime) -> None:
    """Let the PIN of an encoded card be told, once and within minutes, by a process that has not this right."""
    card = lifecycle.find(session, card_id)
    require(actor, Action.CARD_HAND_OVER, card.agency_code)
    if card.pin_taken_at is not None or card.encoded_by is None:
        raise Refused("cards.no_pin", card=str(card.uuid))
    audit.append(session, actor, "card.pin_allowed", str(card.uuid), {}, now)
    jobs.allow_pin(str(card.id))


def reveal_pin(
    session: Session, hsm: Hsm, actor: Actor, card_id: uuid.UUID, now: datetime, jobs: Allocating | None = None
) -> str:
    """Tell the PIN of an encoded card, once, for its letter; who asked stands in the audit log.

    Where an allocator has a PIN in the HSM, that role must have let it be told: `jobs` does so at once, else
    `allow_pin` did it elsewhere.
    """
    card = lifecycle.find(session, card_id, locked=True)
    require(actor, Action.CARD_HAND_OVER, card.agency_code)
    if card.pin_taken_at is not None or card.encoded_by is None:
        raise Refused("cards.no_pin", card=str(card.uuid))
    card.pin_taken_at = now
    audit.append(session, actor, "card.pin_taken", str(card.uuid), {}, now)
    if jobs is not None:
        jobs.allow_pin(str(card.id))
    return hsm.reveal_pin(str(card.id))


def _drive(job: Job, work: Workspace) -> Talk[Outcome]:
    """Go through the plan from the first step that is not done."""
    try:
        open_steps = [step for step in job.plan.steps if not work.journal.is_done(step.name)]
        if open_steps:
            yield from _is_the_card(work)
        for place, step in enumerate(open_steps):
            job.step = step.name
            if place == 0 and work.journal.begin(step.name) > MAX_TRIES:
                return _spoil(work, f"{step.name}: began {MAX_TRIES} times without an end")
            facts = yield from ACTS[step.act](work, step)
            following = open_steps[place + 1].name if place + 1 < len(open_steps) else None
            work.journal.done(step.name, facts, following)
            log.debug("step done card=%s step=%s", work.subject.card_uuid, step.name)
        return _finish(work)
    except OtherCard as other:
        raise Refused("cards.other_blank", want=work.subject.serial, found=other.serial) from other
    except KeysLost:
        return _spoil(work, f"{job.step}: neither the transport keys nor the card's own are alive")
    except CardStatus as status:
        if status.sw in _CHANNEL_LOST:  # the card was reset under us: not its fault, and the next try will tell
            raise Refused("cards.channel_lost", step=job.step, why=str(status)) from status
        return _spoil(work, f"{job.step}: {status}")
    except (Malformed, Mismatch) as error:
        return _spoil(work, f"{job.step}: {error}")
    finally:
        work.channel.drop()


def _is_the_card(work: Workspace) -> Talk[None]:
    """Look before the journal is touched: is it the blank of this job, and can it what its product can?

    Any other card is left as it is.
    """
    profile = work.plan.profile
    try:
        yield from plain(gp.select())
        answer = yield from plain(gp.initialize_update(0, work.random(profile.mac_bytes)))
        update = gp.decode_initialize_update(answer)
        serial = update.kdd.hex().upper()
        if not offers(update.option, profile.security_level):
            level = f"security level {int(profile.security_level):02X}"
            raise Malformed("SCP03", f"option {update.option:02X} does not offer {level}")
    except (CardStatus, Malformed) as error:
        raise Refused("cards.not_our_product", want=work.subject.serial, why=str(error)) from error
    if serial != work.subject.serial:
        raise OtherCard(serial)


def _finish(work: Workspace) -> Done:
    """The card counts from here on: encoded, its blank used, in one transaction.

    Before it, the HSM ends the job: who takes this process later opens no channel to a card that waits for its holder.
    """
    now = work.clock()
    work.hsm.end_job(str(work.subject.card_id))
    with database.transaction(work.factory) as session:
        work.journal.hold(session.connection())
        card = lifecycle.find(session, work.subject.card_id, locked=True)
        card.kvn, card.encoded_by = work.plan.profile.card_kvn, work.actor.user_id
        card.job_token = card.job_seen = None
        lifecycle.move(session, work.hsm, work.actor, card.id, Event.ENCODE, now)
        stock.mark(session, work.subject.serial, StockState.USED, None, now)
        journal.drop_objects(session, card.id)
    log.info("card encoded card=%s serial=%s", work.subject.card_uuid, work.subject.serial)
    return Done(work.subject.card_id, work.subject.card_uuid)


def _spoil(work: Workspace, reason: str) -> Spoiled:
    work.hsm.end_job(str(work.subject.card_id), forgets_pin=True)
    with database.transaction(work.factory) as session:
        work.journal.hold(session.connection())
        lifecycle.spoil(session, work.hsm, work.actor, work.subject.card_id, reason, work.clock())
        journal.drop_objects(session, work.subject.card_id)
    log.warning("card spoiled card=%s serial=%s reason=%s", work.subject.card_uuid, work.subject.serial, reason)
    return Spoiled(work.subject.card_id, reason)
