"""The steps of an update, each as it is done: what is said to a card that its holder brought back."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from cardlink.errors import CardStatus, Malformed
from cardlink.gp import commands as gp
from cardlink.gp.commands import ISD_AID
from cardlink.gp.scp03 import offers
from cardlink.piv import commands as piv
from cardlink.piv.tables import PIV_AID
from cardlink.statements.challenge import NONCE_BYTES
from issuer import database
from issuer.cards import acts, journal, lifecycle, renewed
from issuer.cards.acts import Facts
from issuer.cards.journal import Journal
from issuer.cards.open_updates import CERTIFICATES, LABELS, pending_certificates
from issuer.cards.plan import Act, Plan, Step
from issuer.cards.profiles import needs_pin
from issuer.cards.read_back import Expected, Mismatch, as_door
from issuer.cards.renewed import Renewed
from issuer.cards.tables import CardUpdateStep, PersonalisationStep
from issuer.cards.talk import CARD, CHALLENGE_BYTES, Channel, OtherCard, Talk, get_object, plain
from issuer.cards.update_plan import Part, require_updatable
from issuer.cards.workspace import Subject, Workspace
from issuer.database import SessionFactory
from issuer.errors import Refused
from issuer.policy import Actor
from issuer.trust import revocation
from issuer.trust.crl import CrlReason
from issuer.trust.port import Hsm
from issuer.trust.revocation import Certificate

FORMER = "former"


@dataclass(frozen=True, slots=True)
class Renewal:
    """What does not change during an update. `masters`: the key sets that may be alive, oldest first, as (label, KVN).

    The last one is what the card shall have; the only one, where its keys stay.
    """

    update_id: uuid.UUID
    parts: tuple[Part, ...]
    masters: tuple[tuple[str, int], ...]

    @property
    def kvn(self) -> int:
        """The key version that the card ends with."""
        return self.masters[-1][1]

    def key_sets(self) -> dict[str, str]:
        """The masters by the names of the key sets, the one that the card shall have first."""
        *former, (last, _) = self.masters
        return {CARD: last} | {f"{FORMER}-{n}": label for n, (label, _) in enumerate(reversed(former))}


class UpdateWork(Workspace):
    """One update's things, in the hand of one station."""

    def __init__(
        self,
        factory: SessionFactory,
        hsm: Hsm,
        actor: Actor,
        subject: Subject,
        plan: Plan,
        renewal: Renewal,
        token: bytes,
        clock: Callable[[], datetime],
    ) -> None:
        job = renewal.update_id
        channel = Channel(hsm, str(job), subject.serial, plan.profile, renewal.key_sets())
        own_journal = Journal(factory, job, token, plan, clock, journal.UPDATING, subject.card_id)
        super().__init__(factory, hsm, actor, subject, plan, own_journal, channel, clock)
        self.renewal = renewal


def is_the_card(work: UpdateWork) -> Talk[None]:
    """Look before anything is signed or written: is it this card, and does it hold keys that only we can have made?

    Raises Refused for a card that is none of ours, OtherCard, KeysLost.
    """
    profile = work.plan.profile
    try:
        yield from plain(gp.select())
        answer = yield from plain(gp.initialize_update(0, work.random(profile.mac_bytes)))
        update = gp.decode_initialize_update(answer)
        if not offers(update.option, profile.security_level):
            raise Malformed("SCP03", f"option {update.option:02X}")
    except (CardStatus, Malformed) as error:
        raise Refused("updates.not_ours", card=str(work.subject.card_uuid), why=str(error)) from error
    serial = update.kdd.hex().upper()
    if serial != work.subject.serial:
        raise OtherCard(serial)
    yield from _open(work, PIV_AID)


def _open(work: UpdateWork, aid: bytes) -> Talk[None]:
    """Open a channel under whichever key set is alive."""
    sets = tuple(work.renewal.key_sets())
    yield from work.channel.open(aid, sets, work.random(len(sets) * CHALLENGE_BYTES))


def _new_keys(work: UpdateWork, step: Step) -> Talk[Facts]:
    """Put the new key set in the place of the one that is alive, unless a torn try already did."""
    yield from _open(work, ISD_AID)
    alive = work.channel.key_set
    if alive != CARD:
        at = list(work.renewal.key_sets()).index(alive or "")
        label, kvn = work.renewal.masters[-1]
        yield from work.channel.replace_keys(label, kvn, work.renewal.masters[-1 - at][1])
    return {"kvn": work.renewal.kvn}


def _new_admin_key(work: UpdateWork, step: Step) -> Talk[Facts]:
    """9B derived from the new master, over a channel under the new key set."""
    yield from acts.in_piv(work)
    yield from work.channel.load("9b", work.subject.master_label, work.renewal.kvn)
    return {}


def _sign_anew(work: UpdateWork, step: Step) -> Talk[Facts]:
    """Sign what is due and keep it: at the centre, while the card that it is for waits in the reader.

    The transaction that signs also notes what it signed: whoever blocks the card from then on finds its new
    certificates. One blocked before is refused.
    """
    job, parts = work.renewal.update_id, work.renewal.parts
    with database.transaction(work.factory) as session:
        work.journal.hold(session.connection())
        card = lifecycle.find(session, work.subject.card_id, locked=True)
        require_updatable(card)
        unused = [Certificate(*one) for one in pending_certificates(session, card.id)]  # of a try that broke off here
        revocation.mark(session, unused, CrlReason.SUPERSEDED, work.clock())
        query = select(PersonalisationStep.facts).where(PersonalisationStep.job == card.id)
        facts = session.scalar(query.where(PersonalisationStep.name == Act.MESSAGING_KEY))
        point = bytes.fromhex(facts["point"]) if facts else None
        trust = acts.trust_of(session)
        made = renewed.sign(session, work.hsm, work.plan.profile, card, parts, point, trust, work.clock())
        journal.keep_objects(session, job, made.contents, journal.UPDATING)
        signed = _facts_of(made)
        session.get_one(CardUpdateStep, (job, step.name)).facts = signed
    work.keep_contents(made.contents)
    yield from ()
    return signed


def _facts_of(made: Renewed) -> dict[str, Any]:
    certificates = [[one.slot, one.issuer_label, one.serial, one.not_after.isoformat()] for one in made.certificates]
    return {LABELS: {str(what): label for what, label in made.labels.items()}, CERTIFICATES: certificates}


def _look(work: UpdateWork, step: Step) -> Talk[Facts]:
    """Look at the card as a door does, compare what may be read without the PIN, and see the former key sets dead.

    What stands behind the PIN is known by the card's protected answer to each write.
    """
    if len(work.renewal.masters) > 1:
        yield from work.channel.open(PIV_AID, (CARD,), work.random(CHALLENGE_BYTES))
    work.channel.drop()
    yield from plain(piv.select())
    contents, trust = work.contents(), work.read(acts.trust_of)
    expected = Expected(contents, {}, work.subject.card_uuid.bytes)
    yield from as_door(expected, trust, work.random(NONCE_BYTES), work.clock())
    for row in work.plan.profile.containers:
        if row.tag in contents and not needs_pin(row) and (yield from get_object(row.tag)) != contents[row.tag]:
            raise Mismatch(f"object {row.tag:X}")
    for _, kvn in work.renewal.masters[:-1]:
        yield from _is_dead(work, kvn)
    return {}


def _is_dead(work: UpdateWork, kvn: int) -> Talk[None]:
    try:
        yield from plain(gp.initialize_update(kvn, work.random(work.plan.profile.mac_bytes)))
    except CardStatus:
        return
    raise Mismatch(f"key version {kvn:02X} is still alive")


UPDATE_ACTS: dict[Act, Callable[[UpdateWork, Step], Talk[Facts]]] = {
    Act.NEW_KEYS: _new_keys,
    Act.NEW_ADMIN_KEY: _new_admin_key,
    Act.SIGN_ANEW: _sign_anew,
    Act.WRITE: acts.write,
    Act.LOOK: _look,
}
