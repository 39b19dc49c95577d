"""The identifier on the card: `<agency code>.<citizen number>.<third field>` (F1), in two schemes."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements.agency import check_agency_code, is_citizen_level
from cardlink.statements.citizen import parse_citizen_number

# Decision 838/QĐ-BNV (2023): cán bộ, công chức, viên chức, two groups at commune level, labour contract
CATEGORIES: Final = ("CB", "CC", "VC", "XA", "XA0", "HĐ")
MAX_POSITION_CODE: Final = 20
_POSITION_CODE: Final = re.compile(r"[0-9A-Z]+(\.[0-9A-Z]+)*")


class Scheme(IntEnum):
    """What the third field holds; set per agency."""

    CATEGORY = 1  # Decision 838/QĐ-BNV: the staff category
    POSITION = 2  # the draft circular: the code of the position or title, such as 01.003


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier taken apart."""

    scheme: Scheme
    agency: str
    citizen_number: str
    third: str

    def __str__(self) -> str:
        return f"{self.agency}.{self.citizen_number}.{self.third}"


def build_identifier(scheme: Scheme, agency: str, citizen_number: str, third: str) -> Identifier:
    """Put an identifier together; each field is checked."""
    return Identifier(
        scheme=scheme,
        agency=check_agency_code(agency, "identifier agency"),
        citizen_number=parse_citizen_number(citizen_number).number,
        third=check_third_field(scheme, third),
    )


def parse_identifier(scheme: Scheme, value: str) -> Identifier:
    """Take an identifier apart at its one level of 12 digits."""
    levels = value.split(".")
    places = [place for place, level in enumerate(levels) if is_citizen_level(level)]
    if len(places) != 1:
        raise Malformed("identifier", f"want one level of 12 digits, found {len(places)}")
    at = places[0]
    return build_identifier(scheme, ".".join(levels[:at]), levels[at], ".".join(levels[at + 1 :]))


def check_third_field(scheme: Scheme, value: object) -> str:
    """Read the third field: a category (scheme 1) or a position code (scheme 2)."""
    if type(value) is not str:
        raise Malformed("identifier third field", "want text")
    if scheme is Scheme.CATEGORY:
        if value not in CATEGORIES:
            raise Malformed("identifier third field", f"category is none of {' '.join(CATEGORIES)}")
    elif len(value) > MAX_POSITION_CODE or not _POSITION_CODE.fullmatch(value):
        raise Malformed("identifier third field", "want a position code of 0-9, A-Z and dots")
    elif any(is_citizen_level(level) for level in value.split(".")):
        raise Malformed("identifier third field", "a level of 12 digits")
    return value
