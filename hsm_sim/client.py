"""The one module of the HSM that others import: its operations as typed calls over the socket."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from hsm_sim.answers import (
    CapInForce,
    ComponentTaken,
    HsmStatus,
    LogHead,
    OpenedSession,
    Person,
    Proposal,
    WrappedKey,
)
from hsm_sim.connection import Connection
from hsm_sim.errors import (
    BadRequest,
    BadWrapping,
    Busy,
    Capped,
    Denied,
    HsmError,
    HsmGone,
    KeyExists,
    LogBroken,
    LogFull,
    NeedsQuorum,
    NoSuchKey,
    NotAllocated,
    NotExportable,
    PinLocked,
    SessionLost,
    StoreSealed,
    WrongAnswer,
    WrongCryptogram,
    WrongKey,
    WrongPin,
)
from hsm_sim.keys import NO_TERMS, KeyInfo, KeyState, Kind, Role, Terms, Use
from hsm_sim.policy import Op
from hsm_sim.random_page import RandomPage

__all__ = [
    "BadRequest",
    "BadWrapping",
    "Busy",
    "CapInForce",
    "Capped",
    "CardSecretKind",
    "Client",
    "ComponentTaken",
    "Denied",
    "HsmError",
    "HsmGone",
    "HsmStatus",
    "KeyExists",
    "KeyInfo",
    "KeySetName",
    "KeyState",
    "Kind",
    "LogBroken",
    "LogFull",
    "LogHead",
    "NeedsQuorum",
    "NoSuchKey",
    "NotAllocated",
    "NotExportable",
    "OpenedSession",
    "Person",
    "PinLocked",
    "Proposal",
    "Role",
    "SessionLost",
    "StoreSealed",
    "Terms",
    "Use",
    "WrappedKey",
    "WrongAnswer",
    "WrongCryptogram",
    "WrongKey",
    "WrongPin",
]

log = logging.getLogger(__name__)

KEYS_AT_ONCE = 500
LOOK_EVERY_S = 0.2

CardSecretKind = Literal["9b", "puk", "pin", "verify-pin"]
KeySetName = Literal["transport", "card"]


class Client(Connection):
    """The HSM under one role. Any thread may call; calls go one after the other.

    A lost connection is made again, also after the HSM was restarted. What may safely be asked twice is asked again;
    sessions die with their connection, and their calls then raise SessionLost.
    """

    def __init__(self, socket_path: Path | str, role: Role | str, pin: str, wait_s: float = 5.0) -> None:
        super().__init__(socket_path, role, pin, wait_s)
        self._page = RandomPage(self._draw)

    # --- keys

    def generate(
        self,
        label: str,
        kind: Kind | str,
        use: Use | str,
        scope: Sequence[str] = (),
        terms: Terms = NO_TERMS,
        is_active: bool = True,
    ) -> KeyInfo:
        """Make a key inside (role so). Raises KeyExists for a label that was ever given."""
        args = [label, str(kind), str(use), list(scope), terms.to_wire(), is_active]
        return self._make(Op.GENERATE, args, lambda info: info.kind == kind and info.use == use)

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        """Load the transport keys of a delivery of blank cards (role so)."""
        return self._make(Op.LOAD_TRANSPORT, [label, enc, mac, dek], lambda info: info.use == Use.TRANSPORT)

    def load_component(self, label: str, number: int, count: int, component: bytes) -> ComponentTaken:
        """Enter one of the components of a key-encryption key (role so, each another person); the last one makes it."""
        return ComponentTaken(*self.call(Op.LOAD_COMPONENT, [label, number, count, component]))

    def wrap_key(self, label: str, kek: str) -> WrappedKey:
        """Encipher an exportable key under a key-encryption key (role so, several persons). Raises NotExportable."""
        return WrappedKey(*self.call(Op.WRAP_KEY, [label, kek]))

    def unwrap_key(
        self,
        kek: str,
        wrapped: bytes,
        label: str,
        kind: Kind | str,
        use: Use | str,
        scope: Sequence[str] = (),
        terms: Terms = NO_TERMS,
        check: bytes = b"",
    ) -> KeyInfo:
        """Take an enciphered key in (role so, several persons). Raises BadWrapping, WrongKey, KeyExists.

        `check`: the public key or key check value that it must have; empty: any.
        """
        args = [kek, wrapped, label, str(kind), str(use), list(scope), terms.to_wire(), check]
        return KeyInfo.from_wire(self.call(Op.UNWRAP_KEY, args))

    def _make(self, op: Op, args: list[Any], is_same: Callable[[KeyInfo], bool]) -> KeyInfo:
        """Make a key; when the connection breaks in the middle, find out whether it is there."""
        try:
            return KeyInfo.from_wire(self.call(op, args))
        except HsmGone:
            label = str(args[0])
            try:
                info = self.info(label)
            except NoSuchKey:
                return KeyInfo.from_wire(self.call(op, args))
            if is_same(info):
                return info
            raise KeyExists(label) from None

    def keys(self) -> list[KeyInfo]:
        """Every key, in the order in which they were made; the HSM tells them page by page."""
        told: list[KeyInfo] = []
        while page := self.call(Op.KEYS, [told[-1].label if told else "", KEYS_AT_ONCE]):
            told += [KeyInfo.from_wire(row) for row in page]
            if len(page) < KEYS_AT_ONCE:
                break
        return told

    def info(self, label: str) -> KeyInfo:
        """What may be known of one key."""
        return KeyInfo.from_wire(self.call(Op.INFO, [label]))

    def set_state(self, label: str, state: KeyState | str) -> None:
        """Lead a key one step on in its life (role so): active, suspended, deactivated, compromised."""
        self.call(Op.SET_STATE, [label, str(state)])

    def destroy(self, label: str) -> None:
        """Destroy the secret of a key that is out of use (role so, several persons); its label stays taken."""
        self.call(Op.DESTROY, [label])

    def set_cap(self, label: str, per_second: int, per_day: int) -> None:
        """Say how often each client may use a key (role so, several persons); 0: no limit."""
        self.call(Op.SET_CAP, [label, per_second, per_day])

    def caps(self) -> dict[str, CapInForce]:
        """The caps in force, by label: of keys that have one, and of `reveal-pin`."""
        return {label: CapInForce(*told) for label, *told in self.call(Op.CAPS)}

    def sign(self, label: str, use: Use | str, data: bytes) -> bytes:
        """Sign: ES256 with SHA-256 inside, r and s of 32 bytes each; or Ed25519, 64 bytes."""
        result: bytes = self.call_with(Op.SIGN, data, label, str(use))
        return result

    def sign_many(self, label: str, use: Use | str, data: Sequence[bytes]) -> list[bytes]:
        """Sign up to 4,096 byte strings in one exchange."""
        result: list[bytes] = self.call(Op.SIGN_MANY, [label, str(use), list(data)])
        return result

    def sign_digest(self, label: str, use: Use | str, digest: bytes) -> bytes:
        """Sign what is too long to be sent, by its SHA-256: ES256, keys of use `ca` alone."""
        result: bytes = self.call_with(Op.SIGN_DIGEST, digest, label, str(use))
        return result

    # --- the HSM itself

    def status(self) -> HsmStatus:
        """How the HSM stands."""
        return HsmStatus(*self.call(Op.STATUS))

    def log_head(self) -> LogHead:
        """Where the log stands (roles so and auditor)."""
        return LogHead(*self.call(Op.LOG_HEAD))

    def random(self, size: int) -> bytes:
        """Random bytes of the HSM, 1 to 4,096; fetched a page ahead."""
        return self._page.take(size)

    def _draw(self, size: int) -> bytes:
        result: bytes = self.call(Op.RANDOM, [size])
        return result

    # --- persons, and what takes several of them

    def set_pin(self, name: Role | str, pin: str) -> None:
        """Give a person a new PIN and unlock it (role so, several persons)."""
        self.call(Op.SET_PIN, [str(name), pin])

    def add_person(self, name: str, role: Role | str, pin: str) -> None:
        """Let one more person log in (role so, several persons)."""
        self.call(Op.ADD_PERSON, [name, str(role), pin])

    def remove_person(self, name: str) -> None:
        """Let a person log in no more (role so, several persons)."""
        self.call(Op.REMOVE_PERSON, [name])

    def persons(self) -> list[Person]:
        """Who may log in (roles so and auditor)."""
        return [Person(name, Role(role), tries) for name, role, tries in self.call(Op.PERSONS)]

    def set_persons_needed(self, needed: int) -> None:
        """Say how many persons an operation for several takes (role so, as many persons as now)."""
        self.call(Op.SET_PERSONS_NEEDED, [needed])

    def propose(self, op: Op | str, args: Sequence[Any]) -> Proposal:
        """Put an operation up for approval by others (role so)."""
        return Proposal(*self.call(Op.PROPOSE, [str(op), list(args)]))

    def proposals(self) -> list[Proposal]:
        """What waits for persons (roles so and auditor)."""
        return [Proposal(*row) for row in self.call(Op.PROPOSALS)]

    def approve(self, proposal: Proposal) -> Proposal:
        """Agree to exactly this proposal (role so, another person than who proposed it)."""
        return Proposal(*self.call(Op.APPROVE, [proposal.nonce, proposal.digest]))

    def carry_out(self, proposal: Proposal) -> Any:
        """Do what enough persons agreed to. Raises NeedsQuorum while some are missing."""
        return self.call(Op.CARRY_OUT, [proposal.nonce])

    def agreed(self, op: Op | str, args: Sequence[Any], on_wait: Callable[[Proposal], None], wait_s: float) -> Any:
        """Do something that may take several persons: outright where one is enough, else propose it and wait for them.

        `on_wait` hears the proposal each time it is looked at in vain. Raises NeedsQuorum after `wait_s`.
        """
        try:
            return self.call(Op(op), args)
        except NeedsQuorum:
            proposal = self.propose(op, args)
        ends_s = time.monotonic() + wait_s
        while True:
            try:
                return self.carry_out(proposal)
            except NeedsQuorum:
                if time.monotonic() > ends_s:
                    raise
            on_wait(proposal)
            time.sleep(LOOK_EVERY_S)

    # --- jobs

    def allocate(self, job: str, kdd: bytes = b"") -> None:
        """Open a job for one card (role allocator): the one with this key diversification data, else the first."""
        self.call(Op.ALLOCATE, [job, kdd])

    def allow_pin(self, job: str) -> int:
        """Let the PIN of a job be told, once and within minutes (role allocator); answers until when, UTC seconds."""
        until: int = self.call(Op.ALLOW_PIN, [job])
        return until

    def end_job(self, job: str, *, forgets_pin: bool = False) -> None:
        """Open no channel for this job any more (role user); its PIN may still be told, unless it is forgotten."""
        self.call(Op.END_JOB, [job, forgets_pin])

    # --- cards

    def open_session(
        self,
        job: str,
        key_set: KeySetName,
        label: str,
        kdd: bytes,
        kvn: int,
        host_challenge: bytes,
        initialize_update_answer: bytes,
        level: int,
        key_bits: int = 256,
    ) -> OpenedSession:
        """Open an SCP03 session for a job with the card that gave this answer (as received, with its 9000 or without).

        `label` names a transport set, or the card master key from which the card's own set is derived (F11, `key_bits`
        long). Raises WrongCryptogram when the card does not hold that set: nothing must be sent to it then.
        """
        args = [job, key_set, label, kdd, kvn, host_challenge, initialize_update_answer, level, key_bits]
        return OpenedSession(*self.call(Op.OPEN_SESSION, args))

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command APDU. Denied for commands that load secrets."""
        result: bytes = self.call_with(Op.WRAP, apdu, session)
        return result

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open the whole answer to the last command: data (after all GET RESPONSEs) and status word."""
        result: bytes = self.call_with(Op.UNWRAP, answer, session)
        return result

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command in one exchange; each is judged as `wrap` judges it."""
        result: list[bytes] = self.call(Op.WRAP_CHAIN, [session, list(apdus)])
        return result

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain: one for each block, or fewer when the last of them is not 9000."""
        result: list[bytes] = self.call(Op.UNWRAP_CHAIN, [session, list(answers)])
        return result

    def put_keys(
        self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int, key_bits: int = 256
    ) -> bytes:
        """PUT KEY of the card's own derived set, built and wrapped inside."""
        result: bytes = self.call(Op.PUT_KEYS, [session, master_label, kdd, new_kvn, replace_kvn, key_bits])
        return result

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Check the answer to `put_keys`: MAC, status, key check values. Raises WrongAnswer."""
        self.call(Op.CHECK_PUT_KEYS, [session, answer])

    def put_secret(
        self,
        session: int,
        kind: CardSecretKind,
        master_label: str | None = None,
        kdd: bytes | None = None,
        kvn: int | None = None,
        factory: bytes | None = None,
    ) -> bytes:
        """The command that loads one secret, built and wrapped inside; needs a level with command encryption.

        9b: SET MANAGEMENT KEY with the derived AES-256 key; puk: change from the `factory` PUK to the derived one; pin:
        change from the `factory` PIN to the one made for this job; verify-pin: VERIFY with that one. `kvn` is the key
        version that goes into the derivation: by default the newest of this session. Its answer goes through `unwrap`.
        """
        result: bytes = self.call(Op.PUT_SECRET, [session, kind, master_label, kdd, kvn, factory])
        return result

    def close_session(self, session: int) -> None:
        """Forget the session. One that is lost already is no error."""
        try:
            self.call(Op.CLOSE_SESSION, [session])
        except SessionLost as error:
            log.debug("hsm session was gone before it was closed: %s", error)

    def reveal_pin(self, job: str) -> str:
        """The PIN of the job's card, once, for its PIN letter."""
        result: str = self.call(Op.REVEAL_PIN, [job])
        return result

    def derive_check(self, master_label: str, kdd: bytes, kvn: int, key_bits: int = 256) -> tuple[bytes, ...]:
        """Key check values of a card's derived ENC, MAC and DEK."""
        return tuple(self.call(Op.DERIVE_CHECK, [master_label, kdd, kvn, key_bits]))

    def derive_checks(self, master_label: str, cards: Sequence[bytes], kvn: int, key_bits: int = 256) -> list[bytes]:
        """The same for up to 4,096 cards: 9 bytes for each, the three check values in a row."""
        told: list[bytes] = self.call(Op.DERIVE_CHECKS, [master_label, list(cards), kvn, key_bits])
        return told
