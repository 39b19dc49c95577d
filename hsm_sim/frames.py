"""How client and server talk: 4 bytes of length, then one CBOR array in the shortest form.

A request is [operation, argument, ...], an answer [true, result] or [false, code, detail]. Only text, bytes, integers,
booleans, null, arrays and maps occur; what is not written exactly as we would write it is refused.
"""

import os
import select
import socket
import threading
import time
from functools import lru_cache
from typing import Any

import cbor2

from hsm_sim.errors import BadRequest

PROTOCOL = 1
LOGIN = "login"  # the first request: role, PIN, protocol
FRAME_MAX_BYTES = 1 << 20
HEAD_BYTES = 4
DEPTH_MAX = 8
READ_BYTES = 1 << 16
TAIL_MAX_BYTES = 4096  # longer ones take so long themselves that their frame's head does not count
SHAPES_MAX = 256
KNOWN_HEAD_MAX_BYTES = 256

PLAIN = (str, int, bool)

LOOK_S = 400e-6  # some ten signatures, and as a rule what a flush of the log takes
LOOKS_AT_ONCE = 16
SHORT_WAIT_S = 600e-6  # a look, and the time a processor takes to wake
SHORT_WAITS_MAX = 64  # after a row of looks in vain


def encode_frame(value: list[Any]) -> bytes:
    """Write one frame."""
    body = cbor2.dumps(value)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


@lru_cache(maxsize=1024, typed=True)
def _head(size: int, *front: str | int) -> bytes:
    """A frame up to the byte string of `size` bytes that ends it; `front` are the items before that."""
    body = cbor2.dumps([*front, bytes(size)])
    return len(body).to_bytes(HEAD_BYTES, "big") + body[: len(body) - size]


def encode_tailed_frame(tail: bytes, *front: str | int) -> bytes:
    """Write a frame that ends in a byte string, as most do. `front` is remembered: no secrets there."""
    if type(tail) is bytes and len(tail) <= TAIL_MAX_BYTES:
        try:
            return _head(len(tail), *front) + tail
        except TypeError:  # what cannot be remembered is written anew, and refused at the other end
            return encode_frame([*front, tail])
    return encode_frame([*front, tail])


def decode_body(body: bytes, is_strict: bool = True) -> list[Any]:
    """Read the array of one frame. Raises BadRequest for anything but an array, strictly: in its one form."""
    try:
        value = cbor2.loads(body, max_depth=DEPTH_MAX, allow_indefinite=False, allow_duplicate_keys=False)
        if isinstance(value, list) and value and (not is_strict or cbor2.dumps(value) == body):
            return value
    except (cbor2.CBORError, ValueError) as error:
        raise BadRequest("frame is no CBOR") from error
    raise BadRequest("frame is no array in its shortest form")


class Lookout:
    """Waits for the other end's bytes: by looking again and again while they come fast, else asleep.

    A processor that went to sleep between two calls takes longer to wake than a signature takes. So where the last
    waits were short, the next one begins with `LOOK_S` of looks, between which others may have the processor. A look
    in vain (nothing came, or somebody else had the processor so long) is followed by sleeping waits until enough of
    them were short again: an idle connection costs nothing, and a slow one next to nothing. `turn` lets one of several
    connections look at a time.
    """

    __slots__ = ("_after_a_miss", "_due", "_is_there", "_socket", "_turn")

    def __init__(self, connected: socket.socket, turn: threading.Lock) -> None:
        self._socket = connected
        self._turn = turn
        self._due = self._after_a_miss = 1
        looks = select.poll()
        looks.register(connected, select.POLLIN)
        self._is_there = looks.poll

    @property
    def is_looking(self) -> bool:
        """Would the next wait begin with looks?"""
        return not self._due

    def _look(self) -> None:
        """Look for a while; what is waited for may be there on return."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            is_there, now_s = self._is_there, time.perf_counter
            until_s = now_s() + LOOK_S
            while now_s() < until_s:
                for _ in range(LOOKS_AT_ONCE):
                    if is_there(0):
                        if self._after_a_miss > 1:
                            self._after_a_miss -= 1
                        return
                os.sched_yield()
        finally:
            self._turn.release()
        self._due = self._after_a_miss
        self._after_a_miss = min(2 * self._after_a_miss, SHORT_WAITS_MAX)

    def read(self) -> bytes:
        """Wait for bytes; b"" when the other end is gone."""
        if not self._due:
            self._look()
            return self._socket.recv(READ_BYTES)
        started_s = time.perf_counter()
        part = self._socket.recv(READ_BYTES)
        if time.perf_counter() - started_s < SHORT_WAIT_S:
            self._due -= 1
        return part


class FrameSocket:
    """A stream socket that sends and receives whole frames. One thread at a time.

    The server reads strictly; the client does not pay for doubting the HSM that it logged in to.
    """

    __slots__ = ("_held", "_is_strict", "_lookout", "_shapes", "_socket")

    def __init__(self, connected: socket.socket, lookout: Lookout | None = None, is_strict: bool = True) -> None:
        self._socket = connected
        self._lookout = lookout
        self._is_strict = is_strict
        self._held = b""
        self._shapes: dict[int, tuple[bytes, list[Any]]] = {}

    def send(self, value: list[Any]) -> None:
        """Send one frame; OSError when the other end is gone."""
        self._socket.sendall(encode_frame(value))

    def send_raw(self, frame: bytes) -> None:
        """Send a frame that is written already; OSError when the other end is gone."""
        self._socket.sendall(frame)

    def receive(self) -> list[Any]:
        """Wait for one frame. Raises ConnectionError when the other end is gone, BadRequest for a broken frame."""
        held = self._held or self._read()
        shape = self._shapes.get(len(held))
        if shape is not None and held.startswith(shape[0]):
            self._held = b""
            return [*shape[1], held[len(shape[0]) :]]
        while len(held) < HEAD_BYTES:
            held += self._read()
        end = HEAD_BYTES + int.from_bytes(held[:HEAD_BYTES], "big")
        if end > HEAD_BYTES + FRAME_MAX_BYTES:
            raise BadRequest(f"frame of {end} bytes")
        if len(held) < end:
            parts, size = [held], len(held)
            while size < end:
                parts.append(self._read())
                size += len(parts[-1])
            held = b"".join(parts)
        self._held = held[end:]
        value = decode_body(held[HEAD_BYTES:end], self._is_strict)
        self._remember(held[:end], value)
        return value

    def _remember(self, frame: bytes, value: list[Any]) -> None:
        """Know the next frame that is this one but for the byte string at its end: its head is judged already.

        Byte strings further up may be secrets; what has some is read anew each time.
        """
        *front, tail = value
        if type(tail) is not bytes or len(tail) > TAIL_MAX_BYTES or not all(type(one) in PLAIN for one in front):
            return
        head = frame[: len(frame) - len(tail)]
        if len(head) <= KNOWN_HEAD_MAX_BYTES:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            self._shapes[len(frame)] = head, front

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self) -> bytes:
        part = self._socket.recv(READ_BYTES) if self._lookout is None else self._lookout.read()
        if not part:
            raise ConnectionResetError("closed by the other end")
        return part
