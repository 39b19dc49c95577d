"""The lines that move a running card: from standard input, from a Unix socket, or none at all."""

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from cardlink.piv.tables import Interface
from cardos.vpcd import Slots

log = logging.getLogger(__name__)

STDIN = "-"


class Quit(Exception):
    """The line said so."""


def obey(line: str, slots: Slots) -> str:
    """Do what one line says and return the answer, which begins with "ok" or "error". Raises Quit."""
    match line.split():
        case ["insert", ("contact" | "contactless") as name]:
            return f"ok {name}" if slots.insert(Interface(name)) else f"error no reader for {name}"
        case ["remove"]:
            slots.remove()
            return "ok removed"
        case ["status"]:
            inserted = slots.inserted
            return f"ok {inserted.value if inserted is not None else 'removed'}"
        case ["quit"]:
            raise Quit
    return "error want: insert contact | insert contactless | remove | status | quit"


def run_control(where: str | None, slots: Slots, say: Callable[[str], None]) -> None:
    """Obey lines until one says quit or their source ends; without a source wait for a signal."""
    try:
        if where is None:
            while True:
                signal.pause()
        elif where == STDIN:
            _obey_all(sys.stdin, slots, say)
        else:
            _listen(Path(where), slots)
    except Quit:
        return


def _obey_all(lines: Iterable[str], slots: Slots, say: Callable[[str], None]) -> None:
    for line in lines:
        if line.strip():
            say(obey(line, slots))


def _listen(path: Path, slots: Slots) -> None:
    """One client after the other; only the own user may connect."""
    _clear_stale(path)
    # The socket listens before it gets its name: whoever sees it can connect.
    unnamed = path.with_name(f"{path.name}.{os.getpid()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        mask = os.umask(0o177)
        try:
            server.bind(str(unnamed))
        finally:
            os.umask(mask)
        try:
            server.listen()
            os.link(unnamed, path)
        finally:
            unnamed.unlink()
        try:
            while True:
                client, _ = server.accept()
                with client:
                    _serve_client(client, slots)
        finally:
            path.unlink(missing_ok=True)


def _serve_client(client: socket.socket, slots: Slots) -> None:
    try:
        with client.makefile("r", encoding="utf-8") as lines:
            _obey_all(lines, slots, lambda answer: client.sendall(f"{answer}\n".encode()))
    except OSError as error:
        log.debug("control client left reason=%s", error)


def _clear_stale(path: Path) -> None:
    """Remove the socket of a process that was killed. Raises OSError when somebody still answers there."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))
