"""Names: the one written form, searching without diacritics, Vietnamese order by given name."""

import unicodedata

import pytest

from cardlink.errors import Malformed
from issuer.registry.names import fold, normalise, sort_key


def test_a_name_is_written_in_nfc_with_single_spaces() -> None:
    loose = unicodedata.normalize("NFD", "  Đặng  Thị\u00a0Ước ")
    assert normalise(loose) == "Đặng Thị Ước"


@pytest.mark.parametrize(
    "wrong",
    ["", "   ", "x" * 101, "Lê\u200bVăn An", "Lê\x00An", "<b>Lê</b>", "=HYPERLINK(1)", "Lê Văn 1", "'-.", "Lê\u202eAn"],
)
def test_what_is_no_name_is_malformed(wrong: str) -> None:
    with pytest.raises(Malformed, match="name"):
        normalise(wrong)


@pytest.mark.parametrize("name", ["H'Hen Niê", "Y Phôn Ksơr", "Nguyễn-Trần Thị A", "Đỗ Thị Mỹ Ý"])
def test_names_of_every_people_are_accepted(name: str) -> None:
    assert normalise(name) == name


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Đặng Thị Ước", "dang thi uoc"),
        ("NGUYỄN VĂN ĐỨC", "nguyen van duc"),
        ("H'Hen Niê", "hhen nie"),
        ("Trần-Lê Ánh", "tran le anh"),
        (unicodedata.normalize("NFD", "Đỗ Ỷ"), "do y"),
        ("100% _x", "100 x"),
    ],
)
def test_folding_takes_the_diacritics_off(name: str, folded: str) -> None:
    assert fold(name) == folded


def test_people_are_ordered_by_given_name_then_family_then_middle() -> None:
    names = ["Trần Văn An", "Lê Thị Bình", "Đặng Văn An", "Dương Văn An", "Đặng Thị An", "Lê An"]
    assert sorted(names, key=sort_key) == [
        "Dương Văn An", "Đặng Thị An", "Đặng Văn An", "Lê An", "Trần Văn An", "Lê Thị Bình",
    ]  # fmt: skip


def test_letters_follow_the_vietnamese_alphabet() -> None:
    words = [*"aăâbcdđeêghiklmnoôơpqrstuưvxy"]
    assert sorted(set(words), key=sort_key) == words


def test_the_letters_decide_before_the_tone() -> None:
    words = ["Ma", "Mà", "Mả", "Mã", "Má", "Mạ", "Mai", "Mài", "Mạnh", "Mẫn"]
    assert sorted(set(words), key=sort_key) == words


def test_both_places_of_the_tone_mark_are_the_same_name() -> None:
    assert sort_key("Lê Thị Hoà") == sort_key("Lê Thị Hòa")
    assert sort_key("Lê Thị Thuý") == sort_key("Lê Thị Thúy")


def test_a_shorter_given_name_comes_first_whatever_stands_before_it() -> None:
    assert sort_key("Vũ An") < sort_key("Bùi Anh") < sort_key("Bùi Ân")


def test_the_key_is_ascii_so_that_every_database_orders_it_alike() -> None:
    for name in ("Đặng Thị Ước", "Čeněk Łukasz", "李 明", "Y Phôn Ksơr"):
        assert sort_key(name).isascii()
    assert sort_key("Zoe") < sort_key("明")
