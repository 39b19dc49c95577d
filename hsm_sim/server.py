"""The HSM's Unix socket: who may connect, login, and one thread a connection."""

import errno
import logging
import select
import signal
import socket
import struct
import threading
from collections.abc import Collection
from pathlib import Path

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Denied, HsmError
from hsm_sim.frames import LOGIN, PROTOCOL, FrameSocket, Lookout, encode_frame, encode_tailed_frame

log = logging.getLogger(__name__)

LOGIN_WAIT_S = 10.0
CONNECTIONS_MAX = 64
READ_AT_ONCE = 4096
UCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class SocketTaken(Exception):
    """Another process answers at that socket."""


def peer_uid(connected: socket.socket) -> int:
    """The user who made the connection, as the kernel knows it (SO_PEERCRED)."""
    _, uid, _ = UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    return int(uid)


class Server:
    """Listens for clients of the allowed users. `serve` runs until `stop`."""

    def __init__(self, listener: socket.socket, path: Path, allowed_uids: Collection[int]) -> None:
        self._path = path
        self._allowed_uids = frozenset(allowed_uids)
        self._free = threading.Semaphore(CONNECTIONS_MAX)
        self._looking = threading.Lock()
        self._listener = listener

    def serve(self, hsm: Hsm, wake: socket.socket) -> None:
        """Accept connections until the listener is closed; `wake` as for `next_connection`."""
        self._hsm = hsm
        while True:
            try:
                connected = next_connection(self._listener, wake)
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                log.warning("hsm refused a connection reason=too-many")
                connected.close()
                continue
            threading.Thread(target=self._talk, args=(connected,), name="hsm-client", daemon=True).start()

    def stop(self) -> None:
        """Stop listening and take the socket away."""
        self._path.unlink(missing_ok=True)
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        finally:
            self._listener.close()

    def _talk(self, connected: socket.socket) -> None:
        frames = FrameSocket(connected, Lookout(connected, self._looking))
        uid = peer_uid(connected)
        peer: Peer | None = None
        try:
            connected.settimeout(LOGIN_WAIT_S)
            peer = self._login(frames, uid)
            connected.settimeout(None)
            while True:
                request = frames.receive()
                try:
                    result = self._hsm.call(peer, request[0], request[1:])
                except HsmError as error:
                    frames.send(error.to_wire())
                else:
                    if type(result) is bytes:
                        frames.send_raw(encode_tailed_frame(result, True))
                    else:
                        frames.send_raw(encode_frame([True, result]))
        except HsmError as error:
            log.warning("hsm closed a connection uid=%d reason=%s", uid, error)
            _tell(frames, error)
        except OSError as error:
            log.debug("hsm client left uid=%d reason=%s", uid, error)
        finally:
            for session in peer.sessions.values() if peer else ():
                session.channel.close()
            frames.close()
            self._free.release()

    def _login(self, frames: FrameSocket, uid: int) -> Peer:
        if uid not in self._allowed_uids:
            self._hsm.log.append("", uid, LOGIN, Denied.code, "", "user")
            raise Denied(f"user {uid} may not use this HSM")
        request = frames.receive()
        match request:
            case [first, str(role), str(pin), int(protocol)] if first == LOGIN and protocol == PROTOCOL:
                peer = self._hsm.login(role, pin, uid)
            case _:
                raise BadRequest(f"want a login of protocol {PROTOCOL} first")
        frames.send([True, PROTOCOL])
        return peer


def _tell(frames: FrameSocket, error: HsmError) -> None:
    """Say why the connection ends, if the other end still listens."""
    try:
        frames.send(error.to_wire())
    except OSError as gone:
        log.debug("hsm client did not wait for %s: %s", error.code, gone)


def signal_wake() -> socket.socket:
    """A socket that becomes readable when a signal came. Main thread only."""
    ring, wake = socket.socketpair()
    ring.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(ring.detach(), warn_on_full_buffer=False)
    return wake


def next_connection(listener: socket.socket, wake: socket.socket) -> socket.socket:
    """Wait for a connection. Raises OSError once the listener is closed, by a signal's handler for instance.

    A plain `accept` would sleep on when the kernel gave the signal to another thread of this process: its handler runs
    in this one, as soon as this one wakes. So `wake` (`signal_wake`) is waited for as well.
    """
    listener.setblocking(False)
    while listener.fileno() >= 0:
        ready, _, _ = select.select([listener, wake], [], [])
        if wake in ready:
            wake.recv(READ_AT_ONCE)
        elif listener.fileno() >= 0:
            try:
                connected, _ = listener.accept()
            except BlockingIOError:
                continue
            connected.setblocking(True)
            return connected
    raise OSError(errno.EBADF, "the listener is closed")


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`. A dead one left by a killed process is replaced; a live one is not."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(path))
    except FileNotFoundError:
        pass
    except ConnectionRefusedError:
        path.unlink()
    else:
        raise SocketTaken(f"{path} is in use")
    finally:
        probe.close()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # the process's umask makes the file private at bind; only then does it get the mode it is to have
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(CONNECTIONS_MAX)
    return listener
