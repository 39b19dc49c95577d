"""What can go wrong around a card: its store, its image file, a command. Cards answer with a status word instead."""

from pathlib import Path

from cardlink.language.catalogue import Language
from cardos.messages.catalogue import Texts


class StoreFailed(Exception):
    """The store did not take a change; the card is as it was before."""


class Failed(Exception):
    """What somebody asked for can't be done: a code of the message catalogue and its facts."""

    def __init__(self, code: str, /, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts

    def why(self, texts: Texts) -> str:
        """Why, for a person."""
        return texts(self.code, **self.facts)

    def hint_in(self, texts: Texts) -> str | None:
        """What to do about it."""
        return texts.maybe(f"hint.{self.code}", **self.facts)

    def __str__(self) -> str:
        return self.why(Texts(Language.EN))


class ImageError(Failed):
    """A card image cannot be used."""

    def __init__(self, path: Path, code: str, /, **facts: object) -> None:
        super().__init__(code, path=path, **facts)
        self.path = path

    @property
    def hint(self) -> str:
        """What to do about it, in English."""
        return self.hint_in(Texts(Language.EN)) or ""


class ImageDamaged(ImageError):
    """The file is no card image, or bytes in it were changed."""


class ImageInUse(ImageError):
    """Another process holds this card."""


class WrongSecret(ImageError):
    """The file is sealed under another secret."""
