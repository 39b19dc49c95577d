"""How a key of ours stands in a PKCS#11 token: which objects it is, and where its kind, use and scope are kept.

They are kept in CKA_ID, beside the value they belong to and in the same object: made with the key in one call, and as
fixed as the device can make it (CKA_MODIFIABLE false). The label is CKA_LABEL. Objects without our mark are others'.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
import pkcs11
from pkcs11 import Attribute, ObjectClass

from issuer.trust.pkcs11_wire import Refused

MARK = b"themo1"
EC, ED25519, AES, SCP03_SET = "ec-p256", "ed25519", "aes-256", "scp03-set"
CARD_MASTER, TRANSPORT, ROOT = "card-master", "transport", "root"
SIGNING_KINDS = (EC, ED25519)
PARTS = ("enc", "mac", "dek")
"""The three keys of a transport set, one object each."""
ACTIVE = "active"
ENDED = ("deactivated", "compromised", "destroyed")
"""States that a key does not come back from (SP 800-57 part 1 rev. 5, §7)."""
LABEL_MAX_CHARS = 64
NONCE_BYTES = 8
POINT_BYTES = {EC: 65, ED25519: 32}
DER_OCTET_STRING = 0x04


@dataclass(frozen=True, slots=True)
class Mark:
    """What CKA_ID says: kind, use, scope, when it was made (UTC seconds), a nonce of its own, which part of a set."""

    kind: str
    use: str
    scope: tuple[str, ...]
    created: int
    nonce: bytes
    part: str = ""

    @classmethod
    def new(cls, kind: str, use: str, scope: tuple[str, ...], created: int) -> "Mark":
        """The mark of a key that is being made."""
        return cls(kind, use, scope, created, secrets.token_bytes(NONCE_BYTES))

    def encode(self) -> bytes:
        """As CKA_ID."""
        return MARK + cbor2.dumps([self.kind, self.use, list(self.scope), self.created, self.nonce, self.part])

    @classmethod
    def decode(cls, identity: bytes) -> "Mark | None":
        """Read CKA_ID; None when it is none of ours."""
        if not identity.startswith(MARK):
            return None
        try:
            kind, use, scope, created, nonce, part = cbor2.loads(identity[len(MARK) :])
            return cls(str(kind), str(use), tuple(scope), int(created), bytes(nonce), str(part))
        except (cbor2.CBORDecodeError, TypeError, ValueError):
            return None


@dataclass(slots=True)
class Entry:
    """A key found in a token. `objects` are what works with it, by part ("" for a single one)."""

    label: str
    mark: Mark
    public: bytes | None = None
    objects: dict[str, Any] = field(default_factory=dict)
    state: str = ACTIVE

    def to_wire(self) -> list[Any]:
        """What is told of it."""
        return [self.label, self.mark.kind, self.mark.use, list(self.mark.scope), self.public, self.state]

    def work(self, part: str = "") -> Any:
        """The object that works. Raises Refused where this login does not see it."""
        if self.state != ACTIVE:
            raise Refused("no-such-key", f"{self.label} is {self.state}")
        found = self.objects.get(part)
        if found is None:
            raise Refused("denied", f"{self.label} has no part that works")
        return found


def check_label(label: str) -> None:
    """Raise Refused for a label that is none."""
    if not label or len(label) > LABEL_MAX_CHARS or not label.isprintable():
        raise Refused("bad-request", f"label of 1 to {LABEL_MAX_CHARS} printable characters")


def gather(objects: list[Any]) -> dict[str, Entry]:
    """Put the objects of a search together to keys. Of two keys with one label the older one counts."""
    found: dict[bytes, Entry] = {}
    for one in objects:
        if one.object_class not in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY, ObjectClass.SECRET_KEY):
            continue
        mark = Mark.decode(one.id)
        if mark is None:
            continue
        entry = found.setdefault(mark.nonce, Entry(one.label, mark))
        if one.object_class is ObjectClass.PUBLIC_KEY:
            entry.public = point_of(one, mark.kind)
        else:
            entry.objects[mark.part] = one
    entries: dict[str, Entry] = {}
    for entry in sorted(found.values(), key=lambda one: (one.mark.created, one.mark.nonce)):
        entries.setdefault(entry.label, entry)
    return entries


def point_of(public: pkcs11.PublicKey, kind: str) -> bytes:
    """The public point of CKA_EC_POINT: in an OCTET STRING by the standard, bare from some devices."""
    raw: bytes = public[Attribute.EC_POINT]
    size = POINT_BYTES.get(kind, 0)
    if len(raw) == size + 2 and raw[:2] == bytes((DER_OCTET_STRING, size)):
        return raw[2:]
    if len(raw) != size:
        raise Refused("error", f"public point of {len(raw)} bytes")
    return raw


def is_kept(secret: Any) -> bool:
    """Does the device say that it keeps this key to itself, unchangeable."""
    return bool(secret[Attribute.SENSITIVE] and not secret[Attribute.EXTRACTABLE] and not secret[Attribute.MODIFIABLE])


def is_made_inside(secret: Any) -> bool:
    """Does the device say that it made this key and never gave it out."""
    return bool(secret[Attribute.LOCAL] and secret[Attribute.ALWAYS_SENSITIVE] and secret[Attribute.NEVER_EXTRACTABLE])
