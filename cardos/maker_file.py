"""A card maker's seed in one sealed file, made when the first card is; the secret that seals it lies beside it.

Layout: `THEMO-MAKER`, version (2), salt (16), nonce (12), then under AES-256-GCM: when it began (8, seconds), the seed,
and its name. All before the nonce is authenticated.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardos.errors import ImageDamaged, WrongSecret
from cardos.files import replace, write_all
from cardos.maker import NAME, SEED_BYTES, Maker
from cardos.sealing import SECRET_BYTES, decode_secret, secret_path

FILE_NAME: Final = "maker.sealed"  # beside the images of the cards it makes, unless somebody says otherwise
MAGIC: Final = b"THEMO-MAKER"
VERSION: Final = 1
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(MAGIC) + 2 + _SALT_BYTES
_TIME_BYTES: Final = 8
_SECRET_TEXT_MAX: Final = 1024


def open_maker(path: Path, now: datetime) -> Maker:
    """The maker in this file; where there is none a new one begins today. Several processes may ask at once.

    Raises ImageDamaged, WrongSecret, or Failed for a file beside it that holds no secret.
    """
    with _secret_of(path) as secret:
        if not path.exists():
            began = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
            replace(path, _seal(Maker(os.urandom(SEED_BYTES), began, NAME), secret))  # no card may outlive its maker
        return _unseal(path, secret)


@contextmanager
def _secret_of(maker: Path) -> Iterator[bytes]:
    """The secret of this maker's file, made when it is not there; locked until the maker's file stands.

    A new secret whose maker could not be written goes again.
    """
    path = secret_path(maker)
    fd = _open_locked(path)
    try:
        text = os.read(fd, _SECRET_TEXT_MAX).decode("ascii")
        if not text:
            text = os.urandom(SECRET_BYTES).hex() + "\n"
            write_all(fd, text.encode("ascii"))
            os.fsync(fd)
        yield decode_secret(text)
    except OSError as error:
        if not maker.exists():
            path.unlink()
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        os.close(fd)


def _open_locked(path: Path) -> int:
    """Open and lock the file that stands at `path` now, not one that somebody took back while we waited."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if path.exists() and os.fstat(fd).st_ino == os.stat(path).st_ino:
            return fd
        os.close(fd)


def _seal(maker: Maker, secret: bytes) -> bytes:
    head = MAGIC + VERSION.to_bytes(2, "big") + os.urandom(_SALT_BYTES)
    nonce = os.urandom(_NONCE_BYTES)
    plain = int(maker.since.timestamp()).to_bytes(_TIME_BYTES, "big") + maker.seed + maker.name.encode("utf-8")
    return head + nonce + AESGCM(_key(secret, head)).encrypt(nonce, plain, head)


def _unseal(path: Path, secret: bytes) -> Maker:
    raw = path.read_bytes()
    head = raw[:_HEAD_BYTES]
    if len(head) < _HEAD_BYTES or not raw.startswith(MAGIC):
        raise ImageDamaged(path, "maker.not-one")
    version = int.from_bytes(head[len(MAGIC) : len(MAGIC) + 2], "big")
    if version != VERSION:
        raise ImageDamaged(path, "image.version", version=version, reads=VERSION)
    nonce, sealed = raw[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], raw[_HEAD_BYTES + _NONCE_BYTES :]
    try:
        plain = AESGCM(_key(secret, head)).decrypt(nonce, sealed, head)
    except (InvalidTag, ValueError) as error:
        raise WrongSecret(path, "image.wrong-secret") from error
    began = datetime.fromtimestamp(int.from_bytes(plain[:_TIME_BYTES], "big"), UTC)
    seed, name = plain[_TIME_BYTES : _TIME_BYTES + SEED_BYTES], plain[_TIME_BYTES + SEED_BYTES :]
    return Maker(seed, began, name.decode("utf-8"))


def _key(secret: bytes, head: bytes) -> bytes:
    return HKDF(SHA256(), 32, head[-_SALT_BYTES:], b"themo card maker file " + head[:-_SALT_BYTES]).derive(secret)
