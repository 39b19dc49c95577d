"""What persons hand to a command by file or descriptor, and what it hands back to them in files of their own."""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hsm_sim.keys import Role
from hsm_sim.store import SECRET_BYTES

SECRET_MAX_BYTES = 4096
TEXT_MAX_BYTES = 1 << 20


class BadSecret(Exception):
    """What came in is not what is wanted. `reason` as of an HsmError."""

    def __init__(self, detail: str, reason: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Given:
    """What an embedded HSM is handed at its start; at --init also PINs of the roles, and further officers by name."""

    store_secret: bytes
    pins: Mapping[Role, str]
    officers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Given(...)"


def read_text(path: Path) -> str:
    """Read a text file. Raises OSError, BadSecret for one that is no text."""
    with path.open("rb") as file:
        return _text(file.read(TEXT_MAX_BYTES), str(path))


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSecret(name, "file.text") from error


def read_once(descriptor: int | None, path: Path | None, what: str) -> str:
    """Read one line of a secret from a descriptor or a file. Raises OSError, BadSecret."""
    if (descriptor is None) == (path is None):
        raise BadSecret(f"want either --{what}-fd or --{what}-file", "secret.choice")
    with open(descriptor if descriptor is not None else str(path), "rb") as source:
        line = _text(source.readline(SECRET_MAX_BYTES), f"--{what}-file {path}" if path else f"--{what}-fd").strip()
    if not line:
        raise BadSecret(f"--{what}-file {path}" if path else f"--{what}-fd", "file.empty")
    return line


def read_secret(descriptor: int | None, path: Path | None) -> Given:
    """Read the store's secret and, where they are given, the PINs. Raises BadSecret."""
    try:
        told = json.loads(read_once(descriptor, path, "secret"))
        secret = bytes.fromhex(told["store_secret"])
        pins = {Role(role): str(pin) for role, pin in told.get("pins", {}).items()}
        officers = {str(name): str(pin) for name, pin in told.get("officers", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = "want JSON with store_secret and, at --init, pins of so, user, auditor"
        raise BadSecret(wanted, "secret.form") from error
    if len(secret) != SECRET_BYTES:
        raise BadSecret(f"store_secret has {len(secret)} bytes, want {SECRET_BYTES}", "secret.form")
    return Given(secret, pins, officers)


def check_free(*paths: Path) -> None:
    """See that new files can be made at all these places. Raises FileExistsError, BadSecret for one named twice."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise BadSecret(str(path), "file.twice")
        seen.add(path.resolve())
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "No such directory", str(path.parent))


def write_private(texts: Mapping[Path, str]) -> None:
    """Write new files that nobody else reads: all of them, or none. Raises OSError."""
    written: list[Path] = []
    try:
        for path, text in texts.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(descriptor)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
