"""The steps of a personalisation, each as it is done: what is said to the card, and what the centre signs for it."""

import uuid
from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from cardlink.check.cache import CredentialCache
from cardlink.check.card import verify_credential
from cardlink.errors import Malformed
from cardlink.gp import inventory
from cardlink.gp.commands import ISD_AID
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.tables import PIV_AID, Algorithm, KeyRef
from cardlink.piv.templates import EcPublicKey, decode_public_key
from cardlink.statements.cose_key import from_point
from cardlink.statements.refusal import Refused as Judged
from cardlink.statements.trust import Trust, reload_trust_list
from issuer import database
from issuer.cards import journal, lifecycle, objects
from issuer.cards.attestation import attest
from issuer.cards.plan import Act, Step
from issuer.cards.read_back import RANDOM_BYTES, Expected, read_back
from issuer.cards.tables import CardCertificate
from issuer.cards.talk import CARD, CHALLENGE_BYTES, TRANSPORT, Talk
from issuer.cards.workspace import Workspace
from issuer.errors import NotFound, Refused
from issuer.registry.tables import Person
from issuer.trust import trust_list

Facts = dict[str, Any]
"""What the journal keeps of a step that is done."""

_CHANGES_REFERENCE = {Act.PUK: ("puk", KeyRef.PUK), Act.PIN: ("pin", KeyRef.PIN)}


def in_piv(work: Workspace) -> Talk[None]:
    """Have a channel open in the PIV application, under the card's own keys."""
    if work.channel.aid != PIV_AID:
        yield from work.channel.open(PIV_AID, (CARD,), work.random(CHALLENGE_BYTES))


def trust_of(session: Session) -> Trust:
    """The trust list as it stands. Raises Refused for one that no door would take."""
    return _reloaded(trust_list.current(session))


@lru_cache(maxsize=2)
def _reloaded(raw: bytes) -> Trust:
    """The list with these very bytes: read and its signatures checked once, not twice for each card."""
    trust = reload_trust_list(raw)
    if isinstance(trust, Judged):
        raise Refused("trust.list_stale", why=trust.reason)
    return trust


def _person(session: Session, person_id: uuid.UUID) -> Person:
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound("cards.no_person", person=str(person_id))
    return person


def _rotate(work: Workspace, step: Step) -> Talk[Facts]:
    """Put the card's own keys in the place of the transport keys, unless a torn try already did."""
    channel = work.channel
    yield from channel.open(ISD_AID, (TRANSPORT, CARD), work.random(2 * CHALLENGE_BYTES))
    if channel.key_set == TRANSPORT:
        yield from channel.rotate(work.subject.master_label)
    return {"kvn": work.plan.profile.card_kvn, "product": work.plan.profile.name}


def _admin_key(work: Workspace, step: Step) -> Talk[Facts]:
    yield from in_piv(work)
    yield from work.channel.load("9b", work.subject.master_label)
    return {}


def _reference(work: Workspace, step: Step) -> Talk[Facts]:
    """Change PUK or PIN from the factory's value. A second try first asks whether the first one happened."""
    yield from in_piv(work)
    kind, ref = _CHANGES_REFERENCE[step.act]
    entry = work.journal.entry(step.name)
    if entry is not None and entry.tries > 1 and work.plan.profile.has_metadata:
        metadata = yubico.decode_metadata((yield from work.channel.say(yubico.get_metadata(ref))))
        if isinstance(metadata, yubico.ReferenceMetadata) and not metadata.is_default:
            return {"found": True}
    yield from work.channel.load(kind, work.subject.master_label)
    return {}


def _make_key(work: Workspace, step: Step) -> Talk[Facts]:
    """Have the card make a key pair; the answer is protected, so a station cannot put another key in its place."""
    if step.slot is None:
        raise ValueError(f"step {step.name} has no slot")
    return (yield from _make(work, step.slot.ref, work.plan.profile.algorithm))


def _messaging_key(work: Workspace, step: Step) -> Talk[Facts]:
    """Have the card make its secure messaging key; that it is this card's is known by the channel."""
    suite = work.plan.profile.messaging
    if suite is None:
        raise ValueError(f"step {step.name}, and the product has no secure messaging")
    return (yield from _make(work, KeyRef.SECURE_MESSAGING, suite.algorithm))


def _make(work: Workspace, ref: KeyRef, algorithm: Algorithm) -> Talk[Facts]:
    yield from in_piv(work)
    answer = yield from work.channel.say(piv.generate_key(ref, algorithm))
    key = decode_public_key(answer, algorithm)
    if not isinstance(key, EcPublicKey):
        raise Malformed("public key", "not an EC key")
    from_point(key.point)  # on the curve, or Malformed
    return {"point": key.point.hex()}


def _prepare(work: Workspace, step: Step) -> Talk[Facts]:
    """Certify the keys, sign and encode all objects, and keep them: at the centre, without the card."""
    now = work.clock()
    with database.transaction(work.factory) as session:
        card = lifecycle.find(session, work.subject.card_id, locked=True)
        person = _person(session, work.subject.person_id)
        made = objects.prepare(
            session, work.hsm, work.plan.profile, card, person, work.points(), now, work.messaging_point()
        )
        # A door must accept what is about to be written: better no card than one that no door knows.
        judged = verify_credential(made.statements.credential, trust_of(session), now, CredentialCache())
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
        signed = made.statements
        card.credential, card.identity, card.key_hash = signed.credential, signed.identity, made.key_hash
        card.credential_label, card.identity_label = signed.credential_label, signed.identity_label
        card.content_label = made.content_label
        journal.keep_objects(session, card.id, made.contents)
    work.keep_contents(made.contents)
    yield from ()
    return {}


def write(work: Workspace, step: Step) -> Talk[Facts]:
    """Write one object."""
    if step.container is None:
        raise ValueError(f"step {step.name} has no container")
    yield from in_piv(work)
    tag = step.container.tag
    yield from work.channel.say(piv.put_data(tag, work.contents()[tag]))
    return {}


_TO_SECURED: MappingProxyType[int, tuple[int, ...]] = MappingProxyType(
    {
        inventory.LifeCycle.OP_READY: (inventory.LifeCycle.INITIALIZED, inventory.LifeCycle.SECURED),
        inventory.LifeCycle.SECURED: (),
    }
)


def _secure(work: Workspace, step: Step) -> Talk[Facts]:
    """Bring the card's life cycle to SECURED, unless it is there; from OP_READY it takes two steps (GPCS §5.1.1)."""
    yield from work.channel.open(ISD_AID, (CARD,), work.random(CHALLENGE_BYTES))
    domain = inventory.get_status(inventory.Scope.ISSUER_DOMAIN)
    entries = inventory.decode_status((yield from work.channel.say(domain)))
    if not entries:
        raise Malformed("GET STATUS answer", "no security domain")
    steps = _TO_SECURED.get(entries[0].state, (inventory.LifeCycle.SECURED,))
    for state in steps:
        yield from work.channel.say(inventory.set_status(inventory.Scope.ISSUER_DOMAIN, state, entries[0].aid))
    return {}


def _read_back(work: Workspace, step: Step) -> Talk[Facts]:
    expected = Expected(work.contents(), work.points(), work.subject.card_uuid.bytes)
    random = work.random(RANDOM_BYTES)
    trust = work.read(trust_of)
    yield from read_back(work.channel, work.plan.profile, expected, trust, random, work.clock())
    return {}


ACTS: dict[Act, Callable[[Workspace, Step], Talk[Facts]]] = {
    Act.ROTATE: _rotate,
    Act.ADMIN_KEY: _admin_key,
    Act.PUK: _reference,
    Act.PIN: _reference,
    Act.MAKE_KEY: _make_key,
    Act.MESSAGING_KEY: _messaging_key,
    Act.ATTEST: attest,
    Act.PREPARE: _prepare,
    Act.WRITE: write,
    Act.SECURE: _secure,
    Act.READ_BACK: _read_back,
}
