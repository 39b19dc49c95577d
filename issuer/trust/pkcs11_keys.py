"""How a key of ours stands in a PKCS#11 token: which objects it is, and where its kind, use and scope are kept.

They are kept in CKA_ID, beside the value they belong to and in the same object: made with the key in one call, and as
fixed as the device can make it (CKA_MODIFIABLE false), in words that a person reads. The label is CKA_LABEL. Objects
without our mark are others'.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import pkcs11
from pkcs11 import Attribute

from issuer.trust.pkcs11_wire import Refused

MARK = "themo1"
EC, ED25519, AES, SCP03_SET = "ec-p256", "ed25519", "aes-256", "scp03-set"
CARD_MASTER, TRANSPORT, ROOT, WRAP = "card-master", "transport", "root", "wrap"
SIGNING_KINDS = (EC, ED25519)
STAYING_USES = (ROOT, WRAP)
"""Keys of these uses never leave."""
PARTS = ("enc", "mac", "dek")
"""The three keys of a transport set, one object each."""
ACTIVE = "active"
ENDED = ("deactivated", "compromised", "destroyed")
"""States that a key does not come back from (SP 800-57 part 1 rev. 5, §7)."""
LABEL_MAX_CHARS = 64
NONCE_BYTES = 8
POINT_BYTES = {EC: 65, ED25519: 32}
DER_OCTET_STRING = 0x04
SPACE, SCOPES, LENGTH = " ", ",", "/"
_WORD = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Mark:
    """What CKA_ID says: kind, use, scope, when it was made (UTC seconds), a nonce of its own, which part of a set.

    `key_bytes`: how long the part is, where the device does not say (CKA_VALUE_LEN of a key that came enciphered).
    """

    kind: str
    use: str
    scope: tuple[str, ...]
    created: int
    nonce: bytes
    part: str = ""
    key_bytes: int = 0

    @classmethod
    def new(cls, kind: str, use: str, scope: tuple[str, ...], created: int) -> "Mark":
        """The mark of a key that is being made."""
        return cls(kind, use, scope, created, secrets.token_bytes(NONCE_BYTES))

    def encode(self) -> bytes:
        """As CKA_ID. Raises Refused for words that have no place in there."""
        if not all(map(_WORD.fullmatch, (self.kind, self.use, *self.scope))):
            raise Refused("bad-request", "kind, use and scope are words")
        part = f"{self.part}{LENGTH}{self.key_bytes}" if self.key_bytes else self.part
        words = (MARK, self.kind, self.use, SCOPES.join(self.scope), str(self.created), self.nonce.hex(), part)
        return SPACE.join(words).encode("ascii")

    @classmethod
    def decode(cls, identity: bytes) -> "Mark | None":
        """Read CKA_ID; None when it is none of ours."""
        try:
            mark, kind, use, scope, created, nonce, part = identity.decode("ascii").split(SPACE)
            scopes = tuple(scope.split(SCOPES)) if scope else ()
            part, _, size = part.partition(LENGTH)
            found = cls(kind, use, scopes, int(created), bytes.fromhex(nonce), part, int(size or 0))
            return found if mark == MARK and found.encode() == identity else None
        except (ValueError, Refused):
            return None


@dataclass(slots=True)
class Entry:
    """A key found in a token. `objects` are what works with it, by part ("" for a single one)."""

    label: str
    mark: Mark
    public: bytes | None = None
    objects: dict[str, Any] = field(default_factory=dict)
    state: str = ACTIVE
    is_pin_asked: bool | None = None
    """Whether the device wants the PIN before each signature (CKA_ALWAYS_AUTHENTICATE); None before it was asked."""

    def to_wire(self) -> list[Any]:
        """What is told of it."""
        return [self.label, self.mark.kind, self.mark.use, list(self.mark.scope), self.public, self.state]

    @property
    def has_ended(self) -> bool:
        """Whether the key is out of use, and still here."""
        return self.state != ACTIVE

    def work(self, part: str = "", *, even_ended: bool = False) -> Any:
        """The object that works. Raises Refused where this login does not see it, or the key has ended."""
        if self.has_ended and not even_ended:
            raise Refused("no-such-key", f"{self.label} is {self.state}")
        found = self.objects.get(part)
        if found is None:
            raise Refused("denied", f"{self.label} has no part that works")
        return found

    def asks_pin(self) -> bool:
        """Whether a signature takes the PIN once more, beside the login. The device is asked once."""
        if self.is_pin_asked is None:
            self.is_pin_asked = is_pin_asked(self.work())
        return self.is_pin_asked


def check_label(label: str) -> None:
    """Raise Refused for a label that is none."""
    if not label or len(label) > LABEL_MAX_CHARS or not label.isprintable():
        raise Refused("bad-request", f"label of 1 to {LABEL_MAX_CHARS} printable characters")


def gather(objects: list[Any]) -> dict[str, Entry]:
    """Put the objects of a search together to keys. Of two keys with one label the older one counts."""
    found: dict[bytes, Entry] = {}
    for one in objects:
        told = _told(one)
        mark = None if told is None else Mark.decode(told[Attribute.ID])
        if told is None or mark is None:
            continue
        entry = found.setdefault(mark.nonce, Entry(told[Attribute.LABEL], mark))
        if Attribute.EC_POINT in told:
            entry.public = point_of(told[Attribute.EC_POINT], mark.kind)
        elif not isinstance(one, pkcs11.PublicKey):
            entry.objects[mark.part] = one
    entries: dict[str, Entry] = {}
    for entry in sorted(found.values(), key=lambda one: (one.mark.created, one.mark.nonce)):
        entries.setdefault(entry.label, entry)
    return entries


def _told(one: Any) -> dict[Attribute, Any] | None:
    """What a key object says of itself, asked for once; None for what is no key, or has no name of ours."""
    if not isinstance(one, pkcs11.Key):
        return None
    wanted = [Attribute.ID, Attribute.LABEL]
    try:
        told = one.get_attributes([*wanted, Attribute.EC_POINT] if isinstance(one, pkcs11.PublicKey) else wanted)
    except UnicodeDecodeError:  # a label that is no UTF-8
        return None
    return told if all(name in told for name in wanted) else None


def point_of(raw: bytes, kind: str) -> bytes:
    """The public point of CKA_EC_POINT: in an OCTET STRING by the standard, bare from some devices."""
    size = POINT_BYTES.get(kind, 0)
    if len(raw) == size + 2 and raw[:2] == bytes((DER_OCTET_STRING, size)):
        return raw[2:]
    if len(raw) != size:
        raise Refused("error", f"public point of {len(raw)} bytes")
    return raw


def is_kept(secret: Any, *, is_exportable: bool = False) -> bool:
    """Does the device say that it keeps this key to itself, unchangeable; an exportable one may leave enciphered."""
    stays = is_exportable or not secret[Attribute.EXTRACTABLE]
    return bool(secret[Attribute.SENSITIVE] and stays and not secret[Attribute.MODIFIABLE])


def is_made_inside(secret: Any) -> bool:
    """Does the device say that it made this key and never gave it out."""
    return bool(secret[Attribute.LOCAL] and secret[Attribute.ALWAYS_SENSITIVE] and secret[Attribute.NEVER_EXTRACTABLE])


def is_pin_asked(private: Any) -> bool:
    """Does the device want the PIN before each signature of this key. One that knows no such attribute does not."""
    try:
        return bool(private[Attribute.ALWAYS_AUTHENTICATE])
    except (pkcs11.AttributeTypeInvalid, pkcs11.FunctionFailed, KeyError):
        return False
