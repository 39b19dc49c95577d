"""The stock of blanks: taken in once, given out exactly once, counted to the last one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from card_register import ENCODER, HR, NOW, Register, open_register

from issuer import database
from issuer.cards import stock
from issuer.cards.stock import StockState
from issuer.errors import Conflict, Forbidden, IssuerError, NotFound, Refused

SERIALS = [f"47900001{number:08X}0001" for number in range(8)]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


def add(register: Register, serials: list[str], batch: str = "lô 1", label: str = "transport-1") -> stock.Intake:
    with database.transaction(register.factory) as session:
        return stock.add_batch(session, ENCODER, batch, serials, label, NOW)


def take(register: Register, serial: str | None = None) -> str:
    with database.transaction(register.factory) as session:
        return stock.take(session, serial, NOW).serial


def counts(register: Register) -> dict[StockState, int]:
    with database.reading(register.factory) as session:
        return stock.counts(session)


def test_a_list_is_taken_in_once(register: Register) -> None:
    assert add(register, SERIALS) == stock.Intake(8, 0)
    assert add(register, SERIALS) == stock.Intake(0, 8)
    assert counts(register)[StockState.BLANK] == 8


def test_a_serial_of_another_batch_is_refused_and_nothing_is_added(register: Register) -> None:
    add(register, SERIALS[:2])
    with pytest.raises(Refused) as refused:
        add(register, SERIALS[1:], batch="lô 2")
    assert (refused.value.code, refused.value.facts["serial"]) == ("stock.other_batch", SERIALS[1])
    assert counts(register)[StockState.BLANK] == 2


def test_the_makers_list_is_read_with_its_mark_and_small_letters(tmp_path: Path) -> None:
    file = tmp_path / "delivery.csv"
    file.write_text("box,serial\n1," + SERIALS[0].lower() + "\n1, " + SERIALS[1] + " \n", encoding="utf-8-sig")
    assert stock.read_serials(file) == SERIALS[:2]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("number\n1\n", "stock.no_column"),
        ("serial\n12\n", "stock.bad_serial"),
        ("serial\n" + "G" * 20 + "\n", "stock.bad_serial"),
        ("serial\n=HYPERLINK(1)\n", "stock.bad_serial"),
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, content: str, code: str) -> None:
    file = tmp_path / "delivery.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Refused) as refused:
        stock.read_serials(file)
    assert refused.value.code == code


def test_a_list_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00serial")
    for name in ("missing.csv", "bytes.csv"):
        with pytest.raises(Refused, match=r"stock\.unreadable"):
            stock.read_serials(tmp_path / name)


def test_an_empty_batch_is_refused(register: Register) -> None:
    with pytest.raises(Refused, match=r"stock\.empty_batch"):
        add(register, [])


def test_only_the_card_office_takes_blanks_in(register: Register) -> None:
    with database.transaction(register.factory) as session, pytest.raises(Forbidden, match=r"policy\.no_role"):
        stock.add_batch(session, HR, "lô 1", SERIALS, "transport-1", NOW)


def test_a_named_blank_is_given_out_once(register: Register) -> None:
    add(register, SERIALS)
    assert take(register, SERIALS[3]) == SERIALS[3]
    with pytest.raises(Conflict) as refused:
        take(register, SERIALS[3])
    assert (refused.value.code, refused.value.facts["state"]) == ("stock.not_blank", StockState.ALLOCATED)


def test_an_unknown_blank_and_an_empty_stock_are_told_apart(register: Register) -> None:
    with pytest.raises(NotFound, match=r"stock\.unknown"):
        take(register, SERIALS[0])
    with pytest.raises(NotFound, match=r"stock\.none_left"):
        take(register)


def test_many_who_take_at_once_never_get_the_same_blank(register: Register) -> None:
    add(register, SERIALS)

    def try_to_take(_: int) -> str:
        try:
            return take(register)
        except IssuerError as error:
            return error.code

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(try_to_take, range(12)))
    assert sorted(one for one in taken if one in SERIALS) == SERIALS
    assert taken.count("stock.none_left") == 4
    assert counts(register) == {
        StockState.BLANK: 0,
        StockState.ALLOCATED: 8,
        StockState.USED: 0,
        StockState.SPOILED: 0,
    }
