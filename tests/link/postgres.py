"""A real PostgreSQL server for tests: its own data, a socket in a private folder, no TCP, gone afterwards.

PostgreSQL refuses to run as root, so root starts it as the user `postgres` or `nobody`. The collation is the
Vietnamese one of ICU on purpose: nothing of ours may depend on the database's own order.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_WITHIN_S = 60
OWNER = "themo"


def programs() -> Path:
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise FileNotFoundError("no PostgreSQL server in /usr/lib/postgresql: apt-get install postgresql")
    return found[-1].parent


def unprivileged() -> str | None:
    """The user that the server runs as; None for our own."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def server() -> Iterator[Path]:
    """Run a server; gives the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="themo-pg-"))
    user = unprivileged()
    if user is not None:
        shutil.chown(folder, user)
    account = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    plain = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    log = folder / "log"
    log.touch()
    log.chmod(0o666)
    try:
        subprocess.run(
            [
                programs() / "initdb", "-D", folder / "data", "-U", OWNER, "--auth=trust", "--encoding=UTF8",
                "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=vi", "--no-sync", "--no-instructions",
            ],
            check=True, cwd=folder, env=plain, capture_output=True, **account,
        )  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    programs() / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
                    "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=40",
                ],
                cwd=folder, env=plain, stdout=output, stderr=output, **account,
            )  # fmt: skip
        try:
            _wait(process, folder)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
            process.wait(START_WITHIN_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_database(folder: Path, name: str) -> str:
    """Make an empty database; gives its URL."""
    subprocess.run(
        [programs() / "createdb", "-h", folder, "-U", OWNER, "-T", "template0", name],
        check=True, cwd="/", capture_output=True,
    )  # fmt: skip
    return f"postgresql+psycopg://{OWNER}@/{name}?host={folder}"


def _wait(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        ready = subprocess.run([programs() / "pg_isready", "-q", "-h", folder, "-U", OWNER], check=False, cwd="/")
        if ready.returncode == 0:
            return
        time.sleep(0.05)
    raise TimeoutError((folder / "log").read_text(errors="replace"))
