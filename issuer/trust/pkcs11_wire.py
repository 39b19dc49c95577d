"""What the centre's process and the worker beside a PKCS#11 device say to each other: frames of CBOR, and refusals."""

import socket
import struct
from typing import Any

import cbor2

LENGTH_BYTES = 4
FRAME_MAX_BYTES = 16 * 1024 * 1024
READ_BYTES, READ_MORE_BYTES = 4096, 1024 * 1024
DEVICE_LOST = "device-lost"
"""The device, its token or the session with it is gone. The worker ends after it; a new one begins afresh."""
SESSION_OPS = frozenset(
    {"wrap", "unwrap", "wrap_chain", "unwrap_chain", "put_keys", "check_put_keys", "put_secret", "close_session"}
)
NO_ANSWER, CRASHED = "no-answer", "module-crashed"
"""The worker said nothing within the time, and was killed; the module ended the worker in the midst of a call."""
ONCE_OPS = frozenset({"generate", "load_transport", "load_component", "unwrap_key", "set_state", "reveal_pin"})
"""What is not asked again by itself when nobody knows whether it was done."""


class Refused(Exception):
    """The device or the worker said no. `code` is a code of the port's errors, `detail` a fact, never a secret."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class PeerGone(Exception):
    """The other end of the socket is gone, or what came from it is no frame."""


class PeerSilent(PeerGone):
    """The other end is there, and says nothing for longer than the socket waits."""


def wait_at_most(peer: socket.socket, wait_s: float) -> None:
    """Let the kernel end a wait for the other end: Python's own time limit asks it twice for each read."""
    whole_s = int(wait_s)
    limit = struct.pack("@ll", whole_s, int((wait_s - whole_s) * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        peer.setsockopt(socket.SOL_SOCKET, option, limit)


def send(peer: socket.socket, value: Any) -> None:
    """Send one frame. Raises PeerGone."""
    raw = cbor2.dumps(value)
    try:
        peer.sendall(len(raw).to_bytes(LENGTH_BYTES, "big") + raw)
    except BlockingIOError as error:
        raise PeerSilent(str(error)) from error
    except OSError as error:
        raise PeerGone(str(error)) from error


def receive(peer: socket.socket) -> Any:
    """Receive one frame. Raises PeerGone.

    The two ends take turns, so that what is there is one frame or its beginning: mostly one system call gets it whole.
    """
    read = _some(peer, READ_BYTES)
    while len(read) < LENGTH_BYTES:
        read += _some(peer, READ_BYTES)
    end = LENGTH_BYTES + int.from_bytes(read[:LENGTH_BYTES], "big")
    if end > FRAME_MAX_BYTES or len(read) > end:
        raise PeerGone(f"a frame of {end - LENGTH_BYTES} bytes, {len(read)} came")
    while len(read) < end:
        read += _some(peer, min(end - len(read), READ_MORE_BYTES))
    try:
        return cbor2.loads(read[LENGTH_BYTES:])
    except cbor2.CBORDecodeError as error:
        raise PeerGone(str(error)) from error


def _some(peer: socket.socket, at_most: int) -> bytes:
    try:
        part = peer.recv(at_most)
    except BlockingIOError as error:
        raise PeerSilent(str(error)) from error
    except OSError as error:
        raise PeerGone(str(error)) from error
    if not part:
        raise PeerGone("closed")
    return part
