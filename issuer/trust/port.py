"""The port to an HSM: what the centre asks of one, in the centre's words. Keys go by label and never by value.

`issuer/trust/sim.py` puts the HSM simulator behind it, `issuer/trust/pkcs11.py` any PKCS#11 device. Not every device
can do everything: what one cannot is declared by its `Capabilities`. Every call may raise an `HsmError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from issuer.errors import IssuerError


class HsmError(IssuerError):
    """The HSM said no or could not be reached; `code` is a key of the message catalogue."""


class KeyExists(HsmError):
    """The label is in use."""


class WrongCryptogram(HsmError):
    """The card's cryptogram does not come from this key set: it is not the one alive on the card."""


class WrongAnswer(HsmError):
    """The card's answer is not what it sent: its MAC or its check values fail. The session is closed."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be known of a key: everything but its value."""

    label: str
    kind: str
    use: str
    scope: tuple[str, ...]
    public: bytes | None  # X9.62 uncompressed point
    state: str


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """An SCP03 session whose keys live in the HSM, and the EXTERNAL AUTHENTICATE that ends its opening."""

    session: int
    external_authenticate: bytes


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an HSM does by itself. What is False is done by our process beside it, or not at all."""

    keeps_signing_keys: bool
    """Signing keys are made inside and never leave."""
    keeps_card_masters: bool
    """Card master and transport keys never leave."""
    derives_inside: bool
    """Keys of one card and of a session with it exist inside alone; else in our worker's memory, for one session."""
    loads_inside: bool
    """PUT KEY, 9B, PUK and PIN are put together inside; else in our worker's memory."""
    enforces_uses: bool
    """The device itself ties a key to its use and scope; else our worker does, and who has the PIN goes past it."""
    enforces_roles: bool
    """The device itself lets only the security officer make keys; else our worker does."""
    separates_roots: bool
    """Root keys do not sign for the everyday PIN."""
    locks_pins: bool
    """Wrong PINs lock the role."""
    has_allocator: bool
    """Card keys can be made to work for allocated jobs alone."""
    has_key_states: bool
    has_caps: bool
    has_quorum: bool
    seals_log: bool
    wraps_keys: bool
    """Keys come and go enciphered under a key-encryption key (RFC 5649)."""
    has_ed25519: bool
    has_ml_dsa: bool

    def lacking(self) -> list[str]:
        """The names of what is not there, in the order of this page."""
        return [one.name for one in fields(self) if not getattr(self, one.name)]


@dataclass(frozen=True, slots=True)
class HsmStatus:
    """Which HSM this is and how it stands; `pending_pins` counts card PINs that were not told yet."""

    adapter: str
    product: str
    keys: int
    pending_pins: int


REVEAL_PIN = "reveal-pin"
"""What the telling of card PINs is called among the caps; no key has this label."""


@dataclass(frozen=True, slots=True)
class CapInForce:
    """How often one client may use a key, or have PINs told, a second and a day (0: no limit).

    `today`: how often the client that did so most did it today. `label`: of the key, or `reveal-pin`.
    """

    label: str
    per_second: int
    per_day: int
    today: int


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key enciphered under a key-encryption key, and its check value: the public key, or the key check value."""

    wrapped: bytes
    check: bytes


@dataclass(frozen=True, slots=True)
class ComponentTaken:
    """A component that was entered: its check value, how many there are, and once that is all, that of the key."""

    kcv: bytes
    have: int
    key_kcv: bytes


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the HSM says of how it holds a key."""

    label: str
    is_made_inside: bool
    """Made in there, and never anywhere else."""
    is_kept: bool
    """It cannot be taken out, and nothing about it changed."""


class Signing(Protocol):
    """The part of the port that makes keys and signs."""

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key; a label in use is refused."""

    def info(self, label: str) -> KeyInfo:
        """Describe one key."""

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys."""

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign with ES256: r ‖ s."""

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several with one call."""

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        """Sign with ES256 what is long, by its SHA-256: revocation lists, with a key of use `ca`."""

    def random(self, n: int) -> bytes:
        """Draw random bytes."""


class Ceremony(Signing, Protocol):
    """What takes the security officer beside it."""

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        """Load the transport keys of a delivery of blanks."""

    def load_component(self, label: str, number: int, count: int, component: bytes) -> ComponentTaken:
        """Enter one of two or three components of a key-encryption key, whose exclusive or it is.

        An HSM that knows persons takes each from another one; a device that does not, all of them in one ceremony.
        """

    def wrap_key(self, label: str, kek: str) -> WrappedKey:
        """Encipher a key that was made exportable; root keys and key-encryption keys never are."""

    def unwrap_key(
        self, kek: str, wrapped: bytes, label: str, kind: str, use: str, scope: tuple[str, ...], check: bytes = b""
    ) -> KeyInfo:
        """Take an enciphered key in, where it is of that kind and has that check value; nothing else is kept.

        A device that cannot look into a signing key wants its check value, the public key.
        """

    def set_state(self, label: str, state: str) -> None:
        """Lead a key one step on in its life: `deactivated` signs no more, `compromised` neither and says why."""


class Channels(Protocol):
    """The part of the port that holds the host side of SCP03."""

    def open_session(
        self,
        job: str,
        key_set: str,
        label: str,
        kdd: bytes,
        kvn: int,
        host_challenge: bytes,
        initialize_update_answer: bytes,
        level: int,
    ) -> OpenedSession:
        """Derive or take the key set, check the card's cryptogram, and open. Raises WrongCryptogram."""

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command."""

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open one answer: data and SW."""

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command."""

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain, up to the first that is not 9000."""

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """Build and protect PUT KEY of the per-card keys (docs/formats.md, F11)."""

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Open the answer of PUT KEY and compare the check values."""

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """Build and protect the command that loads 9B, PUK or PIN, or verifies the PIN of this job."""

    def close_session(self, session: int) -> None:
        """Forget a session. One that is lost already is no error."""

    def end_job(self, job: str, *, forgets_pin: bool = False) -> None:
        """The card of a job is done: no channel is opened for it any more. Its PIN waits, unless it is forgotten."""

    def derive_check(self, master_label: str, kdd: bytes, kvn: int) -> tuple[bytes, ...]:
        """The check values of a card's derived ENC, MAC and DEK."""

    def reveal_pin(self, job: str) -> str:
        """Tell the PIN of a job, once; where a role allocates jobs, it must have let this PIN be told."""


class Allocating(Protocol):
    """The part of the port that opens jobs: whoever uses card keys does not also say for how many cards."""

    def allocate(self, job: str, kdd: bytes = b"") -> None:
        """Open a job for one card: the one with this key diversification data, else the first that it is used with.

        Again for the same job: it stays open for longer, since a job ends by itself in time.
        """

    def allow_pin(self, job: str) -> None:
        """Let the PIN of a job be told, once and within minutes."""


class Describing(Protocol):
    """The part of the port that says what stands behind it."""

    def capabilities(self) -> Capabilities:
        """What this HSM does by itself."""

    def status(self) -> HsmStatus:
        """Which HSM this is and how it stands."""

    def caps(self) -> Sequence[CapInForce]:
        """The caps in force and how far they are used up; none where the HSM has none."""

    def attest(self, label: str) -> Attestation:
        """What the HSM says of how it holds a key."""

    def verify(self, label: str, data: bytes, signature: bytes) -> bool:
        """Say whether this key signed these data."""


class SigningHsm(Signing, Describing, Protocol):
    """An HSM that signs and says what it is."""


class Hsm(Signing, Channels, Describing, Protocol):
    """An HSM as the centre sees it."""


class CeremonyHsm(Ceremony, Channels, Describing, Protocol):
    """An HSM with its security officer present."""
