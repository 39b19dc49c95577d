"""A key on its way from one HSM to another: enciphered, in a file that says what it is.

The file is text, and nothing in it is secret. What it says of the key counts where officers take the key in: they name
label, use and scope, and the HSM holds what it deciphers against the check value.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from issuer import database
from issuer.audit import log as audit
from issuer.database import SessionFactory
from issuer.errors import Refused
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust.port import Ceremony, ComponentTaken, KeyInfo

FORM = "themo-wrapped-key-1"
SET_KIND, SET_USE = "scp03-set", "transport"


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
    """Take a key in under a label, the same as before as a rule: by it the register knows the key."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    info = hsm.unwrap_key(kek, moved.wrapped, label, moved.kind, moved.use, moved.scope, moved.check)
    with database.transaction(factory) as session:
        audit.append(session, actor, "key.unwrapped", label, {"kek": kek, "use": moved.use}, now)
    return info


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
