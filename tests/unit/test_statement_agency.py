"""Agency codes, citizen numbers, identifiers (F1)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_vectors import load

from cardlink.errors import Malformed
from cardlink.statements.agency import check_agency_code, covers, is_in_scope, normalise_agency_code
from cardlink.statements.citizen import Disagreement, Sex, disagreements, parse_citizen_number
from cardlink.statements.identifier import (
    CATEGORIES,
    Scheme,
    build_identifier,
    check_third_field,
    parse_identifier,
)

CODES = load("agency")
LEVEL = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=8)
AGENCIES = st.lists(LEVEL, min_size=1, max_size=3).map(".".join)


@pytest.mark.parametrize("code", CODES["good"])
def test_an_agency_code_is_taken_as_it_is(code: str) -> None:
    assert check_agency_code(code) == code
    assert normalise_agency_code(code) == code


@pytest.mark.parametrize("code", [*CODES["bad"], None, 49, b"H49"])
def test_a_broken_agency_code_is_malformed(code: Any) -> None:
    with pytest.raises(Malformed, match="agency code"):
        check_agency_code(code)


@pytest.mark.parametrize(("old", "code"), CODES["reversed"].items())
def test_the_older_reversed_form_is_normalised(old: str, code: str) -> None:
    assert normalise_agency_code(old) == code


@pytest.mark.parametrize(("prefix", "code"), CODES["covers"])
def test_a_prefix_covers_whole_levels(prefix: str, code: str) -> None:
    assert covers(prefix, code)
    assert is_in_scope(["X1", prefix], code)


@pytest.mark.parametrize(("prefix", "code"), CODES["covers_not"])
def test_half_a_level_is_no_prefix(prefix: str, code: str) -> None:
    assert not covers(prefix, code)
    assert not is_in_scope(["X1", prefix], code)


@pytest.mark.parametrize(
    ("number", "place", "sex", "year"),
    [
        ("001090012345", "001", Sex.MALE, 1990),
        ("001190012345", "001", Sex.FEMALE, 1990),
        ("010203000001", "010", Sex.MALE, 2003),
        ("015303000001", "015", Sex.FEMALE, 2003),
        ("001499000001", "001", Sex.MALE, 2199),
        ("001900000001", "001", Sex.FEMALE, 2300),
    ],
)
def test_a_citizen_number_tells_place_sex_and_year(number: str, place: str, sex: Sex, year: int) -> None:
    parsed = parse_citizen_number(number)
    assert (parsed.number, parsed.place, parsed.sex, parsed.birth_year) == (number, place, sex, year)
    assert disagreements(parsed, sex, year) == ()


def test_a_citizen_number_that_contradicts_the_record_says_how() -> None:
    parsed = parse_citizen_number("001190012345")
    assert disagreements(parsed, Sex.MALE, 1990) == (Disagreement.SEX,)
    assert disagreements(parsed, Sex.FEMALE, 1991) == (Disagreement.BIRTH_YEAR,)
    assert disagreements(parsed, Sex.MALE, 1890) == (Disagreement.SEX, Disagreement.BIRTH_YEAR)


@pytest.mark.parametrize(
    "number", ["", "1090012345", "00109001234", "0010900123456", "00109001234A", "٠" * 12, None, 1]
)
def test_a_broken_citizen_number_is_malformed(number: Any) -> None:
    with pytest.raises(Malformed, match="citizen number"):
        parse_citizen_number(number)


@pytest.mark.parametrize("category", CATEGORIES)
def test_scheme_1_ends_in_a_category(category: str) -> None:
    made = build_identifier(Scheme.CATEGORY, "H49.01.02", "001190012345", category)
    assert str(made) == f"H49.01.02.001190012345.{category}"
    assert parse_identifier(Scheme.CATEGORY, str(made)) == made


@pytest.mark.parametrize("code", ["01.003", "V.07.02", "V.08.01.01", "06.029", "1"])
def test_scheme_2_ends_in_a_position_code(code: str) -> None:
    made = build_identifier(Scheme.POSITION, "G09", "001190012345", code)
    assert parse_identifier(Scheme.POSITION, str(made)) == made


@given(AGENCIES, st.integers(0, 10**12 - 1), st.sampled_from(CATEGORIES))
def test_every_identifier_is_parsed_at_its_twelve_digits(agency: str, number: int, category: str) -> None:
    made = build_identifier(Scheme.CATEGORY, agency, f"{number:012d}", category)
    assert parse_identifier(Scheme.CATEGORY, str(made)) == made


@pytest.mark.parametrize(
    ("scheme", "value", "why"),
    [
        (Scheme.CATEGORY, "H49.001190012345.ZZ", "category"),
        (Scheme.CATEGORY, "H49.001190012345", "category"),
        (Scheme.CATEGORY, "H49.001190012345.01.003", "category"),
        (Scheme.CATEGORY, "001190012345.CC", "agency"),
        (Scheme.CATEGORY, "H49.CC", "found 0"),
        (Scheme.CATEGORY, "H49.001190012345.001190012345", "found 2"),
        (Scheme.POSITION, "H49.001190012345.", "position code"),
        (Scheme.POSITION, "H49.001190012345.a", "position code"),
        (Scheme.POSITION, "H49.001190012345." + "1" * 21, "position code"),
    ],
)
def test_a_broken_identifier_is_malformed(scheme: Scheme, value: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_identifier(scheme, value)


def test_a_third_field_must_not_look_like_a_citizen_number() -> None:
    with pytest.raises(Malformed, match="12 digits"):
        check_third_field(Scheme.POSITION, "01.001190012345")
