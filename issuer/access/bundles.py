"""Door bundles (docs/formats.md, F7): a door's settings, rules, calendars and people, signed by its owner agency.

Rules name people; a bundle holds their cards. It is made again when rules or cards change, signed and sent only when
what it says has changed, or before it runs out.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from cardlink.statements import bundle as wire
from issuer import outbox
from issuer.access import settings
from issuer.access.rules import Effect, doors_of_person
from issuer.access.tables import Bundle, Calendar, Door, DoorRule, DoorRulePerson
from issuer.cards.states import BLOCKED, CardState, Form
from issuer.cards.tables import Card
from issuer.days import local_day
from issuer.errors import NotFound
from issuer.trust import status
from issuer.trust.port import Signing
from issuer.trust.signers import Signer, signer_for

LIFE = timedelta(days=30)
RENEW_WITHIN = timedelta(days=15)
CLOCK_SLACK = timedelta(minutes=5)
USE = "bundle"
HOLDING = (CardState.ACTIVE, *BLOCKED)
"""States in which a card stands in bundles: whether it opens now is said by its status alone (F7)."""


@dataclass(frozen=True, slots=True)
class Published:
    """A door's bundle as it stands: its number, and whether this call made it."""

    seq: int
    is_new: bool


def publish(session: Session, hsm: Signing, door_id: uuid.UUID, now: datetime) -> Published:
    """Make the bundle of a door; sign, number, store and send it if it says something new.

    Raises NotFound for a door out of service and where no key may sign for its owner.
    """
    outbox.lock(session)
    door = session.get(Door, door_id, with_for_update=True, populate_existing=True)
    if door is None or door.retired_at is not None:
        raise NotFound("door.unknown", door=str(door_id))
    return _publish(session, hsm, door, now)


def person_changed(session: Session, hsm: Signing, person_id: uuid.UUID, now: datetime) -> int:
    """Publish for every door whose rules name this person, after their cards changed. Answers how many were new."""
    session.flush()
    return sum(publish(session, hsm, door_id, now).is_new for door_id in doors_of_person(session, person_id))


def publish_all(session: Session, hsm: Signing, now: datetime) -> int:
    """Publish for every door in service. Answers how many were new."""
    in_service = select(Door.id).where(Door.retired_at.is_(None)).order_by(Door.id)
    return sum(publish(session, hsm, door_id, now).is_new for door_id in session.scalars(in_service).all())


def due(session: Session, now: datetime, limit: int = 100) -> Sequence[uuid.UUID]:
    """Enrolled doors whose bundle is missing, runs out soon, or is of an older epoch."""
    epoch = status.head(session).epoch
    found = (
        select(Door.id)
        .outerjoin(Bundle, Bundle.door_id == Door.id)
        .where(
            Door.enrolled_at.is_not(None),
            Door.retired_at.is_(None),
            or_(Bundle.door_id.is_(None), Bundle.expires < now + RENEW_WITHIN, Bundle.epoch != epoch),
        )
        .limit(limit)
    )
    return session.scalars(found).all()


def current(session: Session, door_id: uuid.UUID) -> tuple[int, bytes]:
    """The newest bundle of a door: its number and the statement. Raises NotFound."""
    row = session.execute(select(Bundle.seq, Bundle.body).where(Bundle.door_id == door_id)).one_or_none()
    if row is None:
        raise NotFound("feed.no_bundle", door=str(door_id))
    return row.seq, row.body


def build(session: Session, door: Door, now: datetime) -> wire.Bundle:
    """What the tables say of a door now, as its next bundle."""
    rules = session.scalars(select(DoorRule).where(DoorRule.door_id == door.id).order_by(DoorRule.id)).all()
    people = _people(session, door.id)
    cards = _cards(session, {person for named in people.values() for person in named}, now)
    index = {person: number for number, person in enumerate(sorted(cards))}
    written = [_rule(rule, [index[one] for one in people.get(rule.id, ()) if one in index]) for rule in rules]
    speaking = tuple(rule for rule in written if rule.holders or rule.agencies)
    used = {rule.calendar for rule in speaking}
    named = session.scalars(select(Calendar).where(Calendar.id.in_(used)).order_by(Calendar.id))
    issued_s = int(now.timestamp())
    return wire.Bundle(
        owner=door.owner_agency,
        door_uuid=door.id.bytes,
        expires_s=issued_s + int(LIFE.total_seconds()),
        not_before_s=issued_s - int(CLOCK_SLACK.total_seconds()),
        issued_s=issued_s,
        epoch=status.head(session).epoch,
        seq=door.bundle_seq + 1,
        settings=settings.build(door.level, door.settings),
        rules=speaking,
        calendars={one.id: _calendar(one) for one in named},
        holders=tuple(cards[person] for person in sorted(cards)),
    )


def _publish(session: Session, hsm: Signing, door: Door, now: datetime) -> Published:
    signer = signer_for(session, hsm, door.owner_agency, USE, now)
    made = build(session, door, now)
    content = _content(made, signer)
    held = session.get(Bundle, door.id, populate_existing=True)
    if held is not None and held.content == content and held.epoch == made.epoch and now < held.expires - RENEW_WITHIN:
        return Published(held.seq, is_new=False)
    body = wire.issue_bundle(made, signer.kid, signer.sign)
    if held is None:
        held = Bundle(door_id=door.id)
        session.add(held)
    held.epoch, held.seq, held.content, held.body = made.epoch, made.seq, content, body
    held.created, held.expires = now, now + LIFE
    session.execute(update(Door).where(Door.id == door.id).values(bundle_seq=made.seq))
    session.flush()
    outbox.put(session, outbox.Kind.BUNDLE, f"{door.id} {made.seq}", body, now)
    return Published(made.seq, is_new=True)


def _content(made: wire.Bundle, signer: Signer) -> bytes:
    """What tells two bundles apart but for their numbers and times; another signer makes another bundle."""
    bare = replace(made, expires_s=0, not_before_s=0, issued_s=0, epoch=0, seq=0)
    return hashlib.sha256(signer.kid + wire.encode_bundle(bare)).digest()


def _people(session: Session, door_id: uuid.UUID) -> Mapping[int, list[uuid.UUID]]:
    """The people whom each rule of a door names."""
    rows = session.execute(
        select(DoorRulePerson.rule_id, DoorRulePerson.person_id)
        .join(DoorRule, DoorRule.id == DoorRulePerson.rule_id)
        .where(DoorRule.door_id == door_id)
        .order_by(DoorRulePerson.rule_id, DoorRulePerson.person_id)
    )
    named: dict[int, list[uuid.UUID]] = {}
    for rule_id, person_id in rows:
        named.setdefault(rule_id, []).append(person_id)
    return named


def _cards(session: Session, people: set[uuid.UUID], now: datetime) -> dict[uuid.UUID, tuple[wire.HolderCard, ...]]:
    """The cards with a chip that each of these people holds; people without one are left out."""
    rows = session.execute(
        select(Card.person_id, Card.uuid, Card.key_hash)
        .where(
            Card.person_id.in_(people),
            Card.form == Form.CHIP.value,
            Card.state.in_([state.value for state in HOLDING]),
            Card.key_hash.is_not(None),
            Card.expires_on >= local_day(now),
        )
        .order_by(Card.uuid)
    )
    held: dict[uuid.UUID, list[wire.HolderCard]] = {}
    for person_id, card_uuid, key_hash in rows:
        if key_hash is not None:
            held.setdefault(person_id, []).append(wire.HolderCard(card_uuid.bytes, key_hash))
    return {person: tuple(cards) for person, cards in held.items()}


def _rule(rule: DoorRule, holders: Sequence[int]) -> wire.Rule:
    return wire.Rule(
        rule_id=rule.id,
        allows=rule.effect == Effect.ALLOW,
        holders=tuple(holders),
        agencies=tuple(rule.agencies),
        calendar=rule.calendar_id,
        from_s=None if rule.valid_from is None else int(rule.valid_from.timestamp()),
        until_s=None if rule.valid_until is None else int(rule.valid_until.timestamp()),
    )


def _calendar(row: Calendar) -> wire.Calendar:
    return wire.Calendar(
        week=tuple(tuple((start, end) for start, end in day) for day in row.week),
        dates={int(day): tuple((start, end) for start, end in ranges) for day, ranges in row.days.items()},
    )
