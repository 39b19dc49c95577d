"""How client and server talk: 4 bytes of length, then one CBOR array in the shortest form.

A request is [operation, argument, ...], an answer [true, result] or [false, code, detail]. Only text, bytes, integers,
booleans, null, arrays and maps occur; what is not written exactly as we would write it is refused.
"""

import socket
from typing import Any

import cbor2

from hsm_sim.errors import BadRequest

PROTOCOL = 1
LOGIN = "login"  # the first request: role, PIN, protocol
FRAME_MAX_BYTES = 1 << 20
HEAD_BYTES = 4
DEPTH_MAX = 8
READ_BYTES = 1 << 16


def encode_frame(value: list[Any]) -> bytes:
    """Write one frame."""
    body = cbor2.dumps(value)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def decode_body(body: bytes, is_strict: bool = True) -> list[Any]:
    """Read the array of one frame. Raises BadRequest for anything but an array, strictly: in its one form."""
    try:
        value = cbor2.loads(body, max_depth=DEPTH_MAX, allow_indefinite=False, allow_duplicate_keys=False)
        if isinstance(value, list) and value and (not is_strict or cbor2.dumps(value) == body):
            return value
    except (cbor2.CBORError, ValueError) as error:
        raise BadRequest("frame is no CBOR") from error
    raise BadRequest("frame is no array in its shortest form")


class FrameSocket:
    """A stream socket that sends and receives whole frames. One thread at a time.

    The server reads strictly; the client does not pay for doubting the HSM that it logged in to.
    """

    __slots__ = ("_held", "_is_strict", "_socket")

    def __init__(self, connected: socket.socket, is_strict: bool = True) -> None:
        self._socket = connected
        self._is_strict = is_strict
        self._held = b""

    def send(self, value: list[Any]) -> None:
        """Send one frame; OSError when the other end is gone."""
        self._socket.sendall(encode_frame(value))

    def receive(self) -> list[Any]:
        """Wait for one frame. Raises ConnectionError when the other end is gone, BadRequest for a broken frame."""
        held = self._held or self._read()
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
        return decode_body(held[HEAD_BYTES:end], self._is_strict)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self) -> bytes:
        part = self._socket.recv(READ_BYTES)
        if not part:
            raise ConnectionResetError("closed by the other end")
        return part
