"""Update a card that its holder brought back: what a fallen or ending key vouches for is made anew (docs/keys.md).

Journalled like a personalisation and carried by the same engine: torn at any exchange, it goes on at the next
insertion. Until it is done the register says what it said before, so that a door goes on believing the card as it is.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.sw import SW
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CARD_CREDENTIAL, IDENTITY_STATEMENT
from issuer import database, ids
from issuer.audit import log as audit
from issuer.cards import guards, journal, lifecycle, profiles, update_plan
from issuer.cards.guards import Context
from issuer.cards.open_updates import CERTIFICATES, LABELS, find_open, pending_certificates, signed_anew
from issuer.cards.personalise import Done, Job, Outcome, begun_as
from issuer.cards.plan import Act
from issuer.cards.profiles import THEMO, CardProfile
from issuer.cards.read_back import Mismatch
from issuer.cards.states import Form
from issuer.cards.tables import Card, CardCertificate, CardUpdate, CardUpdateCause, CardUpdateStep
from issuer.cards.talk import KeysLost, OtherCard, Talk
from issuer.cards.update_acts import UPDATE_ACTS, Renewal, UpdateWork, is_the_card
from issuer.cards.update_plan import Cause, Part, What, Why, plan_for_update, require_updatable
from issuer.cards.workspace import Subject
from issuer.database import SessionFactory
from issuer.days import local_day
from issuer.errors import Refused
from issuer.policy import Actor
from issuer.trust import masters, revocation
from issuer.trust.crl import CrlReason
from issuer.trust.port import Allocating, Hsm, HsmError
from issuer.trust.revocation import Certificate

log = logging.getLogger(__name__)

VERSIONS = 0x2F
"""Key versions of a card's own sets go round from 01 to this; the transport keys of blanks have 30."""
_KEY_STEPS = (Act.NEW_KEYS, Act.NEW_ADMIN_KEY)
_CHANNEL_LOST = (SW.SECURITY_STATUS_NOT_SATISFIED, SW.SECURE_MESSAGING_INCORRECT)


def start(
    factory: SessionFactory,
    hsm: Hsm,
    actor: Actor,
    card_id: uuid.UUID,
    clock: Callable[[], datetime],
    jobs: Allocating | None = None,
    profile: CardProfile | None = None,
) -> Job:
    """Take the update of a card: a new one, or one that was torn. Raises Conflict while another station is at it."""
    with database.transaction(factory) as session:
        now = clock()
        row = order(session, actor, card_id, now)
        card = lifecycle.find(session, card_id, locked=True)
        token = journal.lease(session, card, now)
        profile = profile or profiles.named(begun_as(session, card.id) or THEMO.name)
        sets = row.masters or [[card.master_label, card.kvn or profile.card_kvn]]
        renewal = Renewal(row.id, tuple(map(Part, row.parts)), tuple((str(label), int(kvn)) for label, kvn in sets))
        label, serial = renewal.masters[-1][0], card.stock_serial or ""
        subject = Subject(card.id, card.uuid, card.person_id, serial, "", label)
        _open_job(jobs, row, card)  # after all that may refuse: the HSM does not roll back
    work = UpdateWork(factory, hsm, actor, subject, plan_for_update(profile, renewal.parts), renewal, token, clock)
    return Job(work, lambda job, _: _drive(job, work))


def order(
    session: Session, actor: Actor, card_id: uuid.UUID, now: datetime, jobs: Allocating | None = None
) -> CardUpdate:
    """Open the update of a card, or bring one that is open up to what is due now. `jobs` opens its job in the HSM.

    Whoever may open jobs there need not be at the station: an update that was ordered waits for its card.
    """
    card = lifecycle.find(session, card_id, locked=True)
    may_be_updated(lifecycle.context_of(session, actor, card, now))
    causes = update_plan.causes_of(session, card, update_plan.keys_at_fault(session, now))
    row = find_open(session, card.id)
    if row is None:
        if not causes:
            raise Refused("updates.up_to_date", card=str(card.uuid))
        row = CardUpdate(id=ids.new_id(), card_id=card.id, parts=[], masters=[], begun=now, ended=None)
        row.begun_by, row.begun_name = actor.user_id, actor.name
        session.add(row)
        session.flush()
        _extend(session, row, card, causes, now)
        audit.append(session, actor, "card.update_begun", str(card.uuid), _told(row.id, causes), now)
    elif _is_overtaken(session, row, causes, now):
        journal.require_free(card, now)
        _extend(session, row, card, causes, now)
        audit.append(session, actor, "card.update_extended", str(card.uuid), _told(row.id, causes), now)
    _open_job(jobs, row, card)
    return row


def _open_job(jobs: Allocating | None, row: CardUpdate, card: Card) -> None:
    if jobs is not None:
        jobs.allocate(str(row.id), bytes.fromhex(card.stock_serial or ""))


def may_be_updated(context: Context) -> None:
    """Only by who may encode the card, and only a card with a chip that counts, or is about to."""
    guards.another_person_encodes(context)
    card = context.the_card()
    if card.form != Form.CHIP or card.stock_serial is None or card.master_label is None:
        raise Refused("cards.no_chip", card=str(card.uuid))
    if card.expires_on < local_day(context.now):
        raise Refused("cards.expired", card=str(card.uuid))
    require_updatable(card)


def _is_overtaken(session: Session, row: CardUpdate, causes: Iterable[Cause], now: datetime) -> bool:
    """Whether more is due by now than the open update does, or what it has signed has fallen itself meanwhile."""
    query = select(CardUpdateCause).where(CardUpdateCause.update_id == row.id)
    known = {(one.what, one.label, one.why) for one in session.scalars(query)}
    if any((one.what, one.label, one.why) not in known for one in causes):
        return True
    if row.masters and row.masters[-1][0] != masters.current(session):
        return True
    keys, signed = update_plan.keys_at_fault(session, now), signed_anew(session, row.id)
    behind = {*signed.get(LABELS, {}).values(), *(authority for _, authority, *_ in signed.get(CERTIFICATES, []))}
    return any((keys.signers | keys.authorities).get(label) is Why.COMPROMISED for label in behind)


def _extend(session: Session, row: CardUpdate, card: Card, causes: Iterable[Cause], now: datetime) -> None:
    """Let an update do all that is due. What it has signed is signed again; key sets that may be alive are kept."""
    parts = {*map(Part, row.parts), *update_plan.parts_of(causes)}
    row.parts = [str(part) for part in Part if part in parts]
    for one in causes:
        session.merge(CardUpdateCause(update_id=row.id, what=one.what, label=one.label, why=one.why))
    mine = delete(CardUpdateStep).where(CardUpdateStep.job == row.id)
    current = masters.current(session)
    if Part.KEYS in parts and (not row.masters or row.masters[-1][0] != current):
        sets = list(row.masters) or [[card.master_label, card.kvn or THEMO.card_kvn]]
        row.masters = [*sets, [current, _next_version({kvn for _, kvn in sets}, sets[-1][1])]]
        session.execute(mine.where(CardUpdateStep.name.in_(_KEY_STEPS)))
    unused = [Certificate(*one) for one in pending_certificates(session, card.id)]
    revocation.mark(session, unused, CrlReason.SUPERSEDED, now)
    session.execute(mine.where(CardUpdateStep.name.not_in(_KEY_STEPS)))
    journal.drop_objects(session, row.id, journal.UPDATING)
    session.flush()


def _next_version(used: Iterable[int], last: int) -> int:
    taken = set(used)
    version = last % VERSIONS + 1
    while version in taken:
        version = version % VERSIONS + 1
    return version


def _told(update_id: uuid.UUID, causes: Iterable[Cause]) -> dict[str, object]:
    return {"update": str(update_id), "causes": [f"{one.what} {one.label} {one.why}" for one in causes]}


def _drive(job: Job, work: UpdateWork) -> Talk[Outcome]:
    """Go through the plan from the first step that is not done. A card of a holder is never spoiled by it."""
    card = str(work.subject.card_uuid)
    try:
        yield from is_the_card(work)
        open_steps = [step for step in job.plan.steps if not work.journal.is_done(step.name)]
        for place, step in enumerate(open_steps):
            job.step = step.name
            if place == 0:
                work.journal.begin(step.name)
            facts = yield from UPDATE_ACTS[step.act](work, step)
            following = open_steps[place + 1].name if place + 1 < len(open_steps) else None
            work.journal.done(step.name, facts, following)
        done = _finish(work)
        _end_job(work)
        return done
    except OtherCard as other:
        raise Refused("updates.other_card", card=card, want=work.subject.serial, found=other.serial) from other
    except KeysLost as lost:
        raise Refused("updates.not_ours", card=card, why="SCP03") from lost
    except CardStatus as status:
        if status.sw in _CHANNEL_LOST:  # the card was reset under us: not its fault, and the next try will tell
            raise Refused("cards.channel_lost", step=job.step, why=str(status)) from status
        raise _failed(job, work, str(status)) from status
    except (Malformed, Mismatch) as error:
        raise _failed(job, work, str(error)) from error
    finally:
        work.channel.drop()


def _failed(job: Job, work: UpdateWork, why: str) -> Refused:
    """Note that the card did not take a step. The update stays open."""
    subject = str(work.subject.card_uuid)
    with database.transaction(work.factory) as session:
        facts = {"step": job.step, "why": why}
        audit.append(session, work.actor, "card.update_failed", subject, facts, work.clock())
    log.warning("card update failed card=%s step=%s why=%s", subject, job.step, why)
    return Refused("updates.failed", card=subject, step=job.step, why=why)


def _finish(work: UpdateWork) -> Done:
    """From here on the register says what the card bears, in one transaction; doors follow with the next trust list.

    Raises Refused for a card that was blocked or ended meanwhile: the update stays open.
    """
    now, renewal = work.clock(), work.renewal
    with database.transaction(work.factory) as session:
        work.journal.hold(session.connection())
        card = lifecycle.find(session, work.subject.card_id, locked=True)
        require_updatable(card)
        row = session.get_one(CardUpdate, renewal.update_id)
        signed, contents = signed_anew(session, row.id), work.contents()
        if Part.STATEMENTS in renewal.parts:
            card.credential, card.identity = contents[CARD_CREDENTIAL.tag], contents[IDENTITY_STATEMENT.tag]
        labels = {What(what): label for what, label in signed.get(LABELS, {}).items()}
        card.credential_label = labels.get(What.CREDENTIAL, card.credential_label)
        card.identity_label = labels.get(What.IDENTITY, card.identity_label)
        card.content_label = labels.get(What.CONTENT, card.content_label)
        _replace_certificates(session, work, contents, now)
        former = card.master_label
        card.master_label, card.kvn = renewal.masters[-1]
        card.job_token = card.job_seen = None
        row.ended = now
        facts: dict[str, object] = {"update": str(row.id), "parts": row.parts, "by": labels}
        if Part.KEYS in renewal.parts:
            facts |= {"master": card.master_label, "former_master": former or ""}
        audit.append(session, work.actor, "card.updated", str(card.uuid), facts, now)
        journal.drop_objects(session, row.id, journal.UPDATING)
    log.info("card updated card=%s parts=%s", work.subject.card_uuid, " ".join(renewal.parts))
    return Done(work.subject.card_id, work.subject.card_uuid)


def _end_job(work: UpdateWork) -> None:
    """Nobody opens a channel to this card for this update again. Where the HSM has gone meanwhile, the job stays."""
    try:
        work.hsm.end_job(str(work.renewal.update_id))
    except HsmError as error:
        log.warning("job not ended card=%s why=%s", work.subject.card_uuid, error)


def _replace_certificates(session: Session, work: UpdateWork, contents: Mapping[int, bytes], now: datetime) -> None:
    """The new certificates count. The former ones, of the same keys, go on the list: nobody else would revoke them."""
    if Part.CERTIFICATES not in work.renewal.parts:
        return
    card_id = work.subject.card_id
    former = session.scalars(select(CardCertificate).where(CardCertificate.card_id == card_id)).all()
    gone = [Certificate(one.issuer_label, one.serial, one.not_after) for one in former]
    revocation.mark(session, gone, CrlReason.SUPERSEDED, now)
    container_of = {slot.certificate_profile: slot.container for slot in work.plan.profile.slots}
    for one in former:
        session.delete(one)
    session.flush()
    for slot, authority, serial, until in signed_anew(session, work.renewal.update_id)[CERTIFICATES]:
        held = decode_certificate(contents[container_of[slot].tag]).certificate
        row = CardCertificate(card_id=card_id, slot=slot, serial=serial, issuer_label=authority, certificate=held)
        row.not_after = datetime.fromisoformat(until)
        session.add(row)
