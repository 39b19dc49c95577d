"""Texts by code and language, from the TOML files beside this module: `<part>.<language>.toml`, Vietnamese first.

A file's tables are flattened: `[registry] no_photo = "..."` is the code `registry.no_photo`. `{name}` takes a fact. A
hint for the code `c` is the text `hint.c`.
"""

import logging
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

log = logging.getLogger(__name__)


class Language(StrEnum):
    """The languages of the catalogue; Vietnamese is the first."""

    VI = "vi"
    EN = "en"


class _Facts(dict[str, object]):
    """A text with a blank that nobody filled still says the rest."""

    def __missing__(self, key: str) -> str:
        return "?"


def text(code: str, lang: str, /, **facts: object) -> str:
    """Say `code` in a language, with its facts filled in. An unknown code is said as itself, and logged."""
    template = catalogue(lang).get(code)
    if template is None:
        log.error("text missing code=%s language=%s", code, lang)
        told = ", ".join(f"{name}: {value}" for name, value in facts.items())
        return f"{code} ({told})" if told else code
    return template.format_map(_Facts(facts))


def hint(code: str, lang: str, /, **facts: object) -> str | None:
    """The hint that goes with a refusal's code, if it has one."""
    template = catalogue(lang).get(f"hint.{code}")
    return None if template is None else template.format_map(_Facts(facts))


def knows(code: str, lang: str) -> bool:
    """Say whether the catalogue has this code."""
    return code in catalogue(lang)


@cache
def catalogue(lang: str) -> Mapping[str, str]:
    """Every text of one language. A code that stands in two files is a mistake and raises ValueError."""
    found: dict[str, str] = {}
    language = Language(lang)
    for file in sorted(resources.files("issuer.messages").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(f".{language}.toml"):
            continue
        for code, template in _flatten("", tomllib.loads(file.read_text(encoding="utf-8"))):
            if code in found:
                raise ValueError(f"{file.name}: {code} stands in another file too")
            found[code] = template
    return found


def _flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)
