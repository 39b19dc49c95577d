"""Doors: who owns them, how a door's own key becomes known, where they stand."""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cardlink.statements import cbor
from cardlink.statements.cose_key import CoseKey, decode_cose_key
from issuer import ids, outbox, policy
from issuer.access import settings
from issuer.access.tables import Door
from issuer.audit import log as audit
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor

CODE_GROUPS = 5
CODE_GROUP_CHARS = 5
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no I, L, O, U to misread
CODE_LIFE = timedelta(days=7)
MAX_KEY_BYTES = 80
SEEN_EVERY = timedelta(seconds=30)
"""`last_seen` is written at most this often: ten thousand doors must not write a row each second."""


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """What an administrator says of a new door."""

    name: str
    place: str
    area: str
    level: int
    owner_agency: str
    overrides: dict[str, object]


def add(session: Session, actor: Actor, plan: DoorPlan, now: datetime) -> Door:
    """Make a door known. It opens to nobody until it is enrolled and has a rule.

    Raises Forbidden, or Refused for a name already used in the agency or a setting that F7 does not allow.
    """
    policy.require(actor, Action.DOOR_MANAGE, plan.owner_agency)
    if not plan.name.strip():
        raise Refused("door.needs_name")
    outbox.lock(session)
    taken = select(Door.id).where(
        Door.owner_agency == plan.owner_agency, Door.name == plan.name, Door.retired_at.is_(None)
    )
    if session.scalar(taken) is not None:
        raise Conflict("door.name_taken", name=plan.name, agency=plan.owner_agency)
    settings.build(plan.level, plan.overrides)
    door = Door(
        id=ids.new_card_uuid(),  # random: it stands in every challenge and tells nothing
        name=plan.name.strip(),
        place=plan.place.strip(),
        area=plan.area.strip(),
        level=plan.level,
        owner_agency=plan.owner_agency,
        settings=dict(plan.overrides),
        created=now,
        enrolment=0,
        accepts_gap=False,
        bundle_seq=0,
    )
    session.add(door)
    session.flush()
    facts = {"name": door.name, "agency": door.owner_agency, "level": door.level}
    audit.append(session, actor, "door.add", str(door.id), facts, now)
    return door


def change_settings(
    session: Session, actor: Actor, door_id: uuid.UUID, level: int, overrides: dict[str, object], now: datetime
) -> Door:
    """Change a door's level and settings; publish its bundle afterwards."""
    door = managed(session, actor, door_id)
    settings.build(level, overrides)
    door.level, door.settings = level, dict(overrides)
    facts = {"level": level, "settings": overrides}
    audit.append(session, actor, "door.settings", str(door.id), facts, now)
    return door


def new_code(session: Session, actor: Actor, door_id: uuid.UUID, now: datetime) -> str:
    """Make the one-time code with which a door enrols; an older code of this door dies.

    A door that is enrolled already gets a new key with it: its old key counts until then.
    """
    door = managed(session, actor, door_id)
    groups = ("".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_GROUP_CHARS)) for _ in range(CODE_GROUPS))
    code = "-".join(groups)
    door.code_hash = _code_hash(code)
    door.code_expires = now + CODE_LIFE
    audit.append(session, actor, "door.code", str(door.id), {"name": door.name}, now)
    return code


def enrol(session: Session, code: str, key: CoseKey, door_id: uuid.UUID | None, now: datetime) -> Door:
    """Take a door's own key against its code; it counts from now on, with the one use `door`.

    The same code with the same key again gives the same answer while the code lives: a lost answer does no harm.
    Raises Refused("feed.bad_code") without saying what was wrong with it.
    """
    outbox.lock(session)
    wanted = _code_hash(code)
    door = session.scalar(select(Door).where(Door.code_hash == wanted).execution_options(populate_existing=True))
    if (
        door is None
        or door.code_hash is None
        or not hmac.compare_digest(door.code_hash, wanted)
        or door.code_expires is None
        or door.code_expires <= now
        or door.retired_at is not None
        or (door_id is not None and door_id != door.id)
    ):
        raise Refused("feed.bad_code")
    written = key.encode()
    is_used = door.enrolled_at is not None and door.code_expires - CODE_LIFE <= door.enrolled_at
    if is_used:
        if door.public_key != written:
            raise Refused("feed.bad_code")
        return door
    if door.public_key != written:
        door.enrolment += 1
    door.public_key, door.kid, door.enrolled_at = written, key.kid(), now
    actor = Actor(user_id=None, name=f"door {door.name}", roles=())
    audit.append(session, actor, "door.enrol", str(door.id), {"kid": door.kid.hex()}, now)
    return door


def retire(session: Session, actor: Actor, door_id: uuid.UUID, now: datetime) -> None:
    """Take a door out of service: its key counts no more, and no count waits for it."""
    door = managed(session, actor, door_id)
    door.retired_at, door.code_hash, door.code_expires = now, None, None
    audit.append(session, actor, "door.retire", str(door.id), {"name": door.name}, now)


def doors(session: Session, actor: Actor) -> Sequence[Door]:
    """The doors in service that the actor may see, by agency and name."""
    mine = policy.scope_filter(actor, Action.DOOR_VIEW, Door.owner_agency)
    found = select(Door).where(mine, Door.retired_at.is_(None)).order_by(Door.owner_agency, Door.name)
    return session.scalars(found).all()


def door(session: Session, actor: Actor, door_id: uuid.UUID) -> Door:
    """One door that the actor may see. Raises NotFound, Forbidden."""
    found = session.get(Door, door_id)
    if found is None:
        raise NotFound("door.unknown", door=str(door_id))
    policy.require(actor, Action.DOOR_VIEW, found.owner_agency)
    return found


def named(session: Session, actor: Actor, name: str) -> Door:
    """A door by its UUID or, where only one has it, its name. Raises NotFound, Conflict, Forbidden."""
    try:
        return door(session, actor, uuid.UUID(name))
    except ValueError:
        fitting = [one for one in doors(session, actor) if one.name == name]
    if not fitting:
        raise NotFound("door.unknown", door=name)
    if len(fitting) > 1:
        raise Conflict("door.ambiguous", name=name)
    return fitting[0]


def managed(session: Session, actor: Actor, door_id: uuid.UUID) -> Door:
    """A door in service that the actor may change, for this transaction alone. Raises NotFound, Forbidden.

    Changes of doors and rules end in the audit log and often in a bundle, so they begin with those locks.
    """
    outbox.lock(session)
    session.flush()
    found = session.get(Door, door_id, populate_existing=True)
    if found is None or found.retired_at is not None:
        raise NotFound("door.unknown", door=str(door_id))
    policy.require(actor, Action.DOOR_MANAGE, found.owner_agency)
    return found


def enrolled(session: Session, door_id: uuid.UUID) -> Door:
    """A door whose key counts. Raises Refused("feed.unknown_door")."""
    found = session.get(Door, door_id)
    if found is None or found.retired_at is not None or found.public_key is None:
        raise Refused("feed.unknown_door", door=str(door_id))
    return found


def public_key(door: Door) -> CoseKey:
    """The key that an enrolled door signs with."""
    if door.public_key is None:
        raise Refused("feed.unknown_door", door=str(door.id))
    from_row = cbor.decode(door.public_key, max_bytes=MAX_KEY_BYTES)
    return decode_cose_key(from_row)


def seen(session: Session, door_id: uuid.UUID, now: datetime) -> None:
    """Note that a door was heard of."""
    stale = (Door.last_seen.is_(None)) | (Door.last_seen < now - SEEN_EVERY)
    session.execute(update(Door).where(Door.id == door_id, stale).values(last_seen=now))


def _code_hash(code: str) -> bytes:
    """A code has 125 random bits, so a plain hash keeps it; small letters, spaces and misread digits are forgiven."""
    plain = code.upper().replace("-", "").replace(" ", "").translate(str.maketrans("OIL", "011"))
    return hashlib.sha256(b"themo door code " + plain.encode()).digest()
