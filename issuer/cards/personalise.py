"""Personalisation at the centre: `next_command(job, last_answer)` says what goes to the card next, and does no I/O.

A station, the CLI and the tests only carry the bytes. Each step is journalled before and after; a card that was pulled
out half way is resumed at the first step that is not done, or ends spoiled with a reason.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete
from sqlalchemy.orm import Session

from cardlink.check.cache import CredentialCache
from cardlink.check.card import verify_credential
from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.commands import ISD_AID
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.tables import PIV_AID, KeyRef
from cardlink.piv.templates import EcPublicKey, decode_public_key
from cardlink.statements.cose_key import from_point
from cardlink.statements.refusal import Refused as Judged
from cardlink.statements.trust import Trust, reload_trust_list
from issuer import database
from issuer.audit import log as audit
from issuer.cards import guards, journal, lifecycle, objects, stock
from issuer.cards.journal import Journal
from issuer.cards.plan import Act, Plan, Step, plan_for
from issuer.cards.profiles import THEMO
from issuer.cards.read_back import RANDOM_BYTES, Expected, Mismatch, read_back
from issuer.cards.states import Event
from issuer.cards.stock import StockState
from issuer.cards.tables import CardCertificate, StockItem
from issuer.cards.talk import CARD, CHALLENGE_BYTES, TRANSPORT, Channel, KeysLost, OtherCard, Talk, plain
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor, require
from issuer.registry.tables import Person
from issuer.trust import trust_list
from issuer.trust.port import Hsm

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_TRIES = 5
"""A step that began so often without an end spoils the card."""

_CHANNEL_LOST = (SW.SECURITY_STATUS_NOT_SATISFIED, SW.SECURE_MESSAGING_INCORRECT)
_CHANGES_REFERENCE = {Act.PUK: ("puk", KeyRef.PUK), Act.PIN: ("pin", KeyRef.PIN)}


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


@dataclass(frozen=True, slots=True)
class Subject:
    """What does not change during a job."""

    card_id: uuid.UUID
    card_uuid: uuid.UUID
    person_id: uuid.UUID
    serial: str
    transport_label: str
    master_label: str


class Job:
    """One personalisation in the hand of one station: lease, journal, channel and the place in the plan."""

    def __init__(
        self,
        factory: SessionFactory,
        hsm: Hsm,
        actor: Actor,
        subject: Subject,
        token: bytes,
        clock: Callable[[], datetime],
    ) -> None:
        self.factory = factory
        self.hsm = hsm
        self.actor = actor
        self.subject = subject
        self.clock = clock
        self.plan: Plan = plan_for(THEMO)
        self.journal = Journal(factory, subject.card_id, token, self.plan, clock)
        self.journal.load()
        labels = {TRANSPORT: subject.transport_label, CARD: subject.master_label}
        self.channel = Channel(hsm, str(subject.card_id), subject.serial, self.plan.profile, labels)
        self.step: str = self.plan.steps[0].name
        self._talk: Talk[Outcome] = _drive(self)
        self.contents: Mapping[int, bytes] | None = None
        self._begun = False

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
        self.channel.drop()
        self.journal.release()

    def read(self, build: Callable[[Session], T]) -> T:
        """Read from the register in a transaction of its own."""
        with database.reading(self.factory) as session:
            return build(session)


def next_command(job: Job, last_answer: bytes | None) -> Send | Outcome:
    """Say what goes to the card next. Raises Refused, and changes nothing, when another card lies in the reader."""
    return job.advance(last_answer)


def start(factory: SessionFactory, hsm: Hsm, actor: Actor, card_id: uuid.UUID, clock: Callable[[], datetime]) -> Job:
    """Take the job of an allocated card: a new one, or one that was torn. Raises Conflict while another is at it."""
    with database.transaction(factory) as session:
        card = lifecycle.find(session, card_id, locked=True)
        guards.another_person_encodes(lifecycle.context_of(session, actor, card, clock()))
        if card.stock_serial is None or card.master_label is None:
            raise Refused("cards.no_chip", card=str(card.uuid))
        item = session.get(StockItem, card.stock_serial)
        if item is None:
            raise NotFound("stock.unknown", serial=card.stock_serial)
        token = journal.claim(session, card, clock())
        subject = Subject(
            card.id, card.uuid, card.person_id, card.stock_serial, item.transport_label, card.master_label
        )
    return Job(factory, hsm, actor, subject, token, clock)


def reveal_pin(session: Session, hsm: Hsm, actor: Actor, card_id: uuid.UUID, now: datetime) -> str:
    """Tell the PIN of an encoded card, once, for its letter; who asked stands in the audit log."""
    card = lifecycle.find(session, card_id, locked=True)
    require(actor, Action.CARD_HAND_OVER, card.agency_code)
    if card.pin_taken_at is not None or card.encoded_by is None:
        raise Refused("cards.no_pin", card=str(card.uuid))
    card.pin_taken_at = now
    audit.append(session, actor, "card.pin_taken", str(card.uuid), {}, now)
    return hsm.reveal_pin(str(card.id))


def _drive(job: Job) -> Talk[Outcome]:
    """Go through the plan from the first step that is not done."""
    try:
        open_steps = [step for step in job.plan.steps if not job.journal.is_done(step.name)]
        if open_steps:
            yield from _is_the_card(job)
        for place, step in enumerate(open_steps):
            job.step = step.name
            if place == 0 and job.journal.begin(step.name) > MAX_TRIES:
                return _spoil(job, f"{step.name}: began {MAX_TRIES} times without an end")
            facts = yield from _ACTS[step.act](job, step)
            following = open_steps[place + 1].name if place + 1 < len(open_steps) else None
            job.journal.done(step.name, facts, following)
            log.debug("step done card=%s step=%s", job.subject.card_uuid, step.name)
        return _finish(job)
    except OtherCard as other:
        raise Refused("cards.other_blank", want=job.subject.serial, found=other.serial) from other
    except KeysLost:
        return _spoil(job, f"{job.step}: neither the transport keys nor the card's own are alive")
    except CardStatus as status:
        if status.sw in _CHANNEL_LOST:  # the card was reset under us: not its fault, and the next try will tell
            raise Refused("cards.channel_lost", step=job.step, why=str(status)) from status
        return _spoil(job, f"{job.step}: {status}")
    except (Malformed, Mismatch) as error:
        return _spoil(job, f"{job.step}: {error}")
    finally:
        job.channel.drop()


def _is_the_card(job: Job) -> Talk[None]:
    """Look before the journal is touched: is it the blank of this job? Any other card is left as it is."""
    try:
        yield from plain(gp.select())
        answer = yield from plain(gp.initialize_update(0, job.hsm.random(CHALLENGE_BYTES)))
        serial = gp.decode_initialize_update(answer).kdd.hex().upper()
    except (CardStatus, Malformed) as error:
        raise Refused("cards.not_our_product", want=job.subject.serial, why=str(error)) from error
    if serial != job.subject.serial:
        raise OtherCard(serial)


def _finish(job: Job) -> Done:
    """The card counts from here on: encoded, its blank used, in one transaction."""
    now = job.clock()
    with database.transaction(job.factory) as session:
        job.journal.hold(session)
        card = lifecycle.find(session, job.subject.card_id, locked=True)
        card.kvn, card.encoded_by = job.plan.profile.card_kvn, job.actor.user_id
        card.job_token = card.job_seen = None
        lifecycle.move(session, job.hsm, job.actor, card.id, Event.ENCODE, now)
        stock.mark(session, job.subject.serial, StockState.USED, None, now)
        journal.drop_objects(session, card.id)
    log.info("card encoded card=%s serial=%s", job.subject.card_uuid, job.subject.serial)
    return Done(job.subject.card_id, job.subject.card_uuid)


def _spoil(job: Job, reason: str) -> Spoiled:
    with database.transaction(job.factory) as session:
        job.journal.hold(session)
        lifecycle.spoil(session, job.hsm, job.actor, job.subject.card_id, reason, job.clock())
        journal.drop_objects(session, job.subject.card_id)
    log.warning("card spoiled card=%s serial=%s reason=%s", job.subject.card_uuid, job.subject.serial, reason)
    return Spoiled(job.subject.card_id, reason)


def _in_piv(job: Job) -> Talk[None]:
    """Have a channel open in the PIV application, under the card's own keys."""
    if job.channel.aid != PIV_AID:
        yield from job.channel.open(PIV_AID, (CARD,), job.hsm.random(CHALLENGE_BYTES))


def _points(job: Job) -> dict[KeyRef, bytes]:
    """The public points of the keys made on the card, as its protected answers told them."""
    points: dict[KeyRef, bytes] = {}
    for step in job.plan.steps:
        entry = job.journal.entry(step.name)
        if step.slot is not None and entry is not None:
            points[step.slot.ref] = bytes.fromhex(entry.facts["point"])
    return points


def _contents(job: Job) -> Mapping[int, bytes]:
    """The prepared objects, read once."""
    if job.contents is None:
        job.contents = job.read(lambda session: journal.objects_of(session, job.subject.card_id))
    return job.contents


def _trust(session: Session) -> Trust:
    trust = reload_trust_list(trust_list.current(session))
    if isinstance(trust, Judged):
        raise Refused("trust.list_stale", why=trust.reason)
    return trust


def _person(session: Session, person_id: uuid.UUID) -> Person:
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("cards.no_person", person=str(person_id))
    return person


def _rotate(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Put the card's own keys in the place of the transport keys, unless a torn try already did."""
    channel = job.channel
    yield from channel.open(ISD_AID, (TRANSPORT, CARD), job.hsm.random(16))
    if channel.key_set == TRANSPORT:
        yield from channel.rotate(job.subject.master_label)
    return {"kvn": job.plan.profile.card_kvn}


def _admin_key(job: Job, step: Step) -> Talk[dict[str, Any]]:
    yield from _in_piv(job)
    yield from job.channel.load("9b", job.subject.master_label)
    return {}


def _reference(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Change PUK or PIN from the factory's value. A second try first asks whether the first one happened."""
    yield from _in_piv(job)
    kind, ref = _CHANGES_REFERENCE[step.act]
    entry = job.journal.entry(step.name)
    if entry is not None and entry.tries > 1 and job.plan.profile.has_metadata:
        metadata = yubico.decode_metadata((yield from job.channel.say(yubico.get_metadata(ref))))
        if isinstance(metadata, yubico.ReferenceMetadata) and not metadata.is_default:
            return {"found": True}
    yield from job.channel.load(kind, job.subject.master_label)
    return {}


def _make_key(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Have the card make a key pair; the answer is protected, so a station cannot put another key in its place."""
    if step.slot is None:
        raise ValueError(f"step {step.name} has no slot")
    yield from _in_piv(job)
    algorithm = job.plan.profile.algorithm
    answer = yield from job.channel.say(piv.generate_key(step.slot.ref, algorithm))
    key = decode_public_key(answer, algorithm)
    if not isinstance(key, EcPublicKey):
        raise Malformed("public key", "not an EC key")
    from_point(key.point)  # on the curve, or Malformed
    return {"point": key.point.hex()}


def _prepare(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Certify the keys, sign and encode all objects, and keep them: at the centre, without the card."""
    now = job.clock()
    with database.transaction(job.factory) as session:
        card = lifecycle.find(session, job.subject.card_id, locked=True)
        person = _person(session, job.subject.person_id)
        made = objects.prepare(session, job.hsm, job.plan.profile, card, person, _points(job), now)
        # A door must accept what is about to be written: better no card than one that no door knows.
        judged = verify_credential(made.credential, _trust(session), now, CredentialCache())
        if isinstance(judged, Judged):
            raise Refused("trust.list_stale", why=judged.reason)
        session.execute(delete(CardCertificate).where(CardCertificate.card_id == card.id))
        session.add_all(
            CardCertificate(
                card_id=card.id,
                slot=one.slot,
                serial=one.serial,
                issuer_label=one.issuer_label,
                certificate=one.certificate,
                not_after=one.not_after,
            )
            for one in made.certificates
        )
        card.credential, card.identity, card.key_hash = made.credential, made.identity, made.key_hash
        journal.keep_objects(session, card.id, made.contents)
    job.contents = made.contents
    yield from ()
    return {}


def _write(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Write one object."""
    if step.container is None:
        raise ValueError(f"step {step.name} has no container")
    yield from _in_piv(job)
    tag = step.container.tag
    yield from job.channel.say(piv.put_data(tag, _contents(job)[tag]))
    return {}


def _secure(job: Job, step: Step) -> Talk[dict[str, Any]]:
    """Bring the card's life cycle to SECURED, unless it is there."""
    yield from job.channel.open(ISD_AID, (CARD,), job.hsm.random(8))
    domain = inventory.get_status(inventory.Scope.ISSUER_DOMAIN)
    entries = inventory.decode_status((yield from job.channel.say(domain)))
    if entries[0].state != inventory.LifeCycle.SECURED:
        secured = inventory.set_status(inventory.Scope.ISSUER_DOMAIN, inventory.LifeCycle.SECURED, ISD_AID)
        yield from job.channel.say(secured)
    return {}


def _read_back(job: Job, step: Step) -> Talk[dict[str, Any]]:
    expected = Expected(_contents(job), _points(job), job.subject.card_uuid.bytes)
    random = job.hsm.random(RANDOM_BYTES)
    trust = job.read(_trust)
    yield from read_back(job.channel, job.plan.profile, expected, trust, random, job.clock())
    return {}


_ACTS: dict[Act, Callable[[Job, Step], Talk[dict[str, Any]]]] = {
    Act.ROTATE: _rotate,
    Act.ADMIN_KEY: _admin_key,
    Act.PUK: _reference,
    Act.PIN: _reference,
    Act.MAKE_KEY: _make_key,
    Act.PREPARE: _prepare,
    Act.WRITE: _write,
    Act.SECURE: _secure,
    Act.READ_BACK: _read_back,
}
