"""New files that are whole or not there at all: written under another name first, nothing left of one that failed."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from cardos.errors import Failed

# What a person can do something about; anything else is told by its name.
_SAID = {
    errno.EACCES: "disk.forbidden",
    errno.EPERM: "disk.forbidden",
    errno.EROFS: "disk.read-only",
    errno.ENOSPC: "disk.full",
    errno.EDQUOT: "disk.full",
    errno.EFBIG: "disk.full",
    errno.EIO: "disk.broken",
    errno.EISDIR: "disk.folder",
    errno.ENOTDIR: "disk.no-folder",
    errno.ENAMETOOLONG: "disk.long-name",
    errno.EADDRINUSE: "disk.socket-taken",
    errno.EBADF: "disk.no-descriptor",
}


def failed(error: OSError) -> Failed:
    """What an error of the operating system says to a person."""
    path = error.filename if error.filename is not None else "-"
    code = _SAID.get(error.errno or 0)
    if code is not None:
        return Failed(code, path=path)
    return Failed("disk.other", path=path, why=errno.errorcode.get(error.errno or 0, str(error)))


def write_new(path: Path, raw: bytes) -> None:
    """Write a new file for the own user. Raises FileExistsError, and OSError with this file's name."""
    _through_another_name(path, raw, os.link)


def replace(path: Path, raw: bytes) -> None:
    """Write a file, in the place of an older one if there is one. Raises OSError with this file's name."""
    _through_another_name(path, raw, os.replace)


def write_all(fd: int, raw: bytes) -> None:
    """Write every byte."""
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """See to it that a file which was made or renamed stands under its name after a crash of the machine."""
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _through_another_name(path: Path, raw: bytes, name: Callable[[Path, Path], None]) -> None:
    other = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(fd, raw)
            os.fsync(fd)
        finally:
            os.close(fd)
        name(other, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # what a person asked for, not what it is called meanwhile
        raise
    finally:
        other.unlink(missing_ok=True)
    sync_directory(path)
