"""The centre's texts by code: the TOML files beside this module, read by the rules of `cardlink.language.catalogue`."""

import logging
from collections.abc import Mapping

from cardlink.language.catalogue import read_catalogue
from cardlink.language.parser import said_by_system

log = logging.getLogger(__name__)


PACKAGE = "issuer.messages"


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
    if "why" in facts:
        facts["why"] = said_by_system(str(facts["why"]), lang)
    return template.format_map(_Facts(facts))


def hint(code: str, lang: str, /, **facts: object) -> str | None:
    """The hint that goes with a refusal's code, if it has one."""
    template = catalogue(lang).get(f"hint.{code}")
    return None if template is None else template.format_map(_Facts(facts))


def knows(code: str, lang: str) -> bool:
    """Say whether the catalogue has this code."""
    return code in catalogue(lang)


def catalogue(lang: str) -> Mapping[str, str]:
    """Every text of one language."""
    return read_catalogue(PACKAGE, lang)
