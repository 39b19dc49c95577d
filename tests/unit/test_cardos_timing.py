"""The timing model against the numbers of its page, and the card that takes its time."""

import pytest

from cardlink.iso7816.apdu import Command, Ins
from cardlink.piv import commands as piv
from cardlink.piv.tables import Algorithm, Interface
from cardos.card import Card
from cardos.errors import Failed
from cardos.factory import make_blank
from cardos.store import MemoryStore
from cardos.timing import (
    BIT_RATES,
    CHIPS,
    KEY_PAIRS,
    SIGNATURES,
    Operation,
    Timed,
    Timing,
    contact,
    contactless,
    parse_timing,
    work_of,
)

CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS
OK = b"\x90\x00"
GET_RESPONSE = bytes.fromhex("00C0000000")
# The standard card of the computed example: SELECT is answered with name and URL, 144 bytes; a signature is 72.
SELECTED = (piv.SELECT_PIV_APDU, bytes(144) + OK)
SIGNED = (piv.sign(0x11, 0x9E, bytes(32)).encode(), bytes(76) + OK)


def read_object(size: int) -> list[tuple[bytes, bytes]]:
    """GET DATA of the 9E certificate and the GET RESPONSEs that follow."""
    commands = [piv.get_data(0x5FC101).encode()] + [GET_RESPONSE] * ((size - 1) // 256)
    sizes = [256] * (len(commands) - 1) + [size - 256 * (len(commands) - 1)]
    return [(apdu, bytes(part) + OK) for apdu, part in zip(commands, sizes, strict=True)]


def wire_ms(exchanges: list[tuple[bytes, bytes]], kbit: int) -> float:
    timing = Timing("median", contactless(kbit))
    return 1000 * sum(timing.exchange(apdu, answer, CONTACTLESS).wire_s for apdu, answer in exchanges)


def test_the_computed_example_of_a_standard_card_comes_out() -> None:
    # a certificate of 1,517 bytes is an object of 1,530: 53 and 70 with their lengths, 71 01 00, FE 00
    whole = [SELECTED, *read_object(1530), SIGNED]
    assert (len(whole), sum(len(apdu) + len(answer) for apdu, answer in whole)) == (8, 1863)
    # 167.5 ms: the page's 168 takes 85 us a byte for 84.96
    assert wire_ms(whole, 106) == pytest.approx(168, abs=0.6)
    cached = [SELECTED, SIGNED]
    assert (len(cached), sum(len(apdu) + len(answer) for apdu, answer in cached)) == (2, 285)
    assert wire_ms(cached, 106) == pytest.approx(26, abs=0.5)


def test_our_card_is_faster_there_because_it_says_less_of_itself() -> None:
    card = Card(MemoryStore(make_blank(bytes(10), (bytes(16), bytes(16), bytes(16)))))
    answer = card.transmit(piv.SELECT_PIV_APDU, CONTACTLESS)
    saved = wire_ms([SELECTED], 106) - wire_ms([(piv.SELECT_PIV_APDU, answer)], 106)
    assert saved == pytest.approx((146 - len(answer)) * 0.085, abs=0.05)


@pytest.mark.parametrize(("kbit", "byte_us"), list(zip(BIT_RATES, (85.0, 42.5, 21.2, 10.6), strict=True)))
def test_a_byte_takes_its_time_at_each_bit_rate(kbit: int, byte_us: float) -> None:
    assert contactless(kbit).byte_s * 1e6 == pytest.approx(byte_us, abs=0.06)


def test_a_contact_byte_takes_eleven_etu() -> None:
    assert contact(372, 1).byte_s == pytest.approx(11 * 372 / 4e6)
    assert contact(512, 32).byte_s == pytest.approx(11 * 16 / 4e6)


def test_a_long_apdu_is_chained_and_its_blocks_acknowledged() -> None:
    link = contactless(106)
    assert link.seconds(253) == pytest.approx(256 * link.byte_s + link.turnaround_s)
    assert link.seconds(254) == pytest.approx((254 + 9) * link.byte_s + 3 * link.turnaround_s)
    assert link.seconds(0) > 0


@pytest.mark.parametrize(
    ("command", "answer", "operation", "factor"),
    [
        (piv.sign(0x11, 0x9E, bytes(32)), OK, Operation.P_256_SIGN, 1),
        (piv.sign(0x14, 0x9C, bytes(48)), OK, Operation.P_256_SIGN, 3.375),
        (piv.sign(0x07, 0x9A, bytes(64)), b"\x61\x10", Operation.RSA_2048_PRIVATE, 1),
        (piv.agree(0x11, 0x9D, bytes(65)), OK, Operation.P_256_ECDH, 1),
        (piv.sign(0x07, 0x9D, bytes(64)), OK, Operation.RSA_2048_PRIVATE, 1),
        (Command(0, Ins.GENERAL_AUTHENTICATE, 0x2E, 0x04, bytes(80), 256), OK, Operation.P_256_ECDH, 3.375),
        (piv.generate_key(0x9E, 0x11), OK, Operation.P_256_GENERATE, 1),
        (piv.generate_key(0x9A, 0x05), OK, Operation.RSA_2048_GENERATE, 1.5**4),
        (Command(0, 0xF9, 0x9A, 0, b"", 256), OK, Operation.P_256_SIGN, 1),
        (Command(0, Ins.INTERNAL_AUTHENTICATE, 0, 0x9E, bytes(48), 65_536, True), OK, Operation.P_256_SIGN, 1),
    ],
)
def test_a_command_names_the_work_it_makes(
    command: Command, answer: bytes, operation: Operation, factor: float
) -> None:
    work = work_of(command.encode(), answer)
    assert work is not None
    assert (work.operation, work.factor) == (operation, factor)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (piv.sign(0x11, 0x9E, bytes(32)), b"\x69\x82"),
        (piv.sign(0x11, 0x9E, bytes(32))._replace(cla=0x10), OK),
        (piv.select(), OK),
        (Command(0, Ins.GENERAL_AUTHENTICATE, 0x0A, 0x9B, b"\x7c\x02\x81\x00", 256), OK),
        (Command(0, Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, 0x9A, b"\xac\x00", 256), OK),
    ],
)
def test_refusals_blocks_of_a_chain_and_symmetric_work_cost_the_wire_only(command: Command, answer: bytes) -> None:
    assert work_of(command.encode(), answer) is None
    assert Timing().exchange(command.encode(), answer, CONTACT).chip_s == 0


def test_every_chip_has_every_operation_and_every_algorithm_its_work() -> None:
    assert all(set(row) == set(Operation) for row in CHIPS.values())
    pairs = {one for one in Algorithm if one.name.startswith(("RSA", "P_", "ED"))}
    assert pairs <= set(SIGNATURES)
    assert pairs <= set(KEY_PAIRS)


def test_a_timing_is_read_from_one_word() -> None:
    timing = parse_timing("JCOP4@424,512/32+7")
    assert (timing.chip, timing.contactless, timing.contact) == ("jcop4", contactless(424), contact(512, 32))
    assert timing.host_s == pytest.approx(0.007)
    assert parse_timing("upper-quartile") == Timing("upper-quartile")
    sign = piv.sign(0x11, 0x9E, bytes(32)).encode()
    assert timing.exchange(sign, bytes(76) + OK, CONTACTLESS).chip_s == pytest.approx(0.032)


@pytest.mark.parametrize("text", ["", "none", "jcop4@100", "jcop4@", "jcop4,5/1", "jcop4,372/3", "jcop4+x"])
def test_another_word_is_refused(text: str) -> None:
    with pytest.raises(Failed):
        parse_timing(text)


def test_a_timed_card_takes_what_is_left_of_its_time() -> None:
    slept: list[float] = []
    now = iter((10.0, 10.002, 20.0, 29.0))
    below = Card(MemoryStore(make_blank(bytes(10), (bytes(16), bytes(16), bytes(16)))))
    timing = Timing("median", host_s=0.005)
    card = Timed(below, timing, clock=lambda: next(now), sleep=slept.append)
    assert card.atr == below.atr
    answer = card.transmit(piv.SELECT_PIV_APDU, CONTACTLESS)
    assert slept == [pytest.approx(timing.exchange(piv.SELECT_PIV_APDU, answer, CONTACTLESS).total_s - 0.002)]
    card.transmit(piv.SELECT_PIV_APDU, CONTACTLESS)  # slower by itself: nothing is added
    assert len(slept) == 1
    card.reset()
