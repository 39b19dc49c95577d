"""A real pcscd with the virtual reader, in namespaces of its own.

The virtual reader's driver listens on all interfaces and asks nobody for a password, and pcscd always uses
`/run/pcscd`. So each pcscd here lives in its own network namespace (only loopback) and its own mount namespace
(a private directory bound over `/run/pcscd`). Clients outside find it through `PCSCLITE_CSOCK_NAME`; virtual
cards are started inside the network namespace.
"""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

DRIVER = Path(__file__).resolve().parent.parent / ".cache" / "vpcd" / "libifdvpcd.so"
CONTACT_PORT = 35963
CONTACTLESS_PORT = 35964
NAME = "Virtual PCD"
CONTACT_READER = f"{NAME} 00 00"
CONTACTLESS_READER = f"{NAME} 00 01"
START_TIMEOUT_S = 10.0


class NoVirtualReader(Exception):
    """The virtual reader can't be had here; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class VirtualReader:
    """A running pcscd: where its socket is, and how to start a program that can reach its card ports."""

    socket: Path
    pid: int
    enter: tuple[str, ...]

    def environ(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which a PC/SC client finds this pcscd."""
        return {**(os.environ if base is None else base), "PCSCLITE_CSOCK_NAME": str(self.socket)}


def unavailable() -> str | None:
    """Say in one line why no virtual reader can be started here, or None when it can."""
    if not shutil.which("pcscd", path=_path()):
        return "pcscd is not installed (apt-get install pcscd)"
    if not DRIVER.exists():
        return f"the virtual reader's driver is missing ({DRIVER.name}; ./run demo fetches it)"
    if not all(shutil.which(name) for name in ("unshare", "nsenter", "setpriv")):
        return "unshare, nsenter or setpriv is missing (apt-get install util-linux)"
    # Binding a directory is what a container without the right to mount refuses; unshare alone may still succeed there.
    attempt = subprocess.run(
        [*_unshare(), "sh", "-c", "mount --bind /tmp /mnt && ip link set lo up"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": _path()},
    )
    if attempt.returncode:
        why = (attempt.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"this machine refuses namespaces ({why})"
    return None


@contextmanager
def virtual_reader(driver: Path = DRIVER, name: str = NAME) -> Iterator[VirtualReader]:
    """Run a pcscd with one virtual reader (slot 0 contact, slot 1 contactless) and end it afterwards.

    `name` is for programs that look at readers of certain makers only; pcscd adds numbers of reader and slot to it.
    Raises NoVirtualReader with one line of reason.
    """
    if reason := unavailable():
        raise NoVirtualReader(reason)
    # A Unix socket's path has at most 107 bytes, so not below a deep TMPDIR.
    home = Path(tempfile.mkdtemp(prefix="themo-pcsc-", dir="/tmp"))
    try:
        run = home / "run"
        run.mkdir()
        conf = home / "reader.conf"
        conf.write_text(
            f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:0x{CONTACT_PORT:X}\n'
            f"LIBPATH {driver.resolve()}\nCHANNELID 0x{CONTACT_PORT:X}\n",
            encoding="ascii",
        )
        with (home / "pcscd.log").open("wb") as output:
            outer = subprocess.Popen(
                [*_ENDS_WITH_US, *_unshare(), "sh", "-c", _INSIDE, "sh", str(run), str(conf)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PATH": _path()},
            )
        try:
            inner = _wait_ready(outer, run / "pcscd.comm", home / "pcscd.log")
            enter = (
                "nsenter",
                *(() if os.geteuid() == 0 else ("-U", "--preserve-credentials")),
                "-n",
                "-t",
                str(inner),
            )
            yield VirtualReader(run / "pcscd.comm", inner, enter)
        finally:
            _end(outer)
    finally:
        shutil.rmtree(home, ignore_errors=True)


# /run/pcscd may not exist (no system pcscd); then a private tmpfs makes room for it, in this namespace only.
_INSIDE = """
[ -d /run/pcscd ] || { mount -t tmpfs tmpfs /run && mkdir /run/pcscd; } || exit 1
mount --bind "$1" /run/pcscd && ip link set lo up && exec pcscd --foreground --error --config "$2"
"""

# unshare gets SIGKILL when the thread that started it ends, however that is, and takes pcscd with it (--kill-child).
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _unshare() -> list[str]:
    return ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "-n", "--fork", "--kill-child"]


def _wait_ready(outer: subprocess.Popen[bytes], socket: Path, output: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if outer.poll() is not None:
            raise NoVirtualReader(f"pcscd did not start: {output.read_text(errors='replace').strip()[-200:]}")
        inner = _child_of(outer.pid)
        if inner is not None and socket.exists():
            return inner
        time.sleep(0.02)
    raise NoVirtualReader(f"pcscd was not ready after {START_TIMEOUT_S:.0f} s")


def _child_of(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def _end(outer: subprocess.Popen[bytes]) -> None:
    """End pcscd itself: unshare does not pass signals on, and --kill-child only helps when unshare dies."""
    inner = _child_of(outer.pid)
    if inner is not None:
        try:
            os.kill(inner, signal.SIGTERM)
        except ProcessLookupError:
            log.debug("pcscd was gone already")
    try:
        outer.wait(5)
    except subprocess.TimeoutExpired:
        outer.kill()
        outer.wait(5)
