"""This process's end of the worker that holds a PKCS#11 device: starts it, asks it, does without it, starts another.

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
from issuer.trust.port import Capabilities, HsmError

log = logging.getLogger(__name__)

ADAPTER = "pkcs11"
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
                raise error_of("hsm-gone", "no login")
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
        raise error_of(code, detail)

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
            raise error_of("session-lost", "the worker is gone, and the session with it")
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
            raise error_of("hsm-gone", f"the worker ended: {error}") from error
        if not is_in:
            self._end()
            refused = error_of("hsm-gone" if answer[0] == DEVICE_LOST else answer[0], answer[1])
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


def error_of(code: str, detail: str) -> HsmError:
    kind: Callable[..., HsmError] = _RAISED.get(code, HsmError)
    return kind(f"hsm.{code.replace('-', '_')}", detail=detail)
