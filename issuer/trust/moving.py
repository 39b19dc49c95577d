"""A key on its way from one HSM to another: enciphered, in a file that says what it is.

The file is text, and nothing in it is secret or sealed. The HSM holds what it deciphers against kind and check value;
what the key is for is held against the register, which knows the public half of every key that signs for doors, cards
and the log. Of a card master key and a key that answers OCSP it knows the label alone, and a key that no row names is
for what the file says. Validity and number of uses, which only hsm-sim's own commands set, do not travel.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit import checkpoints
from issuer.audit import log as audit
from issuer.audit.tables import AuditKeyRow
from issuer.database import SessionFactory
from issuer.errors import Refused
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust import ca, masters, trust_list
from issuer.trust.port import Ceremony, ComponentTaken, KeyInfo
from issuer.trust.tables import AuthorityRow, CardMasterRow, RootKeyRow, SignerRow

FORM = "themo-wrapped-key-1"
SET_KIND, SET_USE = "scp03-set", "transport"
SECRET_KINDS = ("aes-256", SET_KIND)
"""Their check value is no public key, and may be missing."""


@dataclass(frozen=True, slots=True)
class MovedKey:
    """What the file says. `check`: public key or key check value; `kek`: label of what the key is enciphered under."""

    label: str
    kind: str
    use: str
    scope: tuple[str, ...]
    kek: str
    check: bytes
    wrapped: bytes

    def to_text(self) -> str:
        """As it stands in the file."""
        said = {
            "form": FORM,
            "label": self.label,
            "kind": self.kind,
            "use": self.use,
            "scope": list(self.scope),
            "kek": self.kek,
            "check": self.check.hex(),
            "wrapped": self.wrapped.hex(),
        }
        return json.dumps(said, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str) -> "MovedKey":
        """Read the file. Raises Refused."""
        try:
            said = json.loads(text)
            form, scope = said.pop("form"), said.pop("scope")
            check, wrapped = (bytes.fromhex(said.pop(name)) for name in ("check", "wrapped"))
            found = cls(**said, scope=tuple(scope), check=check, wrapped=wrapped)
            words = (found.label, found.kind, found.use, found.kek, *found.scope)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused("keys.bad_moved_key") from error
        if form != FORM or not all(isinstance(word, str) for word in words):
            raise Refused("keys.bad_moved_key")
        return found


def send(factory: SessionFactory, hsm: Ceremony, actor: Actor, label: str, kek: str, now: datetime) -> MovedKey:
    """Encipher a key that was made exportable."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    info = hsm.info(label)
    gone = hsm.wrap_key(label, kek)
    with database.transaction(factory) as session:
        audit.append(session, actor, "key.wrapped", label, {"kek": kek}, now)
    return MovedKey(label, info.kind, info.use, info.scope, kek, gone.check, gone.wrapped)


def receive(
    factory: SessionFactory, hsm: Ceremony, actor: Actor, moved: MovedKey, kek: str, label: str, now: datetime
) -> KeyInfo:
    """Take a key in under a label, the same as before as a rule: by it the register knows the key.

    Raises Refused where the register knows the key, or that label, for something else than the file says.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    with database.reading(factory) as session:
        _require_as_registered(session, moved, label)
    info = hsm.unwrap_key(kek, moved.wrapped, label, moved.kind, moved.use, moved.scope, moved.check)
    with database.transaction(factory) as session:
        audit.append(session, actor, "key.unwrapped", label, {"kek": kek, "use": moved.use}, now)
    return info


@dataclass(frozen=True, slots=True)
class _Registered:
    """What the register says of a key; None: it does not say."""

    label: str
    public: bytes | None
    use: str
    scope: tuple[str, ...] | None


def _require_as_registered(session: Session, moved: MovedKey, label: str) -> None:
    if moved.kind not in SECRET_KINDS and not moved.check:
        raise Refused("keys.bad_moved_key")
    for one in _registered(session):
        if one.label != label and (one.public is None or one.public != moved.check):
            continue
        is_same = one.label == label and one.public in (None, moved.check)
        if not is_same or one.use != moved.use or one.scope not in (None, moved.scope):
            raise Refused(
                "keys.not_as_registered", label=one.label, use=one.use, scope=" ".join(one.scope or ()) or "-"
            )


def _registered(session: Session) -> Iterator[_Registered]:
    for root in session.scalars(select(RootKeyRow)):
        yield _Registered(root.label, root.point, trust_list.ROOT_USE, ())
    for signer in session.scalars(select(SignerRow)):
        yield _Registered(signer.label, signer.point, signer.use, tuple(signer.scope))
    for row in session.scalars(select(AuthorityRow)):
        scope = (row.agency_code,) if row.agency_code else ()
        yield _Registered(row.label, row.point, ca.KEY_USE[row.kind], scope)
        if row.kind == ca.ISSUING:
            yield _Registered(ca.ocsp_key_label(row.agency_code), None, ca.OCSP_USE, scope)
    for key in session.scalars(select(AuditKeyRow)):
        yield _Registered(key.label, key.public, checkpoints.USE, None)
    for label in {masters.FIRST, *session.scalars(select(CardMasterRow.label))}:
        yield _Registered(label, None, masters.USE, ())


def receive_transport(
    factory: SessionFactory, hsm: Ceremony, actor: Actor, wrapped: bytes, kek: str, label: str, now: datetime
) -> None:
    """Take in the transport keys of a delivery of blanks that the card maker enciphered."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    hsm.unwrap_key(kek, wrapped, label, SET_KIND, SET_USE, ())
    with database.transaction(factory) as session:
        audit.append(session, actor, "key.transport_loaded", label, {"kek": kek}, now)


def enter(
    factory: SessionFactory,
    hsm: Ceremony,
    actor: Actor,
    label: str,
    place: tuple[int, int],
    component: bytes,
    now: datetime,
) -> ComponentTaken:
    """Enter one component of a key-encryption key; `place`: which one of how many."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    taken = hsm.load_component(label, *place, component)
    with database.transaction(factory) as session:
        facts = {"component": f"{place[0]}/{place[1]}", "kcv": taken.kcv.hex()}
        audit.append(session, actor, "key.component_entered", label, facts, now)
    return taken
