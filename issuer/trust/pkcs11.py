"""Any PKCS#11 device behind the port: the calls of the port, each with the worker of the login that it takes."""

import logging
from collections.abc import Sequence
from typing import Any

from issuer.trust.pkcs11_link import ADAPTER, Worker, error_of
from issuer.trust.port import (
    Attestation,
    Capabilities,
    CapInForce,
    ComponentTaken,
    HsmError,
    HsmStatus,
    KeyInfo,
    OpenedSession,
    WrappedKey,
)
from issuer.trust.signature_check import is_signature

log = logging.getLogger(__name__)

ROOT_USE = "root"
SIGNED_AT_ONCE = 256


class Pkcs11:
    """The device with the everyday PIN: signs, and speaks to cards."""

    _makes_exportable = False

    def __init__(self, everyday: Worker) -> None:
        self._everyday = everyday

    def close(self) -> None:
        """End the worker."""
        self._everyday.close()

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Refused by the worker: the everyday login makes no keys."""
        return _info(self._of(use).call("generate", label, kind, use, list(scope), self._makes_exportable))

    def info(self, label: str) -> KeyInfo:
        """Describe one key."""
        return _info(self._everyday.call("info", label))

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys."""
        return [_info(row) for row in self._everyday.call("keys")]

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign with ES256: r ‖ s."""
        return self.sign_many(label, use, [data])[0]

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several, a part of them with each call: a slow device has its time for each."""
        signed: list[bytes] = []
        for at in range(0, len(data), SIGNED_AT_ONCE):
            signed += self._of(use).call("sign_many", label, use, list(data[at : at + SIGNED_AT_ONCE]))
        return signed

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        """Sign what is long, by its SHA-256."""
        signed: bytes = self._of(use).call("sign_digest", label, use, digest)
        return signed

    def verify(self, label: str, data: bytes, signature: bytes) -> bool:
        """Say whether this key signed these data."""
        return is_signature(self.info(label), data, signature)

    def random(self, n: int) -> bytes:
        """Draw random bytes."""
        drawn: bytes = self._everyday.call("random", n)
        return drawn

    def capabilities(self) -> Capabilities:
        """What the device does by itself: the rest is the worker's, or missing."""
        return self._everyday.capabilities()

    def status(self) -> HsmStatus:
        """Which device this is and how it stands."""
        return HsmStatus(ADAPTER, *self._everyday.call("status"))

    def caps(self) -> Sequence[CapInForce]:
        """None: PKCS #11 has no words for them, and what our worker counted, who has the PIN would go past."""
        return ()

    def attest(self, label: str) -> Attestation:
        """What the device says of how it holds a key."""
        return Attestation(label, *self._everyday.call("attest", label))

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
        args = (job, key_set, label, kdd, kvn, host_challenge, initialize_update_answer, level)
        return OpenedSession(*self._everyday.call("open_session", *args))

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command."""
        wrapped: bytes = self._everyday.call("wrap", session, apdu)
        return wrapped

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open one answer."""
        opened: bytes = self._everyday.call("unwrap", session, answer)
        return opened

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command."""
        wrapped: list[bytes] = self._everyday.call("wrap_chain", session, list(apdus))
        return wrapped

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain."""
        opened: list[bytes] = self._everyday.call("unwrap_chain", session, list(answers))
        return opened

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """Build and protect PUT KEY."""
        wrapped: bytes = self._everyday.call("put_keys", session, master_label, kdd, new_kvn, replace_kvn)
        return wrapped

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Open the answer of PUT KEY and compare the check values."""
        self._everyday.call("check_put_keys", session, answer)

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """Build and protect the command that loads a secret."""
        wrapped: bytes = self._everyday.call("put_secret", session, kind, master_label, kdd, kvn)
        return wrapped

    def close_session(self, session: int) -> None:
        """Forget a session. One that is lost already is no error."""
        try:
            self._everyday.call("close_session", session)
        except HsmError as error:
            if error.code != "hsm.session_lost":
                raise
            log.debug("hsm session was gone before it was closed why=%s", error)

    def reveal_pin(self, job: str) -> str:
        """Tell the PIN of a job, once."""
        pin: str = self._everyday.call("reveal_pin", job)
        return pin

    def end_job(self, job: str, *, forgets_pin: bool = False) -> None:
        """Forget its PIN where that is asked for; a device knows no jobs that could be ended."""
        if forgets_pin:
            self._everyday.call("forget_pin", job)

    def derive_check(self, master_label: str, kdd: bytes, kvn: int) -> tuple[bytes, ...]:
        """The check values of a card's derived ENC, MAC and DEK."""
        return tuple(self._everyday.call("derive_check", master_label, kdd, kvn))

    def _of(self, use: str) -> Worker:
        """The worker that keys of this use are in the hands of."""
        return self._everyday


class Ceremony(Pkcs11):
    """The device with the security officer present: makes keys; root keys live in the officer's own token.

    `makes_exportable`: the keys that it makes or takes in may leave, enciphered (but never a root key).
    """

    def __init__(self, everyday: Worker, roots: Worker, *, makes_exportable: bool = False) -> None:
        super().__init__(everyday)
        self._roots = roots
        self._makes_exportable = makes_exportable
        roots.capabilities()  # the officer's PIN is asked for before anything is made

    def close(self) -> None:
        """End both workers."""
        self._everyday.close()
        self._roots.close()

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key in the token where keys of this use stand. No label stands in both."""
        other = self._everyday if self._of(use) is self._roots else self._roots
        if self._has(other, label):
            raise error_of("key-exists", label)
        return super().generate(label, kind, use, scope)

    def info(self, label: str) -> KeyInfo:
        """Describe one key of either token."""
        return _info(self._holder(label).call("info", label))

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys of both tokens."""
        rows = [*self._everyday.call("keys"), *self._roots.call("keys")]
        return list({one.label: one for one in map(_info, rows)}.values())

    def attest(self, label: str) -> Attestation:
        """What the device says of how it holds a key of either token."""
        return Attestation(label, *self._holder(label).call("attest", label))

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        """Load the transport keys of a delivery of blanks."""
        return _info(self._everyday.call("load_transport", label, enc, mac, dek))

    def load_component(self, label: str, number: int, count: int, component: bytes) -> ComponentTaken:
        """Enter a component of a key-encryption key; the worker keeps it for as long as this ceremony lasts."""
        return ComponentTaken(*self._everyday.call("load_component", label, number, count, component))

    def wrap_key(self, label: str, kek: str) -> WrappedKey:
        """Encipher an exportable key."""
        return WrappedKey(*self._everyday.call("wrap_key", label, kek))

    def unwrap_key(
        self, kek: str, wrapped: bytes, label: str, kind: str, use: str, scope: tuple[str, ...], check: bytes = b""
    ) -> KeyInfo:
        """Take an enciphered key in."""
        if self._has(self._roots, label):
            raise error_of("key-exists", label)
        args = (kek, wrapped, label, kind, use, list(scope), check, self._makes_exportable)
        return _info(self._everyday.call("unwrap_key", *args))

    def set_state(self, label: str, state: str) -> None:
        """Lead a key to the end of its life; root keys in the officer's token."""
        self._holder(label).call("set_state", label, state)

    def _holder(self, label: str) -> Worker:
        """The worker in whose token the key stands; the everyday one where it stands in none."""
        return self._roots if self._has(self._roots, label) else self._everyday

    @staticmethod
    def _has(worker: Worker, label: str) -> bool:
        try:
            worker.call("info", label)
        except HsmError as error:
            if error.code != "hsm.no_such_key":
                raise
            return False
        return True

    def _of(self, use: str) -> Worker:
        return self._roots if use == ROOT_USE else self._everyday


def _info(row: list[Any]) -> KeyInfo:
    label, kind, use, scope, public, state = row
    return KeyInfo(label, kind, use, tuple(scope), public, state)
