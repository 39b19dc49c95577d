"""The lines that move running cards: from standard input, from a Unix socket, or none at all; and who sends them.

One line asks, one or more answer: lines of data, then one that begins with `ok` or `error`.
"""

import errno
import json
import logging
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cardlink.language.catalogue import Language, read_catalogue
from cardlink.piv.tables import Interface
from cardos.errors import Failed
from cardos.messages.catalogue import PACKAGE
from cardos.vpcd import Slots

log = logging.getLogger(__name__)

STDIN = "-"
NOWHERE = "none"
ENDS = ("ok", "error")
_NO_READER = "reader for "
Obeying = Callable[[str], str]
_SOCKET_PATH_MAX = 107  # unix(7), sun_path without its end


class Quit(Exception):
    """The line said so."""


def obey(line: str, slots: Slots, name: str = "card", trace: Path | None = None) -> str:
    """Do what one line says to a single card and return the answer. Raises Quit."""
    words = line.split()
    if len(words) == 3 and words[0] == "insert" and words[1] == name:
        words = [words[0], words[2]]
    match words:
        case ["insert", ("contact" | "contactless") as face]:
            return f"ok {face}" if slots.insert(Interface(face)) else f"error no reader for {face}"
        case ["remove"] | ["remove", _]:
            slots.remove()
            return "ok removed"
        case ["status"]:
            return f"ok {_place(slots) or 'removed'}"
        case ["list"]:
            return f"card {name} {_place(slots) or '-'}\nok 1"
        case ["trace"]:
            return f"ok {trace.absolute()}" if trace is not None else "error no trace"
        case ["quit"]:
            raise Quit
    return "error want: insert contact | insert contactless | remove | status | list | trace | quit"


def _place(slots: Slots) -> str | None:
    return slots.inserted.value if slots.inserted is not None else None


def default_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """Where a running card listens unless told otherwise: in the user's runtime directory, or in one made for it.

    Raises Failed when the place in the shared temporary directory belongs to somebody else.
    """
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "cardos.control"
    folder = Path(tempfile.gettempdir()) / f"cardos-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Failed("control.bad-folder", path=folder)
    return folder / "cardos.control"


def ask(path: Path, line: str) -> list[str]:
    """Send one line to a running card or fleet and give its answer. Raises Failed when nobody listens or it refuses."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            client.sendall(line.encode() + b"\n")
            answer: list[str] = []
            with client.makefile("r", encoding="utf-8") as lines:
                for one in lines:
                    answer.append(one.rstrip("\n"))
                    if one.startswith(ENDS):
                        break
    except OSError as error:
        raise Failed("control.nobody", path=path) from error
    # a process that was told to quit ends without an answer
    if answer and answer[-1].startswith("error"):
        raise refused(answer[-1])
    return answer


def refusal(failed: Failed) -> str:
    """A refusal as a line: its code and its facts, so that who asked can say it in their own language."""
    facts = {name: str(value) for name, value in failed.facts.items()}
    return f"error {failed.code} {json.dumps(facts)}"


def refused(line: str) -> Failed:
    """What a line that begins with `error` says."""
    match line.split(None, 2):
        case [_, code, facts] if facts.startswith("{") and code in read_catalogue(PACKAGE, Language.VI):
            return Failed(code, **json.loads(facts))
        case [_, "no", said] if said.startswith(_NO_READER):
            return Failed("control.no-reader", slot=said.removeprefix(_NO_READER))
    return Failed("control.refused", answer=line.removeprefix("error").strip())


def run_control(where: str | None, obeying: Obeying, say: Callable[[str], None]) -> None:
    """Obey lines until one says quit or their source ends; without a source wait for a signal."""
    try:
        if where is None or where == NOWHERE:
            while True:
                signal.pause()
        elif where == STDIN:
            _obey_all(sys.stdin, obeying, say)
        else:
            _listen(Path(where), obeying)
    except Quit:
        return


def is_taken(path: Path) -> bool:
    """Does a living process listen there. The socket of one that was killed is removed."""
    try:
        _clear_stale(path)
    except OSError:
        return True
    return False


def _obey_all(lines: Iterable[str], obeying: Obeying, say: Callable[[str], None]) -> None:
    for line in lines:
        if line.strip():
            say(obeying(line))


def _listen(path: Path, obeying: Obeying) -> None:
    """One client after the other; only the own user may connect."""
    _clear_stale(path)
    # The socket listens before it gets its name: whoever sees it can connect.
    unnamed = path.with_name(f"{path.name}.{os.getpid()}")
    if len(os.fsencode(unnamed)) > _SOCKET_PATH_MAX:
        raise Failed("control.long", path=path, most=_SOCKET_PATH_MAX)
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
                    _serve_client(client, obeying)
        finally:
            path.unlink(missing_ok=True)


def _serve_client(client: socket.socket, obeying: Obeying) -> None:
    try:
        with client.makefile("r", encoding="utf-8") as lines:
            _obey_all(lines, obeying, lambda answer: client.sendall(f"{answer}\n".encode()))
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
