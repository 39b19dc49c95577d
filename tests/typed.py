"""Commands as a person types them: each in a process of its own, forked from one that has loaded the libraries.

Python and the libraries are most of a short command's time to load, and the same each time. So `python -W error
typed.py` loads them once and forks for each command: the child has the command's arguments, environment, folder and
descriptors, loads our modules itself (none is loaded before, so a missing import is found), and ends as
`python -m PROGRAM` ends.
"""

import atexit
import fcntl
import gc
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "PIL.ImageDraw", "PIL.ImageFont", "PIL.ImageOps", "alembic.config", "alembic.migration", "argon2",
    "asn1crypto.ocsp", "cbor2", "cryptography.hazmat.primitives.ciphers.aead", "cryptography.hazmat.primitives.cmac",
    "cryptography.hazmat.primitives.keywrap", "cryptography.hazmat.primitives.serialization", "cryptography.x509.ocsp",
    "openpyxl", "pkcs11", "pyhanko_certvalidator", "qrcode", "rich.progress", "smartcard.System",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "sqlalchemy.orm", "typer.main", "typer.rich_utils",
    "urllib.request", "uuid_utils.compat",
)  # fmt: skip
OURS = ("bench", "cardlink", "cardos", "demo", "hsm_sim", "issuer", "reader_daemon", "web")
MAX_REQUEST = 1 << 17
MAX_DESCRIPTORS = 16


def typed(
    program: str,
    words: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    typed_in: str = "",
    pass_fds: Sequence[int] = (),
    timeout_s: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run `python -W error -m PROGRAM WORDS`; nothing of it is a terminal. Raises TimeoutError."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(typed_in.encode())
        given.seek(0)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                asked = {
                    "program": program,
                    "words": list(words),
                    "env": dict(os.environ if env is None else env),
                    "cwd": str(cwd or Path.cwd()),
                    "fds": list(pass_fds),
                }
                standard = [theirs.fileno(), given.fileno(), out.fileno(), err.fileno()]
                socket.send_fds(_server(), [json.dumps(asked).encode()], [*standard, *pass_fds])
            ours.settimeout(timeout_s)
            answer = ours.recv(16)
        if not answer:
            raise ChildProcessError("the process that forks commands has ended")
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([program, *words], int(answer), out.read().decode(), err.read().decode())


@cache
def _server() -> socket.socket:
    """Where the process that forks is asked; one for each worker. It ends when this end is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-W", "error", __file__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


# --- the process that forks


def serve(asking: socket.socket) -> tuple[str, list[str]]:
    """Fork for each request; returns in the child, with the program to run and its arguments."""
    poll = select.poll()
    poll.register(asking, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}  # by pidfd: the process, and where its exit code is waited for
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                pid, reply = running.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                os.write(reply, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                os.close(reply)
                continue
            request, fds, _, _ = socket.recv_fds(asking, MAX_REQUEST, MAX_DESCRIPTORS)
            if not request:
                asking.close()
                sys.exit(0)
            pid = os.fork()
            if pid == 0:
                others = [asking.detach(), *running, *(reply for _, reply in running.values())]
                return _become(json.loads(request), fds, others)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = (pid, fds[0])
            poll.register(pidfd, select.POLLIN)
            for fd in fds[1:]:
                os.close(fd)


def _become(asked: dict[str, Any], fds: list[int], others: list[int]) -> tuple[str, list[str]]:
    """Take the command's descriptors, environment and folder."""
    for fd in (*others, fds[0]):
        os.close(fd)
    numbers = [0, 1, 2, *asked["fds"]]
    # Out of the way first: a descriptor may have come in under a number that another one must get.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1 + max(*fds, *numbers)) for fd in fds[1:]]
    for fd in fds[1:]:
        os.close(fd)
    for fd, number in zip(moved, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    return asked["program"], asked["words"]


def main() -> None:
    """Load the libraries, then be each command that is asked for."""
    for name in LIBRARIES:
        import_module(name)
    loaded = [name for name in sys.modules if name.partition(".")[0] in OURS]
    assert loaded == []
    gc.collect()
    gc.freeze()  # a child's collector need not go over all that again
    sys.path.pop(0)  # the tests' folder: a command finds ours as it does when it is installed
    program, words = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = words
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
