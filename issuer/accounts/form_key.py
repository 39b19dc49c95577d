"""The key that signs the console's form tokens: made once, readable by this system user only, never committed."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from issuer.errors import ConfigError

FILE = "web.key"
KEY_BYTES = 32


def form_key(data_dir: Path) -> bytes:
    """The installation's key, made where there is none. Raises ConfigError for a file that holds less than a key."""
    path = data_dir / FILE
    if not path.exists():
        _make(path)
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise ConfigError("config.secret_unreadable", source=str(path), why=f"{len(key)} bytes")
    return key


def _make(path: Path) -> None:
    """Write the key beside its name and give it the name once it is whole; of two at once, the first one's counts."""
    descriptor, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(staged, path)
    finally:
        os.unlink(staged)
