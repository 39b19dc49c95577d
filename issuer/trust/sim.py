"""The HSM simulator behind the port: its client's calls, its errors in the centre's words.

`Sim` is the everyday user; `Ceremony` adds the security officer, who alone makes keys and signs with root keys.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from hsm_sim import client
from hsm_sim.client import Client, Role
from issuer.config import Config, Secret, read_secret
from issuer.trust import port
from issuer.trust.port import (
    Attestation,
    Capabilities,
    CapInForce,
    ComponentTaken,
    HsmStatus,
    KeyInfo,
    OpenedSession,
    WrappedKey,
)
from issuer.trust.signature_check import is_signature
from issuer.trust.trust_list import ROOT_USE

KeySet = Literal["transport", "card"]
SecretKind = Literal["9b", "puk", "pin", "verify-pin"]

AGREEMENT_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for other persons: what, the proposal they approve, and its hash to be read aloud."""

    what: str
    proposal: str
    digest: str
    needed: int


OnWait = Callable[[Waiting], None]

ADAPTER, PRODUCT = "hsm-sim", "hsm-sim"
CAPABILITIES = Capabilities(
    keeps_signing_keys=True,
    keeps_card_masters=True,
    derives_inside=True,
    loads_inside=True,
    enforces_uses=True,
    enforces_roles=True,
    separates_roots=True,
    locks_pins=True,
    has_allocator=True,
    has_key_states=True,
    has_caps=True,
    has_quorum=True,
    seals_log=True,
    wraps_keys=True,
    has_ed25519=True,
    has_ml_dsa="ml-dsa-44" in [str(one) for one in client.Kind],
)

_TRANSLATED: dict[type[client.HsmError], type[port.HsmError]] = {
    client.KeyExists: port.KeyExists,
    client.WrongCryptogram: port.WrongCryptogram,
    client.WrongAnswer: port.WrongAnswer,
}


class Sim:
    """The HSM as the role `user`: signs, and speaks to cards."""

    def __init__(self, user: Client) -> None:
        self._user = user

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Refused by the HSM: the everyday user makes no keys."""
        with _translated():
            return _info(self._user.generate(label, kind, use, scope))

    def info(self, label: str) -> KeyInfo:
        """Describe one key."""
        with _translated():
            return _info(self._user.info(label))

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys."""
        with _translated():
            return [_info(one) for one in self._user.keys()]  # noqa: SIM118 - a call, not a mapping

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign with ES256: r ‖ s."""
        with _translated():
            return self._user.sign(label, use, data)

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several with one call."""
        with _translated():
            return self._user.sign_many(label, use, data)

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        """Sign what is long, by its SHA-256."""
        with _translated():
            return self._user.sign_digest(label, use, digest)

    def verify(self, label: str, data: bytes, signature: bytes) -> bool:
        """Say whether this key signed these data."""
        return is_signature(self.info(label), data, signature)

    def random(self, n: int) -> bytes:
        """Draw random bytes."""
        with _translated():
            return self._user.random(n)

    def capabilities(self) -> Capabilities:
        """The simulator does all of it by itself."""
        return CAPABILITIES

    def status(self) -> HsmStatus:
        """How the simulator stands."""
        with _translated():
            found = self._user.status()
        return HsmStatus(ADAPTER, PRODUCT, found.keys, found.pending_pins)

    def caps(self) -> Sequence[CapInForce]:
        """The caps in force and how far they are used up."""
        with _translated():
            told = self._user.caps()
        return [CapInForce(label, one.per_second, one.per_day, one.today) for label, one in told.items()]

    def attest(self, label: str) -> Attestation:
        """Made inside where it was not delivered; kept where it was not made exportable. None changes."""
        with _translated():
            info = self._user.info(label)
        is_delivered = info.is_delivered or info.use is client.Use.TRANSPORT  # stores from before that was kept
        return Attestation(label, not is_delivered, not info.terms.is_exportable)

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
        """Open an SCP03 session. Raises WrongCryptogram."""
        with _translated():
            opened = self._user.open_session(
                job, cast(KeySet, key_set), label, kdd, kvn, host_challenge, initialize_update_answer, level
            )
        return OpenedSession(opened.session, opened.external_authenticate)

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command."""
        with _translated():
            return self._user.wrap(session, apdu)

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open one answer."""
        with _translated():
            return self._user.unwrap(session, answer)

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command."""
        with _translated():
            return self._user.wrap_chain(session, apdus)

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain."""
        with _translated():
            return self._user.unwrap_chain(session, answers)

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """Build and protect PUT KEY."""
        with _translated():
            return self._user.put_keys(session, master_label, kdd, new_kvn, replace_kvn)

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Open the answer of PUT KEY and compare the check values."""
        with _translated():
            self._user.check_put_keys(session, answer)

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """Build and protect the command that loads a secret."""
        with _translated():
            return self._user.put_secret(session, cast(SecretKind, kind), master_label, kdd, kvn)

    def close_session(self, session: int) -> None:
        """Forget a session."""
        with _translated():
            self._user.close_session(session)

    def reveal_pin(self, job: str) -> str:
        """Tell the PIN of a job, once."""
        with _translated():
            return self._user.reveal_pin(job)

    def end_job(self, job: str, *, forgets_pin: bool = False) -> None:
        """Open no channel for this job any more."""
        with _translated():
            self._user.end_job(job, forgets_pin=forgets_pin)

    def derive_check(self, master_label: str, kdd: bytes, kvn: int) -> tuple[bytes, ...]:
        """The check values of a card's derived ENC, MAC and DEK."""
        with _translated():
            return self._user.derive_check(master_label, kdd, kvn)


class Allocator:
    """The HSM as the role `allocator`: opens jobs, lets their PINs be told, and nothing else."""

    def __init__(self, allocator: Client) -> None:
        self._allocator = allocator

    def allocate(self, job: str, kdd: bytes = b"") -> None:
        """Open a job for one card."""
        with _translated():
            self._allocator.allocate(job, kdd)

    def allow_pin(self, job: str) -> None:
        """Let the PIN of a job be told."""
        with _translated():
            self._allocator.allow_pin(job)


class Ceremony(Sim):
    """The HSM with the security officer present: makes keys and signs with root keys.

    What the HSM does for several persons only is proposed to it; `on_wait` hears how the others agree, and the call
    waits for them (`hsm-sim approve`). `makes_exportable`: the keys that it makes may leave (but never a root key).
    """

    def __init__(
        self, user: Client, officer: Client, on_wait: OnWait | None = None, *, makes_exportable: bool = False
    ) -> None:
        super().__init__(user)
        self._officer = officer
        self._makes_exportable = makes_exportable
        self._on_wait = on_wait
        self._told: set[bytes] = set()

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key."""
        with _translated():
            try:
                return _info(self._officer.generate(label, kind, use, scope, self._terms(use)))
            except client.NeedsQuorum:
                if self._has(label):
                    raise client.KeyExists(label) from None  # nobody need agree to find that out
                args = [label, kind, use, list(scope), self._terms(use).to_wire(), True]
                return _info(client.KeyInfo.from_wire(self._agreed("generate", args)))

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        """Load the transport keys of a delivery of blanks."""
        with _translated():
            return _info(self._officer.load_transport(label, enc, mac, dek))

    def _terms(self, use: str) -> client.Terms:
        """What keys of this use are bound to that are made or taken in here."""
        may_leave = self._makes_exportable and use not in (client.Use.ROOT, client.Use.WRAP)
        return client.Terms(is_exportable=may_leave)

    def load_component(self, label: str, number: int, count: int, component: bytes) -> ComponentTaken:
        """Enter a component of a key-encryption key: each another officer."""
        with _translated():
            taken = self._officer.load_component(label, number, count, component)
        return ComponentTaken(taken.kcv, taken.have, taken.key_kcv)

    def wrap_key(self, label: str, kek: str) -> WrappedKey:
        """Encipher an exportable key."""
        with _translated():
            try:
                found = self._officer.wrap_key(label, kek)
            except client.NeedsQuorum:
                found = client.WrappedKey(*self._agreed("wrap_key", [label, kek]))
        return WrappedKey(found.wrapped, found.check)

    def unwrap_key(
        self, kek: str, wrapped: bytes, label: str, kind: str, use: str, scope: tuple[str, ...], check: bytes = b""
    ) -> KeyInfo:
        """Take an enciphered key in."""
        with _translated():
            try:
                return _info(self._officer.unwrap_key(kek, wrapped, label, kind, use, scope, self._terms(use), check))
            except client.NeedsQuorum:
                args = [kek, wrapped, label, kind, use, list(scope), self._terms(use).to_wire(), check]
                return _info(client.KeyInfo.from_wire(self._agreed("unwrap_key", args)))

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign: with root keys as the officer, with all others as the user."""
        with _translated():
            if use != ROOT_USE:
                return self._user.sign(label, use, data)
            try:
                return self._officer.sign(label, use, data)
            except client.NeedsQuorum:
                return cast(bytes, self._agreed("sign", [label, use, data]))

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several; what a root key signs together, persons agree to together."""
        with _translated():
            if use != ROOT_USE:
                return self._user.sign_many(label, use, data)
            try:
                return self._officer.sign_many(label, use, data)
            except client.NeedsQuorum:
                return cast(list[bytes], self._agreed("sign_many", [label, use, list(data)]))

    def set_state(self, label: str, state: str) -> None:
        """Lead a key one step on in its life."""
        with _translated():
            self._officer.set_state(label, state)

    def _has(self, label: str) -> bool:
        try:
            self._officer.info(label)
        except client.NoSuchKey:
            return False
        return True

    def _agreed(self, op: str, args: list[Any]) -> Any:
        """Propose to the other persons and wait for them; outright NeedsQuorum where nobody could be told."""
        if self._on_wait is None:
            raise client.NeedsQuorum(f"{op} {args[0]}")
        return self._officer.agreed(op, args, self._tell, AGREEMENT_WAIT_S)

    def _tell(self, proposal: client.Proposal) -> None:
        if self._on_wait is not None and proposal.nonce not in self._told:
            self._told.add(proposal.nonce)
            what = f"{proposal.op} {proposal.args[0]}"
            self._on_wait(Waiting(what, proposal.nonce.hex(), proposal.digest.hex(), proposal.needed))


def connect(config: Config) -> Sim:
    """The HSM of this installation, with the everyday PIN from its descriptor or file.

    The connection is closed with the last reference to what this gives, so a single command need not.
    """
    opened = open_client(config, Role.USER, read_secret(config.hsm_pin_fd, config.hsm_pin_file))
    made = Sim(opened)
    weakref.finalize(made, opened.close)
    return made


def allocator(config: Config, pin: Secret) -> Allocator:
    """The allocator of this installation; its connection is closed with the last reference to it."""
    opened = open_client(config, Role.ALLOCATOR, pin)
    made = Allocator(opened)
    weakref.finalize(made, opened.close)
    return made


@contextmanager
def ceremony(
    config: Config,
    officer_pin: Secret,
    officer: str = Role.SO,
    on_wait: OnWait | None = None,
    *,
    makes_exportable: bool = False,
) -> Iterator[Ceremony]:
    """The HSM of this installation with a security officer present, for as long as the ceremony lasts."""
    user_pin = read_secret(config.hsm_pin_fd, config.hsm_pin_file)
    with open_client(config, Role.USER, user_pin) as user, open_client(config, officer, officer_pin) as present:
        yield Ceremony(user, present, on_wait, makes_exportable=makes_exportable)


def open_client(config: Config, role: Role | str, pin: Secret) -> Client:
    """A client under one role, or as one person; it connects with its first call."""
    return Client(config.hsm_socket, role, pin.text)


def _info(info: client.KeyInfo) -> KeyInfo:
    return KeyInfo(info.label, str(info.kind), str(info.use), tuple(info.scope), info.public, str(info.state))


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the simulator's errors as the port's; the code `hsm.<error>` is a key of the message catalogue."""
    try:
        yield
    except client.HsmError as error:
        kind: Callable[..., port.HsmError] = _TRANSLATED.get(type(error), port.HsmError)
        raise kind(f"hsm.{error.code.replace('-', '_')}", detail=error.detail) from error
