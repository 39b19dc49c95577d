"""Citizen numbers (Circular 07/2016/TT-BCA; F1): 12 digits that tell place, century and sex, and birth year."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements.agency import is_citizen_level

DIGITS: Final = 12
FIRST_CENTURY: Final = 1900  # digit 0 male, 1 female; each further pair is the next century


class Sex(IntEnum):
    """As the identity statement writes it (F4)."""

    MALE = 1
    FEMALE = 2


class Disagreement(StrEnum):
    """How a number can contradict the record beside it. Blocks a card, not the record."""

    SEX = "citizen-number-sex"
    BIRTH_YEAR = "citizen-number-birth-year"


@dataclass(frozen=True, slots=True)
class CitizenNumber:
    """A citizen number and what its digits tell."""

    number: str
    place: str
    sex: Sex
    birth_year: int


def parse_citizen_number(value: object) -> CitizenNumber:
    """Read 12 digits: 3 place of registration, 1 century and sex, 2 birth year, 6 random; there is no check digit."""
    if type(value) is not str or not is_citizen_level(value):
        raise Malformed("citizen number", f"want {DIGITS} digits")
    century_and_sex = int(value[3])
    return CitizenNumber(
        number=value,
        place=value[:3],
        sex=Sex.FEMALE if century_and_sex % 2 else Sex.MALE,
        birth_year=FIRST_CENTURY + century_and_sex // 2 * 100 + int(value[4:6]),
    )


def disagreements(number: CitizenNumber, sex: Sex, birth_year: int) -> tuple[Disagreement, ...]:
    """Compare a number with the recorded sex and birth year."""
    found = []
    if number.sex != sex:
        found.append(Disagreement.SEX)
    if number.birth_year != birth_year:
        found.append(Disagreement.BIRTH_YEAR)
    return tuple(found)
