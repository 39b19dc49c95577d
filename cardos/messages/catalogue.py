"""Texts by code and language, from the TOML files beside this module: `<part>.<language>.toml`, Vietnamese first.

A file's tables are flattened: `[fleet] no-card = "..."` is the code `fleet.no-card`. `{name}` takes a fact. A hint for
the code `c` is the text `hint.c`. The same rules as the centre's catalogue, which a card must not import.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any


class Language(StrEnum):
    """The languages of the catalogue; Vietnamese is the first."""

    VI = "vi"
    EN = "en"


class Texts:
    """The texts of one language: `texts("fleet.no-card", card="a")`."""

    __slots__ = ("_known", "lang")

    def __init__(self, lang: str = Language.VI) -> None:
        self.lang = Language(lang)
        self._known = catalogue(self.lang)

    def __call__(self, code: str, /, **facts: object) -> str:
        """Say `code`, its facts filled in. Raises KeyError for a code that no file has: a test finds those first."""
        return self._known[code].format_map(facts)

    def maybe(self, code: str, /, **facts: object) -> str | None:
        """Say `code` if the catalogue has it."""
        template = self._known.get(code)
        return None if template is None else template.format_map(facts)


@cache
def catalogue(lang: str) -> Mapping[str, str]:
    """Every text of one language. A code that stands in two files is a mistake and raises ValueError."""
    found: dict[str, str] = {}
    for file in sorted(resources.files("cardos.messages").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(f".{lang}.toml"):
            continue
        for code, template in _flatten("", tomllib.loads(file.read_text(encoding="utf-8"))):
            if code in found:
                raise ValueError(f"{file.name}: {code} stands in another file too")
            found[code] = template
    return found


def chosen_language(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Language:
    """The language before the arguments are parsed: `--lang` before THEMO_LANG before Vietnamese; help needs it too."""
    told = environ.get("THEMO_LANG", "")
    for place, argument in enumerate(arguments):
        if argument == "--lang" and place + 1 < len(arguments):
            told = arguments[place + 1]
        elif argument.startswith("--lang="):
            told = argument.removeprefix("--lang=")
    return Language(told) if told in set(Language) else Language.VI


def _flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)
