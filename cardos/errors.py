"""What can go wrong around a card: its store and its image file. Commands answer with a status word instead."""

from pathlib import Path


class StoreFailed(Exception):
    """The store did not take a change; the card is as it was before."""


class ImageError(Exception):
    """A card image cannot be used. `hint` says what to do about it, in one line."""

    def __init__(self, path: Path, why: str, hint: str) -> None:
        super().__init__(path, why, hint)
        self.path = path
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class ImageDamaged(ImageError):
    """The file is no card image, or bytes in it were changed."""


class ImageInUse(ImageError):
    """Another process holds this card."""


class WrongSecret(ImageError):
    """The file is sealed under another secret."""
