"""What the centre's process and the worker beside a PKCS#11 device say to each other: frames of CBOR, and refusals."""

import socket
from typing import Any

import cbor2

LENGTH_BYTES = 4
FRAME_MAX_BYTES = 16 * 1024 * 1024
DEVICE_LOST = "device-lost"
"""The device, its token or the session with it is gone. The worker ends after it; a new one begins afresh."""
SESSION_OPS = frozenset(
    {"wrap", "unwrap", "wrap_chain", "unwrap_chain", "put_keys", "check_put_keys", "put_secret", "close_session"}
)
ONCE_OPS = frozenset({"generate", "load_transport", "set_state", "reveal_pin"})
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


def send(peer: socket.socket, value: Any) -> None:
    """Send one frame. Raises PeerGone."""
    raw = cbor2.dumps(value)
    try:
        peer.sendall(len(raw).to_bytes(LENGTH_BYTES, "big") + raw)
    except OSError as error:
        raise PeerGone(str(error)) from error


def receive(peer: socket.socket) -> Any:
    """Receive one frame. Raises PeerGone."""
    size = int.from_bytes(_exactly(peer, LENGTH_BYTES), "big")
    if size > FRAME_MAX_BYTES:
        raise PeerGone(f"a frame of {size} bytes")
    try:
        return cbor2.loads(_exactly(peer, size))
    except cbor2.CBORDecodeError as error:
        raise PeerGone(str(error)) from error


def _exactly(peer: socket.socket, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        try:
            part = peer.recv(missing)
        except OSError as error:
            raise PeerGone(str(error)) from error
        if not part:
            raise PeerGone("closed")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
