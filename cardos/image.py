"""A card in one file: a sealed journal of commits, in which a torn last commit has never happened.

Layout: header `THEMO-CARD`, version (2), salt (16); then frames, one a commit: length (4), its check (4), nonce (12),
AES-256-GCM of the changes. Header and place of the frame are authenticated with it, so frames can't be moved, dropped
from the middle or mixed between files. The file says nothing of the card without the secret; it can't say whether it
is an old copy.
"""

import fcntl
import os
import struct
from binascii import crc32
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardos.errors import ImageDamaged, ImageInUse, StoreFailed, WrongSecret
from cardos.files import sync_directory, write_all, write_new
from cardos.store import apply

MAGIC = b"THEMO-CARD"
VERSION = 1
SECRET_BYTES_MIN = 16
_HEADER_BYTES = len(MAGIC) + 2 + 16
_FRAME = struct.Struct(">II")
_NONCE_BYTES = 12
_FRAME_BYTES_MAX = 1 << 24
# A journal this much longer than what it holds is written anew.
_COMPACT_FROM_BYTES = 1 << 20
_COMPACT_RATIO = 8


class FileStore:
    """A store in one file, held by one process at a time.

    `sync` flushes each commit to the disk: it then survives a crash of the machine and not only the end of the process.
    """

    def __init__(self, path: Path, secret: bytes, *, sync: bool = True) -> None:
        """Open an image. Raises ImageDamaged, ImageInUse, WrongSecret, or FileNotFoundError."""
        self.path = path
        self._secret = secret
        self._sync = sync
        self._is_broken = False
        self._fd = _open_locked(path)
        try:
            self._records, self._frames, self._end = self._read()
            # what a torn commit left must not stand in front of the next one
            os.ftruncate(self._fd, self._end)
            if self._is_long():
                self._compact()
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def create(cls, path: Path, secret: bytes, records: Mapping[bytes, bytes], *, sync: bool = True) -> "FileStore":
        """Write a new image; an existing file is never overwritten (FileExistsError)."""
        write_new(path, _fresh_image(secret, records))
        return cls(path, secret, sync=sync)

    def load(self) -> dict[bytes, bytes]:
        """A copy of every record."""
        return dict(self._records)

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Append one frame. If that fails the file is cut back to where it was."""
        if self._is_broken:
            raise StoreFailed(f"{self.path}: an earlier commit could not be taken back")
        frame = _seal(self._cipher, self._header, self._frames, changes)
        try:
            os.lseek(self._fd, self._end, os.SEEK_SET)
            write_all(self._fd, frame)
            if self._sync:
                os.fdatasync(self._fd)
        except OSError as error:
            self._cut_back()
            raise StoreFailed(f"{self.path}: {error}") from error
        self._frames += 1
        self._end += len(frame)
        self._records = apply(self._records, changes)
        if self._is_long():
            self._compact()

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._end)
        except OSError:
            # what stands behind the end is a torn commit to the next reader; nothing may be written after it
            self._is_broken = True

    def close(self) -> None:
        """Give the file back. A commit after that fails: its number may be another card's file by then."""
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _is_long(self) -> bool:
        held = sum(len(name) + len(value) for name, value in self._records.items())
        return self._end > _COMPACT_FROM_BYTES and self._end > _COMPACT_RATIO * held

    def _read(self) -> tuple[dict[bytes, bytes], int, int]:
        """Records, number of frames, and where the last whole frame ends."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            raw = file.read()
        self._header = raw[:_HEADER_BYTES]
        if len(self._header) < _HEADER_BYTES or not raw.startswith(MAGIC):
            raise ImageDamaged(self.path, "image.not-one")
        (version,) = struct.unpack_from(">H", raw, len(MAGIC))
        if version != VERSION:
            raise ImageDamaged(self.path, "image.version", version=version, reads=VERSION)
        self._cipher = AESGCM(_seal_key(self._secret, self._header))
        records: dict[bytes, bytes] = {}
        frames, at = 0, _HEADER_BYTES
        while at < len(raw):
            end = _frame_end(raw, at, self.path)
            if end is None:
                break
            try:
                nonce, sealed = raw[at + 8 : at + 8 + _NONCE_BYTES], raw[at + 8 + _NONCE_BYTES : end]
                plain = self._cipher.decrypt(nonce, sealed, _bound(self._header, frames))
            except InvalidTag as error:
                if frames == 0:
                    raise WrongSecret(self.path, "image.wrong-secret") from error
                raise ImageDamaged(self.path, "image.changed", commit=frames, at=at) from error
            records = apply(records, _unpack(plain))
            frames, at = frames + 1, end
        if not frames:
            raise ImageDamaged(self.path, "image.unfinished")
        return records, frames, at

    def _compact(self) -> None:
        """Write the records as a new file and put it in the place of the old one. Where that fails, the old one serves.

        The commit that led here has been made, so nothing that fails here may say that it was not.
        """
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raw = _fresh_image(self._secret, self._records)
            write_all(fd, raw)
            os.fsync(fd)
            os.rename(fresh, self.path)
        except OSError:
            os.close(fd)
            return
        os.close(self._fd)
        self._fd = fd
        self._header = raw[:_HEADER_BYTES]
        self._cipher = AESGCM(_seal_key(self._secret, self._header))
        self._frames, self._end = 1, len(raw)
        try:
            sync_directory(self.path)
        except OSError:
            # after a crash the old file may stand here again: what is written to the new one now could be taken back
            self._is_broken = True


def _open_locked(path: Path) -> int:
    """Open and lock the file that stands at `path` now, not one that was replaced while we waited."""
    while True:
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise ImageInUse(path, "image.in-use") from error
        if os.fstat(fd).st_ino == os.stat(path).st_ino:
            return fd
        os.close(fd)


def _frame_end(raw: bytes, at: int, path: Path) -> int | None:
    """Where the frame at `at` ends, or None when it was torn off. A wrong length is damage, not a tear."""
    if len(raw) - at < _FRAME.size:
        return None
    size, check = _FRAME.unpack_from(raw, at)
    if check != _length_check(size):
        raise ImageDamaged(path, "image.broken-length", at=at)
    end: int = at + _FRAME.size + size
    return end if end <= len(raw) else None


def _length_check(size: int) -> int:
    return crc32(size.to_bytes(4, "big"))


def _seal_key(secret: bytes, header: bytes) -> bytes:
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a seal secret has at least {SECRET_BYTES_MIN} bytes")
    return HKDF(SHA256(), 32, header[-16:], b"themo card image " + header[:-16]).derive(secret)


def _bound(header: bytes, frames: int) -> bytes:
    return header + frames.to_bytes(8, "big")


def _seal(cipher: AESGCM, header: bytes, frames: int, changes: Mapping[bytes, bytes | None]) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    body = nonce + cipher.encrypt(nonce, _pack(changes), _bound(header, frames))
    if len(body) > _FRAME_BYTES_MAX:
        raise StoreFailed(f"a commit of {len(body)} bytes")
    return _FRAME.pack(len(body), _length_check(len(body))) + body


def _fresh_image(secret: bytes, records: Mapping[bytes, bytes]) -> bytes:
    header = MAGIC + VERSION.to_bytes(2, "big") + os.urandom(16)
    return header + _seal(AESGCM(_seal_key(secret, header)), header, 0, dict(records))


def _pack(changes: Mapping[bytes, bytes | None]) -> bytes:
    """Name length (1), name, 0 for removed or 1 and value length (4) and value."""
    parts = []
    for name, value in changes.items():
        parts.append(bytes((len(name),)) + name)
        parts.append(b"\0" if value is None else b"\1" + len(value).to_bytes(4, "big") + value)
    return b"".join(parts)


def _unpack(plain: bytes) -> dict[bytes, bytes | None]:
    changes: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(plain):
        size = plain[at]
        name, at = plain[at + 1 : at + 1 + size], at + 1 + size
        if plain[at]:
            length = int.from_bytes(plain[at + 1 : at + 5], "big")
            changes[name] = plain[at + 5 : at + 5 + length]
            at += 5 + length
        else:
            changes[name] = None
            at += 1
    return changes
