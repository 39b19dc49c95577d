"""Agency codes (Decision 20/2020/QĐ-TTg; F1): grammar, the older reversed form, scopes."""

import re
from collections.abc import Iterable
from typing import Final

from cardlink.errors import Malformed

MAX_CHARACTERS: Final = 35
_CODE: Final = re.compile(r"[0-9A-Z]+(\.[0-9A-Z]+)*")
_REVERSED: Final = re.compile(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}")  # QCVN 102:2016/BTTTT
_TWELVE_DIGITS: Final = re.compile(r"[0-9]{12}")


def check_agency_code(value: object, what: str = "agency code") -> str:
    """Read an agency code, levels left to right. A level of 12 digits would make the identifier ambiguous."""
    if type(value) is not str or len(value) > MAX_CHARACTERS or not _CODE.fullmatch(value):
        raise Malformed(what, f"want levels of 0-9 and A-Z joined by dots, at most {MAX_CHARACTERS} characters")
    if len(value) >= 12 and any(is_citizen_level(level) for level in value.split(".")):
        raise Malformed(what, "a level of 12 digits")
    return value


def normalise_agency_code(value: str) -> str:
    """Read a code as old files hold it: `000.00.00.H49` is `H49`, `000.02.01.H49` is `H49.01.02`."""
    if not _REVERSED.fullmatch(value):
        return check_agency_code(value)
    levels = value.split(".")[::-1]
    while len(levels) > 1 and not levels[-1].strip("0"):
        levels.pop()
    return check_agency_code(".".join(levels))


def covers(prefix: str, code: str) -> bool:
    """Say whether `code` is `prefix` or stands below it; `H4` is no prefix of `H49`."""
    return code == prefix or code.startswith(prefix + ".")


def is_in_scope(scope: Iterable[str], code: str) -> bool:
    """Say whether one of the prefixes covers the code."""
    for prefix in scope:  # noqa: SIM110 a door's hot path: `any` would start a generator
        if covers(prefix, code):
            return True
    return False


def is_citizen_level(level: str) -> bool:
    """Say whether a level of an identifier is its citizen number: 12 ASCII digits."""
    return _TWELVE_DIGITS.fullmatch(level) is not None
