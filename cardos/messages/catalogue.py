"""The texts of `cardos`: the TOML files beside this module, read by the rules of `cardlink.language.catalogue`."""

from cardlink.language.catalogue import Language, read_catalogue

PACKAGE = "cardos.messages"


class Texts:
    """The texts of one language: `texts("fleet.no-card", card="a")`."""

    __slots__ = ("_known", "lang")

    def __init__(self, lang: str = Language.VI) -> None:
        self.lang = Language(lang)
        self._known = read_catalogue(PACKAGE, self.lang)

    def __call__(self, code: str, /, **facts: object) -> str:
        """Say `code`, its facts filled in. Raises KeyError for a code that no file has: a test finds those first."""
        return self._known[code].format_map(facts)

    def maybe(self, code: str, /, **facts: object) -> str | None:
        """Say `code` if the catalogue has it."""
        template = self._known.get(code)
        return None if template is None else template.format_map(facts)
