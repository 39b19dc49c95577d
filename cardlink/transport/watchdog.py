"""A bound on calls into the PC/SC library that would wait for ever: a mute card, a stuck driver, another's transaction.

PC/SC has no time-out for an exchange and no way to cancel one. With pcsc-lite every session is one Unix socket of this
process; shutting it down ends the call that waits on it, with an error, at once. It costs an exchange one assignment;
passing each APDU to a thread and waiting for that would cost tens of microseconds. Where there is no such socket
(Windows), the time-outs of the driver hold instead.
"""

import math
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TICK_S = 0.2
_DAEMON_SOCKET = "pcscd.comm"
_OPEN_FILES = Path("/proc/self/fd")
_ONE_AT_A_TIME = threading.Lock()


class Watchdog:
    """Watches one PC/SC session from a thread of its own, which ends with `close`.

    `deadline` is monotonic time, infinite while nothing waits; `has_bitten` says that the session was cut for it.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self.has_bitten = False
        self._sockets: tuple[socket.socket, ...] = ()
        self._ended = threading.Event()

    def watch(self, sockets: tuple[socket.socket, ...]) -> None:
        """Start watching a session; without sockets there is nothing that could be cut."""
        self._sockets = sockets
        if sockets:
            threading.Thread(target=self._run, name="pcsc watchdog", daemon=True).start()

    @contextmanager
    def limit(self, wait_s: float) -> Iterator[None]:
        """Cut the session when the block takes longer than `wait_s`, give or take one tick."""
        self.deadline = time.monotonic() + wait_s
        try:
            yield
        finally:
            self.deadline = math.inf

    def close(self) -> None:
        """Stop watching."""
        self.deadline = math.inf
        self._ended.set()
        for one in self._sockets:
            one.close()

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            if time.monotonic() > self.deadline:
                self.has_bitten = True
                for one in self._sockets:
                    _cut(one)
                return


def _cut(one: socket.socket) -> None:
    """Shut the connection down for both sides; the library still holds its own descriptor and closes that itself."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        # closed by `close` or by the daemon in this very moment: then nobody waits on it any more
        return


def _daemon_sockets() -> dict[int, int]:
    """This process's connections to pcscd: inode by descriptor. Empty where there is no /proc."""
    found: dict[int, int] = {}
    try:
        names = os.listdir(_OPEN_FILES)
    except FileNotFoundError:
        return found
    for name in names:
        try:
            status = os.fstat(int(name))
            if not stat.S_ISSOCK(status.st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family == socket.AF_UNIX and os.path.basename(one.getpeername()) == _DAEMON_SOCKET:
                    found[int(name)] = status.st_ino
        except OSError:
            continue  # closed by another thread since it was listed, or not connected
    return found


@contextmanager
def establishing() -> Iterator[Watchdog]:
    """Around SCardEstablishContext: finds the socket that the library opens in it and sets a watchdog over it."""
    watchdog = Watchdog()
    with _ONE_AT_A_TIME:
        before = _daemon_sockets()
        yield watchdog
        after = _daemon_sockets()
    watchdog.watch(tuple(socket.socket(fileno=os.dup(fd)) for fd, inode in after.items() if before.get(fd) != inode))
