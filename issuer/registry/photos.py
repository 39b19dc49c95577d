"""Portraits: checked, made anew without whatever else the file carried, kept by their hash."""

import hashlib
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image, ImageOps
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from issuer.errors import NotFound, Refused
from issuer.registry.tables import Photo

MAX_FILE_BYTES = 5_000_000
MIN_SIDE = 150
MAX_SIDE = 8000
MAX_PIXELS = 40_000_000
STORED_BOX = (600, 800)
"""What is stored is at most 3 x 4 cm at 508 dpi: sharper than any card printer."""
QUALITY = 88

_FILE_NAME = re.compile(r"([0-9]{12})\.jpe?g", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A portrait ready to be stored."""

    jpeg: bytes
    width: int
    height: int
    source_sha256: bytes

    @property
    def sha256(self) -> bytes:
        """The portrait's name."""
        return hashlib.sha256(self.jpeg).digest()


def read_portrait(raw: bytes) -> Portrait:
    """Check a JPEG and make it anew: upright, RGB, within STORED_BOX, without metadata.

    The header is judged before anything is decoded, so that a small file cannot become a large picture.
    Raises Refused.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise Refused("photos.too_large", bytes=len(raw), most=MAX_FILE_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=("JPEG",)) as opened:
                width, height = opened.size
                _check_size(width, height)
                # A JPEG can be decoded at a half, a quarter or an eighth: phone photos in a fraction of the time.
                opened.draft("RGB", (STORED_BOX[0] * 2, STORED_BOX[1] * 2))
                image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused("photos.not_jpeg", why=str(error)[:100]) from error
    image.thumbnail(STORED_BOX, Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)  # Pillow carries comments and profiles from image to image: pixels only
    clean.paste(image)
    made = io.BytesIO()
    clean.save(made, "JPEG", quality=QUALITY, optimize=True)
    return Portrait(made.getvalue(), image.width, image.height, hashlib.sha256(raw).digest())


def list_folder(folder: Path) -> Mapping[str, Path]:
    """The portraits in a folder by citizen number (`038085012345.jpg`). Links and all other names are left alone."""
    if not folder.is_dir():
        raise NotFound("photos.no_folder", path=str(folder))
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match is not None and path.is_file() and not path.is_symlink():
            if match[1] in found:
                raise Refused("photos.twice", number=match[1])
            found[match[1]] = path
    return found


def read_file(path: Path) -> bytes:
    """Read at most one byte more than a portrait may have."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound("file.unreadable", path=str(path), why=error.strerror or "") from error


def store(session: Session, raw: bytes, now: datetime) -> bytes:
    """Check and keep one portrait; answers its hash. The same file again is the same portrait. Raises Refused."""
    known = session.scalar(select(Photo.sha256).where(Photo.source_sha256 == hashlib.sha256(raw).digest()))
    if known is not None:
        return known
    return keep(session, read_portrait(raw), now)


def keep(session: Session, portrait: Portrait, now: datetime) -> bytes:
    """Keep a portrait that was read before; answers its hash."""
    name = portrait.sha256
    if session.scalar(select(Photo.sha256).where(Photo.sha256 == name)) is None:
        session.execute(
            insert(Photo).values(
                sha256=name,
                source_sha256=portrait.source_sha256,
                jpeg=portrait.jpeg,
                width=portrait.width,
                height=portrait.height,
                stored=now,
            )
        )
    return name


def get(session: Session, sha256: bytes) -> Photo:
    """Find a portrait by its hash. Raises NotFound."""
    photo = session.get(Photo, sha256)
    if photo is None:
        raise NotFound("photos.unknown")
    return photo


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Refused("photos.bad_size", width=width, height=height, least=MIN_SIDE, most=MAX_SIDE)
