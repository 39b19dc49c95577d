"""Texts by code and language, from the TOML files of a package: `<part>.<language>.toml`, Vietnamese first.

A file's tables are flattened: `[fleet] no-card = "..."` is the code `fleet.no-card`. `{name}` takes a fact. A hint for
the code `c` is the text `hint.c`.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any


class Language(StrEnum):
    """The languages of the catalogues; Vietnamese is the first."""

    VI = "vi"
    EN = "en"


def chosen_language(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Language:
    """The language before the arguments are parsed: `--lang` before THEMO_LANG before Vietnamese; help needs it too."""
    told = environ.get("THEMO_LANG", "")
    for place, argument in enumerate(arguments):
        if argument == "--lang" and place + 1 < len(arguments):
            told = arguments[place + 1]
        elif argument.startswith("--lang="):
            told = argument.removeprefix("--lang=")
    return Language(told) if told in set(Language) else Language.VI


@cache
def read_catalogue(package: str, lang: str) -> Mapping[str, str]:
    """Every text of a package in one language. A code that stands in two files is a mistake and raises ValueError."""
    found: dict[str, str] = {}
    language = Language(lang)
    for file in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(f".{language}.toml"):
            continue
        for code, template in _flatten("", tomllib.loads(file.read_text(encoding="utf-8"))):
            if code in found:
                raise ValueError(f"{file.name}: {code} stands in another file too")
            found[code] = template
    return found


def retold(message: str, package: str, prefix: str, lang: str) -> str:
    """Say in `lang` what a library said in English; what nobody foresaw stays as it is.

    The library's own words are the English texts below `prefix`: a text that fits the message names the code, and its
    blanks the facts. A fact named `message` is itself something that the library said.
    """
    for code, english in read_catalogue(package, Language.EN).items():
        found = _pattern(english).fullmatch(message) if code.startswith(prefix) else None
        if found is not None:
            facts = found.groupdict()
            if "message" in facts:
                facts["message"] = retold(facts["message"], package, prefix, lang)
            return read_catalogue(package, lang)[code].format_map(facts)
    return message


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A template as the expression that finds its blanks again."""
    parts = re.split(r"\{(\w+)\}", template)
    said = (f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile("".join(said), re.DOTALL)


def _flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)
