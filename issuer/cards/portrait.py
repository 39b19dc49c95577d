"""The portrait on a chip: made small enough for its container, upright 3 × 4."""

import io
from dataclasses import dataclass

from PIL import Image

from issuer.errors import Refused

BOXES = ((360, 480), (300, 400), (240, 320), (180, 240), (150, 200))
"""Sizes tried, the largest first: even the smallest is read by eye on a screen."""
QUALITIES = (85, 70, 55, 40)


@dataclass(frozen=True, slots=True)
class ChipPortrait:
    """A JPEG for the chip and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


def fit(jpeg: bytes, most_bytes: int) -> ChipPortrait:
    """Make a stored portrait no larger than `most_bytes`. Raises Refused when no size and quality fits."""
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
        picture = opened.convert("RGB")
    for box in BOXES:
        small = picture.copy()
        small.thumbnail(box)
        for quality in QUALITIES:
            out = io.BytesIO()
            small.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= most_bytes:
                return ChipPortrait(out.getvalue(), *small.size)
    raise Refused("cards.portrait_too_large", bytes=most_bytes)
