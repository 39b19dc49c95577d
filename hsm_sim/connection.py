"""The client's end of the socket: login, one call after the other, and a new connection where the old one broke."""

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from hsm_sim.errors import BadRequest, Denied, HsmError, HsmGone, PinLocked, SessionLost, WrongPin, error_from_wire
from hsm_sim.frames import LOGIN, PROTOCOL, FrameSocket, Lookout, encode_frame, encode_tailed_frame
from hsm_sim.keys import Role
from hsm_sim.policy import Op

log = logging.getLogger(__name__)

ANSWER_WAIT = struct.pack("ll", 30, 0)  # struct timeval: 30 s
RETRY_WAIT_S = 0.02
SESSION_OPS = frozenset(
    {
        *(Op.WRAP, Op.UNWRAP, Op.WRAP_CHAIN, Op.UNWRAP_CHAIN),
        *(Op.PUT_KEYS, Op.CHECK_PUT_KEYS, Op.PUT_SECRET, Op.CLOSE_SESSION),
    }
)
# What may be asked again when the connection broke and nobody knows whether it was done.
REPEATABLE_OPS = (
    frozenset(Op)
    - SESSION_OPS
    - {Op.GENERATE, Op.LOAD_TRANSPORT, Op.LOAD_COMPONENT, Op.UNWRAP_KEY, Op.SET_STATE, Op.DESTROY, Op.REVEAL_PIN}
    - {Op.ADD_PERSON, Op.REMOVE_PERSON, Op.PROPOSE, Op.APPROVE, Op.CARRY_OUT, Op.ROTATE_LOG_KEY}
)


class Connection:
    """A connection under one role that survives restarts of the HSM and forks of its own process."""

    def __init__(self, socket_path: Path | str, role: Role | str, pin: str, wait_s: float = 5.0) -> None:
        self._path = str(socket_path)
        self._role = str(role)
        self._pin = pin
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._frames: FrameSocket | None = None
        self._process = os.getpid()
        self._refused: HsmError | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r}, {self._role!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        with self._lock:
            self._drop()

    def call(self, op: Op, args: Sequence[Any] = ()) -> Any:
        """Make one call and give its result, or raise the error that the HSM answered with."""
        return self._exchange(op, encode_frame([str(op), *args]))

    def call_with(self, op: Op, data: bytes, *front: str | int) -> Any:
        """The same for a call whose last argument is a byte string and whose others are no secrets: it costs less."""
        return self._exchange(op, encode_tailed_frame(data, str(op), *front))

    def _exchange(self, op: Op, request: bytes) -> Any:
        deadline = time.monotonic() + self._wait_s  # from here: who waits behind others waits for the HSM too
        with self._lock:
            if self._refused:
                raise self._refused
            while True:
                frames = self._frames
                if frames is None or self._process != os.getpid():
                    frames = self._connected(op, deadline)
                try:
                    frames.send_raw(request)
                    answer = frames.receive()
                    break
                except (OSError, BadRequest) as error:
                    self._drop()
                    if op in SESSION_OPS:
                        raise SessionLost("the connection broke") from error
                    if op not in REPEATABLE_OPS or time.monotonic() > deadline:
                        raise HsmGone(f"the connection broke in {op}") from error
                    log.info("hsm connection lost, trying again op=%s", op)
        if answer[0] is True:
            return answer[1]
        raise error_from_wire(*answer[1:])

    def _connected(self, op: Op, deadline: float) -> FrameSocket:
        """The connection, made anew where it is missing or was inherited over a fork."""
        if self._process != os.getpid():
            self._drop()
            self._process = os.getpid()
        if self._frames:
            return self._frames
        if op in SESSION_OPS:
            raise SessionLost("the connection is gone, and the session with it")
        while True:
            try:
                self._frames = self._connect()
                return self._frames
            except (OSError, BadRequest) as error:
                if time.monotonic() > deadline:
                    reason = error.reason if isinstance(error, HsmError) else ""
                    raise HsmGone(f"nobody answers at {self._path}", reason) from error
            time.sleep(RETRY_WAIT_S)

    def _connect(self) -> FrameSocket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # a time limit kept by the kernel: Python's own costs a poll before each send and receive
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, ANSWER_WAIT)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, ANSWER_WAIT)
            connected.connect(self._path)
            frames = FrameSocket(connected, Lookout(connected, threading.Lock()), is_strict=False)
            frames.send([LOGIN, self._role, self._pin, PROTOCOL])
            answer = frames.receive()
        except BaseException:
            connected.close()
            raise
        if answer[0] is True:
            return frames
        connected.close()
        refused = error_from_wire(*answer[1:])
        if isinstance(refused, Denied | WrongPin | PinLocked):
            # asking again by itself would lock the role
            self._refused = refused
        raise refused

    def _drop(self) -> None:
        if self._frames:
            self._frames.close()
            self._frames = None
