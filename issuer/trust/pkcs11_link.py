"""This process's end of the worker that holds a PKCS#11 device: starts it, asks it, does without it, starts another.

One worker for each login, started at the first call of the process that makes it (so never inherited over a fork), one
call at a time. When the worker or the device is gone, calls that may be made twice are made again with a new worker. A
worker that says nothing in time is killed, and the call not made again: who waits has waited long enough.
"""

import logging
import os
import signal
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
from issuer.trust.pkcs11_wire import (
    CRASHED,
    DEVICE_LOST,
    NO_ANSWER,
    ONCE_OPS,
    SESSION_OPS,
    PeerGone,
    PeerSilent,
    receive,
    send,
    wait_at_most,
)
from issuer.trust.port import Capabilities, HsmError

log = logging.getLogger(__name__)

ADAPTER = "pkcs11"
START_WAIT_S, ANSWER_WAIT_S = 30.0, 30.0
"""How long a login may take, and a call."""
END_WAIT_S = 5.0
FINAL = ("wrong-pin", "pin-locked")
"""Refusals of a PIN that are not tried again: another wrong PIN might lock the token."""
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)

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

    def __init__(self, login: Login, wait_s: float = ANSWER_WAIT_S) -> None:
        self._login = login
        self._wait_s = wait_s
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
            if code in (DEVICE_LOST, CRASHED) and op not in SESSION_OPS | ONCE_OPS:
                log.warning("hsm lost, trying again op=%s why=%s", op, detail)
                code, detail = self._ask(op, args)
        if code == "":
            return detail
        raise error_of("session-lost" if op in SESSION_OPS and code in (DEVICE_LOST, CRASHED) else code, detail)

    def _ask(self, op: str, args: Sequence[Any]) -> tuple[str, Any]:
        """One exchange: no code and the result, or the code and its detail."""
        peer = self._started(op)
        try:
            send(peer, [op, *args])
            is_done, *answer = receive(peer)
        except PeerGone as error:
            return self._lost(error, self._wait_s)
        if is_done:
            return "", answer[0]
        code, detail = answer
        if code == DEVICE_LOST:
            self._end()
        if code in FINAL:
            self._end()
            self._refused = error_of(code, detail)
        return code, detail

    def _lost(self, error: PeerGone, waited_s: float) -> tuple[str, str]:
        """Let go of a worker that did not answer; what became of it, as a code and its detail."""
        if isinstance(error, PeerSilent):
            self._end(is_killed=True)
            return NO_ANSWER, f"{waited_s:g} s"
        code = self._end()
        if -code in CRASHES:
            return CRASHED, signal.Signals(-code).name
        return DEVICE_LOST, f"the worker is gone: {error}"

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
        wait_at_most(ours, START_WAIT_S)
        self._peer = ours
        login = self._login
        try:
            send(ours, [login.module, login.token, login.pin.text, login.is_officer])
            is_in, *answer = receive(ours)
        except PeerGone as error:
            raise error_of(*self._lost(error, START_WAIT_S)) from error
        if not is_in:
            self._end()
            refused = error_of(*answer)
            if answer[0] in FINAL:
                self._refused = refused
            raise refused
        wait_at_most(ours, self._wait_s)
        product, *can = answer[0]
        if self._can is None:
            self._can = _capabilities(*can, separates_roots=login.separates_roots)
            lacking = ",".join(self._can.lacking())
            log.info("hsm opened adapter=%s product=%s token=%s lacking=%s", ADAPTER, product, login.token, lacking)
        return ours

    def _end(self, *, is_killed: bool = False) -> int:
        """Let go of the worker of this process and see it end: its exit code, minus the signal that ended it."""
        process = self._process
        self._forget()
        if process is None:
            return 0
        try:
            return process.wait(0 if is_killed else END_WAIT_S)
        except subprocess.TimeoutExpired:
            log.warning("hsm worker hangs and is killed pid=%d", process.pid)
            process.kill()
            return process.wait()

    def _forget(self) -> None:
        if self._peer is not None:
            with suppress(OSError):
                self._peer.close()
        self._peer = self._process = None


def _capabilities(has_cmac: bool, has_ed25519: bool, wraps_keys: bool, *, separates_roots: bool) -> Capabilities:
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
        wraps_keys=wraps_keys,
        has_ed25519=has_ed25519,
        has_ml_dsa=False,
    )


def error_of(code: str, detail: str) -> HsmError:
    """The port's error for a code of the worker's."""
    code = "hsm-gone" if code == DEVICE_LOST else code
    kind: Callable[..., HsmError] = _RAISED.get(code, HsmError)
    return kind(f"hsm.{code.replace('-', '_')}", detail=detail)
