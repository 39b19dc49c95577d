"""Any PKCS#11 device behind the port: this process's end of the worker that holds the device.

One worker for each login, started at the first call of the process that makes it (so never inherited over a fork), one
call at a time. When the worker or the device is gone, calls that may be made twice are made again with a new worker.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from issuer.config import Secret
from issuer.trust import port
from issuer.trust.pkcs11_wire import DEVICE_LOST, ONCE_OPS, SESSION_OPS, PeerGone, receive, send
from issuer.trust.port import Attestation, Capabilities, HsmError, HsmStatus, KeyInfo, OpenedSession
from issuer.trust.signature_check import is_signature

log = logging.getLogger(__name__)

ADAPTER = "pkcs11"
ROOT_USE = "root"
ANSWER_WAIT_S = 30.0
END_WAIT_S = 5.0
FINAL = ("wrong-pin", "pin-locked")
"""Refusals of a login that are not tried again: another wrong PIN might lock the token."""

_RAISED: dict[str, type[HsmError]] = {
    "key-exists": port.KeyExists,
    "wrong-cryptogram": port.WrongCryptogram,
    "wrong-answer": port.WrongAnswer,
}


@dataclass(frozen=True, slots=True)
class Login:
    """Where a worker logs in, and whether root keys stand in another token than the everyday keys."""

    module: str
    token: str
    pin: Secret
    is_officer: bool
    separates_roots: bool


class Worker:
    """The worker of one login. Any thread may call; a forked process gets a worker of its own."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._peer: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._refused: HsmError | None = None
        self._can: Capabilities | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._login.module!r}, {self._login.token!r})"

    def close(self) -> None:
        """End the worker; the next call starts another."""
        with self._lock:
            self._end()

    def capabilities(self) -> Capabilities:
        """What the device does by itself. Logs in, where that was not done yet."""
        with self._lock:
            if self._can is None:
                self._started("status")
            if self._can is None:
                raise _error("hsm-gone", "no login")
            return self._can

    def call(self, op: str, *args: Any) -> Any:
        """Make one call and give its result. Raises HsmError."""
        with self._lock:
            code, detail = self._ask(op, args)
            if code == DEVICE_LOST and op not in SESSION_OPS | ONCE_OPS:
                log.warning("hsm lost, trying again op=%s why=%s", op, detail)
                code, detail = self._ask(op, args)
        if code == "":
            return detail
        if code == DEVICE_LOST:
            code = "session-lost" if op in SESSION_OPS else "hsm-gone"
        raise _error(code, detail)

    def _ask(self, op: str, args: Sequence[Any]) -> tuple[str, Any]:
        """One exchange: no code and the result, or the code and its detail."""
        peer = self._started(op)
        try:
            send(peer, [op, *args])
            is_done, *answer = receive(peer)
        except PeerGone as error:
            self._end()
            return DEVICE_LOST, f"the worker is gone: {error}"
        if is_done:
            return "", answer[0]
        if answer[0] == DEVICE_LOST:
            self._end()
        return answer[0], answer[1]

    def _started(self, op: str) -> socket.socket:
        """The way to the worker, which is started where there is none in this process. Raises HsmError."""
        if self._owner != os.getpid():
            if self._process is not None:
                self._process.returncode = 0  # the child of the process that forked this one, which waits for it
            self._forget()
            self._owner = os.getpid()
        if self._refused is not None:
            raise self._refused
        if self._peer is not None:
            return self._peer
        if op in SESSION_OPS:
            raise _error("session-lost", "the worker is gone, and the session with it")
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "issuer.trust.pkcs11_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        ours.settimeout(ANSWER_WAIT_S)
        self._peer = ours
        login = self._login
        try:
            send(ours, [login.module, login.token, login.pin.text, login.is_officer])
            is_in, *answer = receive(ours)
        except PeerGone as error:
            self._end()
            raise _error("hsm-gone", f"the worker ended: {error}") from error
        if not is_in:
            self._end()
            refused = _error("hsm-gone" if answer[0] == DEVICE_LOST else answer[0], answer[1])
            if answer[0] in FINAL:
                self._refused = refused
            raise refused
        product, has_cmac, has_ed25519 = answer[0]
        if self._can is None:
            self._can = _capabilities(has_cmac, has_ed25519, login.separates_roots)
            lacking = ",".join(self._can.lacking())
            log.info("hsm opened adapter=%s product=%s token=%s lacking=%s", ADAPTER, product, login.token, lacking)
        return ours

    def _end(self) -> None:
        """Let go of the worker of this process and see it end."""
        process = self._process
        self._forget()
        if process is None:
            return
        try:
            process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            log.warning("hsm worker hangs and is killed pid=%d", process.pid)
            process.kill()
            process.wait()

    def _forget(self) -> None:
        if self._peer is not None:
            with suppress(OSError):
                self._peer.close()
        self._peer = self._process = None


class Pkcs11:
    """The device with the everyday PIN: signs, and speaks to cards."""

    def __init__(self, everyday: Worker) -> None:
        self._everyday = everyday

    def close(self) -> None:
        """End the worker."""
        self._everyday.close()

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Refused by the worker: the everyday login makes no keys."""
        return _info(self._of(use).call("generate", label, kind, use, list(scope)))

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
        """Sign each of several with one call."""
        signed: list[bytes] = self._of(use).call("sign_many", label, use, list(data))
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

    def derive_check(self, master_label: str, kdd: bytes, kvn: int) -> tuple[bytes, ...]:
        """The check values of a card's derived ENC, MAC and DEK."""
        return tuple(self._everyday.call("derive_check", master_label, kdd, kvn))

    def _of(self, use: str) -> Worker:
        """The worker that keys of this use are in the hands of."""
        return self._everyday


class Ceremony(Pkcs11):
    """The device with the security officer present: makes keys; root keys live in the officer's own token."""

    def __init__(self, everyday: Worker, roots: Worker) -> None:
        super().__init__(everyday)
        self._roots = roots
        roots.capabilities()  # the officer's PIN is asked for before anything is made

    def close(self) -> None:
        """End both workers."""
        self._everyday.close()
        self._roots.close()

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key in the token where keys of this use stand. No label stands in both."""
        other = self._everyday if self._of(use) is self._roots else self._roots
        if self._has(other, label):
            raise _error("key-exists", label)
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


def _capabilities(has_cmac: bool, has_ed25519: bool, separates_roots: bool) -> Capabilities:
    """What is the device's own. PKCS#11 has no words for the rest: the worker does it, or nobody."""
    return Capabilities(
        keeps_signing_keys=True,
        keeps_card_masters=has_cmac,
        derives_inside=False,
        loads_inside=False,
        enforces_uses=False,
        enforces_roles=False,
        separates_roots=separates_roots,
        locks_pins=False,
        has_allocator=False,
        has_key_states=False,
        has_caps=False,
        has_quorum=False,
        seals_log=False,
        has_ed25519=has_ed25519,
        has_ml_dsa=False,
    )


def _info(row: list[Any]) -> KeyInfo:
    label, kind, use, scope, public, state = row
    return KeyInfo(label, kind, use, tuple(scope), public, state)


def _error(code: str, detail: str) -> HsmError:
    kind: Callable[..., HsmError] = _RAISED.get(code, HsmError)
    return kind(f"hsm.{code.replace('-', '_')}", detail=detail)
