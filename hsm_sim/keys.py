"""Keys as the HSM holds them and as others see them. The secret part never leaves this package."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.gp.keys import key_check_value
from cardlink.gp.scp03 import StaticKeys
from hsm_sim.errors import BadRequest

ES256 = ec.ECDSA(hashes.SHA256())
P256 = ec.SECP256R1()
P256_ORDER = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)  # FIPS 186-5, SP 800-186
SCALAR_BYTES = 32
LABEL_MAX_CHARS = 64


class Role(StrEnum):
    """Who is logged in."""

    SO = "so"
    USER = "user"
    AUDITOR = "auditor"


class Kind(StrEnum):
    """What a key is."""

    EC_P256 = "ec-p256"
    ED25519 = "ed25519"
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
    CARD_MASTER = "card-master"
    TRANSPORT = "transport"


SIGNING_USES = frozenset(Use) - {Use.CARD_MASTER, Use.TRANSPORT}
KINDS_OF_USE: dict[Use, frozenset[Kind]] = {
    **{use: frozenset({Kind.EC_P256}) for use in SIGNING_USES},
    Use.AUDIT: frozenset({Kind.ED25519, Kind.EC_P256}),
    Use.CARD_MASTER: frozenset({Kind.AES_256}),
    Use.TRANSPORT: frozenset({Kind.SCP03_SET}),
}


class KeyState(StrEnum):
    """The one thing about a key that changes, and only in this direction."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be known of a key. `public`: X9.62 uncompressed point, or 32 bytes (Ed25519); `kcv`: symmetric keys."""

    label: str
    kind: Kind
    use: Use
    scope: tuple[str, ...]
    public: bytes | None
    kcv: bytes | None
    created: int
    state: KeyState

    def to_wire(self) -> list[Any]:
        """As it crosses the socket."""
        scope = list(self.scope)
        return [self.label, str(self.kind), str(self.use), scope, self.public, self.kcv, self.created, str(self.state)]

    @classmethod
    def from_wire(cls, row: list[Any]) -> "KeyInfo":
        """Read it from the socket."""
        label, kind, use, scope, public, kcv, created, state = row
        return cls(label, Kind(kind), Use(use), tuple(scope), public, kcv, created, KeyState(state))


@dataclass(frozen=True, slots=True)
class Key:
    """A key with its secret; `info` is all that is told of it."""

    info: KeyInfo
    secret: bytes = field(repr=False)
    sign: Callable[[bytes], bytes] | None = field(repr=False, compare=False)

    def scp03_set(self) -> StaticKeys:
        """The three keys of a transport set."""
        third = len(self.secret) // 3
        return StaticKeys(self.secret[:third], self.secret[third : 2 * third], self.secret[2 * third :])


def _es256(private: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ES256))
        return ((r << 256) | s).to_bytes(2 * SCALAR_BYTES, "big")

    return sign


def load_key(
    label: str, kind: Kind, use: Use, scope: tuple[str, ...], created: int, secret: bytes, state: KeyState
) -> Key:
    """Make a key ready for use from what the store holds. Raises BadRequest where kind, use or secret do not fit."""
    if not label or len(label) > LABEL_MAX_CHARS or not label.isprintable():
        raise BadRequest(f"label of 1 to {LABEL_MAX_CHARS} printable characters")
    if kind not in KINDS_OF_USE[use]:
        raise BadRequest(f"no key of kind {kind} for use {use}")
    sign: Callable[[bytes], bytes] | None = None
    public: bytes | None = None
    kcv: bytes | None = None
    sizes = (48, 72, 96) if kind is Kind.SCP03_SET else (SCALAR_BYTES,)
    if len(secret) not in sizes:
        raise BadRequest(f"secret of {len(secret)} bytes for kind {kind}")
    if kind is Kind.EC_P256:
        number = int.from_bytes(secret, "big")
        if not 0 < number < P256_ORDER:
            raise BadRequest("scalar out of range")
        private = ec.derive_private_key(number, P256)
        public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        sign = _es256(private)
    elif kind is Kind.ED25519:
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        public = edwards.public_key().public_bytes_raw()
        sign = edwards.sign
    elif kind is Kind.AES_256:
        kcv = key_check_value(secret)
    else:
        kcv = key_check_value(secret[: len(secret) // 3])
    return Key(KeyInfo(label, kind, use, scope, public, kcv, created, state), secret, sign)


def new_secret(kind: Kind, random: Callable[[int], bytes]) -> bytes:
    """Draw the secret of a new key."""
    if kind is Kind.SCP03_SET:
        raise BadRequest("a transport set is delivered, not made")
    while True:
        secret = random(SCALAR_BYTES)
        if kind is not Kind.EC_P256 or 0 < int.from_bytes(secret, "big") < P256_ORDER:
            return secret
