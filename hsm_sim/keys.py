"""Keys as the HSM holds them and as others see them. The secret part never leaves this package."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.gp.keys import Mac, key_check_value, keyed_cmac
from cardlink.gp.scp03 import StaticKeys
from hsm_sim.errors import BadRequest

ES256_DIGEST = ec.ECDSA(Prehashed(hashes.SHA256()))
P256 = ec.SECP256R1()
P256_ORDER = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)  # FIPS 186-5, SP 800-186
SCALAR_BYTES = 32
LABEL_MAX_CHARS = 64
EXPORTABLE = "exportable"
REVEAL_PIN = "reveal-pin"
"""What the telling of card PINs is called where it is counted and capped like a key: no key has this label."""


class Role(StrEnum):
    """Who is logged in."""

    SO = "so"
    USER = "user"
    AUDITOR = "auditor"
    ALLOCATOR = "allocator"  # opens the jobs for which card keys may be used, apart from whoever uses them


class Kind(StrEnum):
    """What a key is."""

    EC_P256 = "ec-p256"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"  # FIPS 204; its secret is the seed of 32 bytes
    AES_256 = "aes-256"
    SCP03_SET = "scp03-set"  # three AES keys of a delivery of blank cards


class Use(StrEnum):
    """What a key may be used for: exactly one. The first eight are the uses of docs/formats.md F2 and F8."""

    CARD = "card"
    IDENTITY = "identity"
    QR = "qr"
    STATUS = "status"
    BUNDLE = "bundle"
    COMMAND = "command"
    AUDIT = "audit"
    ROOT = "root"
    CA = "ca"  # X.509: issues certificates
    CONTENT = "content"  # X.509: signs CHUID and security object
    OCSP = "ocsp"  # X.509: signs answers on whether a certificate still counts
    CARD_MASTER = "card-master"
    TRANSPORT = "transport"
    WRAP = "wrap"  # a key-encryption key: other keys come and go under it (RFC 5649)


SIGNING_USES = frozenset(Use) - {Use.CARD_MASTER, Use.TRANSPORT, Use.WRAP}
STAYING_USES = frozenset({Use.ROOT, Use.WRAP})
"""Keys of these uses never leave, whatever their making said."""
KINDS_OF_USE: dict[Use, frozenset[Kind]] = {
    **{use: frozenset({Kind.EC_P256}) for use in SIGNING_USES},
    Use.IDENTITY: frozenset({Kind.EC_P256, Kind.ML_DSA_44}),
    Use.AUDIT: frozenset({Kind.ED25519, Kind.EC_P256}),
    Use.CARD_MASTER: frozenset({Kind.AES_256}),
    Use.TRANSPORT: frozenset({Kind.SCP03_SET}),
    Use.WRAP: frozenset({Kind.AES_256}),
}


class KeyState(StrEnum):
    """The life of a key (SP 800-57 part 1 rev. 5, §7). `STEPS` says where each state leads."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"  # its row stays, so that its label is never given again


STEPS: dict[KeyState, frozenset[KeyState]] = {
    KeyState.PRE_ACTIVE: frozenset({KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.ACTIVE: frozenset({KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED}),
    KeyState.SUSPENDED: frozenset({KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED}),
    KeyState.DEACTIVATED: frozenset({KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.COMPROMISED: frozenset({KeyState.DESTROYED}),
    KeyState.DESTROYED: frozenset(),
}
_OLD_NAMES = {"disabled": KeyState.DEACTIVATED}  # stores written before there were six states


def read_state_name(name: str) -> KeyState:
    """The state a store or a peer names."""
    return _OLD_NAMES.get(name) or KeyState(name)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key is bound to from its making on: from and until when it works (UTC seconds), how often; 0: no bound.

    `is_exportable`: it may leave, enciphered under a key-encryption key. Rows without a word on it: it may not.
    """

    not_before: int = 0
    not_after: int = 0
    uses_max: int = 0
    is_exportable: bool = False

    def to_wire(self) -> list[Any]:
        """As it crosses the socket and lies in the store."""
        bounds = [self.not_before, self.not_after, self.uses_max]
        return [*bounds, EXPORTABLE] if self.is_exportable else bounds

    @classmethod
    def from_wire(cls, row: list[Any]) -> "Terms":
        """Read it. Raises BadRequest for anything but three numbers in order, and the word of exportable keys."""
        bounds, more = row[:3], row[3:]
        if len(bounds) != 3 or not all(type(one) is int and 0 <= one < 1 << 53 for one in bounds):
            raise BadRequest("terms are three numbers: not before, not after, uses at most")
        if more not in ([], [EXPORTABLE]):
            raise BadRequest("terms: unknown words")
        if bounds[1] and bounds[1] <= bounds[0]:
            raise BadRequest("not after is not after not before")
        return cls(bounds[0], bounds[1], bounds[2], bool(more))


NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be known of a key. `public`: X9.62 uncompressed point, else raw; `kcv`: symmetric keys.

    `is_delivered`: it came from outside, as components or enciphered.
    """

    label: str
    kind: Kind
    use: Use
    scope: tuple[str, ...]
    public: bytes | None
    kcv: bytes | None
    created: int
    state: KeyState
    terms: Terms = NO_TERMS
    uses: int = 0
    is_delivered: bool = False

    def to_wire(self) -> list[Any]:
        """As it crosses the socket."""
        what = [self.label, str(self.kind), str(self.use), list(self.scope), self.public, self.kcv, self.created]
        return [*what, str(self.state), self.terms.to_wire(), self.uses, self.is_delivered]

    @classmethod
    def from_wire(cls, row: list[Any]) -> "KeyInfo":
        """Read it from the socket."""
        label, kind, use, scope, public, kcv, created, state, terms, uses, is_delivered = row
        return cls(
            label,
            Kind(kind),
            Use(use),
            tuple(scope),
            public,
            kcv,
            created,
            KeyState(state),
            Terms.from_wire(terms),
            uses,
            is_delivered,
        )


Sign = Callable[[bytes, bytes], bytes]
"""Sign data whose SHA-256 stands beside it: the log has it worked out already, and not every algorithm takes it."""


class Key:
    """A key with its secret; `info` is all that is told of it. What signs is made at the first signature."""

    __slots__ = ("_mac", "_signer", "info", "secret")

    def __init__(self, info: KeyInfo, secret: bytes) -> None:
        self.info = info
        self.secret = secret
        self._signer: Sign | None = None
        self._mac: Mac | None = None

    def __repr__(self) -> str:
        return f"Key({self.info.label!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and (self.info, self.secret) == (other.info, other.secret)

    __hash__ = None  # type: ignore[assignment]  # compared in tests, never a key of a mapping

    @property
    def sign(self) -> Sign | None:
        """What signs with this key; None for a symmetric one."""
        if self._signer is not None:
            return self._signer
        if self.secret:
            if self.info.kind is Kind.EC_P256:
                self._signer = _es256(ec.derive_private_key(int.from_bytes(self.secret, "big"), P256))
            elif self.info.kind is Kind.ED25519:
                self._signer = _of_data(ed25519.Ed25519PrivateKey.from_private_bytes(self.secret))
            elif self.info.kind is Kind.ML_DSA_44:
                self._signer = _of_data(mldsa.MLDSA44PrivateKey.from_seed_bytes(self.secret))
        return self._signer

    @property
    def mac(self) -> Mac:
        """AES-CMAC under a master key, which derives the keys of cards."""
        if self._mac is None:
            self._mac = keyed_cmac(self.secret)
        return self._mac

    def scp03_set(self) -> StaticKeys:
        """The three keys of a transport set."""
        third = len(self.secret) // 3
        return StaticKeys(self.secret[:third], self.secret[third : 2 * third], self.secret[2 * third :])

    def in_state(self, state: KeyState) -> "Key":
        """The same key one step on in its life; a destroyed one has no secret any more."""
        return Key(replace(self.info, state=state), b"" if state is KeyState.DESTROYED else self.secret)


def _es256(private: ec.EllipticCurvePrivateKey) -> Sign:
    def sign(data: bytes, digest: bytes) -> bytes:
        der = private.sign(digest, ES256_DIGEST)
        # 30 len 02 len r 02 len s, as our own library has just written it: r and s of up to 33 bytes
        middle = 4 + der[3]
        return der[4:middle][-32:].rjust(32, b"\0") + der[middle + 2 :][-32:].rjust(32, b"\0")

    return sign


def _of_data(private: ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey) -> Sign:
    """What signs the data themselves and no digest; ML-DSA-44 pure, with an empty context (RFC 9964 §2)."""
    return lambda data, digest: private.sign(data)


def make_key(
    label: str,
    kind: Kind,
    use: Use,
    scope: tuple[str, ...],
    created: int,
    secret: bytes,
    state: KeyState = KeyState.ACTIVE,
    terms: Terms = NO_TERMS,
    *,
    is_delivered: bool = False,
) -> Key:
    """Make a key of a new secret. Raises BadRequest where label, kind, use or secret do not fit."""
    if not label or len(label) > LABEL_MAX_CHARS or not label.isprintable() or label == REVEAL_PIN:
        raise BadRequest(f"label of 1 to {LABEL_MAX_CHARS} printable characters")
    if kind not in KINDS_OF_USE[use]:
        raise BadRequest(f"no key of kind {kind} for use {use}")
    if terms.is_exportable and use in STAYING_USES:
        raise BadRequest(f"keys of use {use} never leave")
    sizes = (48, 72, 96) if kind is Kind.SCP03_SET else (SCALAR_BYTES,)
    if len(secret) not in sizes:
        raise BadRequest(f"secret of {len(secret)} bytes for kind {kind}")
    public: bytes | None = None
    kcv: bytes | None = None
    if kind is Kind.EC_P256:
        number = int.from_bytes(secret, "big")
        if not 0 < number < P256_ORDER:
            raise BadRequest("scalar out of range")
        point = ec.derive_private_key(number, P256).public_key()
        public = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    elif kind is Kind.ED25519:
        public = ed25519.Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    elif kind is Kind.ML_DSA_44:
        public = mldsa.MLDSA44PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()
    elif kind is Kind.AES_256:
        kcv = key_check_value(secret)
    else:
        kcv = key_check_value(secret[: len(secret) // 3])
    info = KeyInfo(label, kind, use, scope, public, kcv, created, state, terms, is_delivered=is_delivered)
    return Key(info, secret)


def new_secret(kind: Kind, random: Callable[[int], bytes]) -> bytes:
    """Draw the secret of a new key."""
    if kind is Kind.SCP03_SET:
        raise BadRequest("a transport set is delivered, not made")
    while True:
        secret = random(SCALAR_BYTES)
        if kind is not Kind.EC_P256 or 0 < int.from_bytes(secret, "big") < P256_ORDER:
            return secret
