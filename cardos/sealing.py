"""The secret that seals a card's image: by custom it lies beside the image, in IMAGE.key."""

import os
from pathlib import Path

from cardos.errors import Failed
from cardos.files import write_new
from cardos.image import SECRET_BYTES_MIN, FileStore

SECRET_BYTES = 32
SUFFIX = ".card"


def secret_path(image: Path) -> Path:
    """Where an image's secret lies unless somebody says otherwise."""
    return image.with_name(image.name + ".key")


def read_secret(image: Path) -> bytes:
    """The secret beside an image. Raises FileNotFoundError, or Failed for a file that holds none."""
    return decode_secret(secret_path(image).read_text(encoding="ascii"))


def make_secret(image: Path) -> bytes:
    """A new secret beside an image that is about to be made, for the own user only. Raises FileExistsError."""
    secret = os.urandom(SECRET_BYTES)
    write_new(secret_path(image), f"{secret.hex()}\n".encode("ascii"))
    return secret


def decode_secret(text: str) -> bytes:
    """Read a secret from hex. Raises Failed when it is none or too short."""
    secret = decode_hex(text, "secret")
    if len(secret) < SECRET_BYTES_MIN:
        raise Failed("secret.short", bytes=len(secret), least=SECRET_BYTES_MIN)
    return secret


def decode_hex(text: str, what: str) -> bytes:
    """Read hex. Raises Failed, which names what it should have been and never shows it."""
    try:
        return bytes.fromhex(text.strip())
    except ValueError as error:
        raise Failed("hex.bad", what=what) from error


def read_records(image: Path) -> dict[bytes, bytes]:
    """What a card keeps, read once: the file is free again. Raises ImageError."""
    store = FileStore(image, read_secret(image), sync=False)
    try:
        return store.load()
    finally:
        store.close()
