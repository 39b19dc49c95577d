"""Saying one command: GET RESPONSE, a corrected Le, chains; and cards that never come to an end."""

from collections.abc import Callable, Sequence

import pytest

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SW
from cardlink.piv.commands import SELECT_PIV_APDU, get_data, put_data, select
from cardlink.transport.connection import Counted, Limits, Torn, command
from cardlink.transport.loopback import Loopback


class Script:
    """A card that gives prepared answers and remembers what it was asked."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = [bytes.fromhex(answer) for answer in answers]
        self.seen: list[str] = []

    def transmit(self, apdu: bytes) -> bytes:
        self.seen.append(apdu.hex().upper())
        return self.answers[len(self.seen) - 1]


GET_CHUID = "00CB3FFF055C035FC10200"


def say(answers: Sequence[str], apdu: Command | bytes = get_data(0x5FC102)) -> tuple[bytes, list[str]]:
    card = Script(answers)
    return command(card, apdu), card.seen


def test_9000_gives_the_data() -> None:
    assert say(["530190009000"]) == (bytes.fromhex("53019000"), [GET_CHUID])


def test_an_encoded_command_goes_out_as_it_is() -> None:
    assert say(["9000"], SELECT_PIV_APDU) == (b"", [SELECT_PIV_APDU.hex().upper()])


def test_61xx_is_followed_to_the_end() -> None:
    data, seen = say(["AA6102", "BBCC6100", "DD9000"])
    assert data == bytes.fromhex("AABBCCDD")
    assert seen == [GET_CHUID, "00C0000002", "00C0000000"]


def test_61xx_without_data_first_is_what_t0_cards_say() -> None:
    assert say(["6102", "BBCC9000"])[0] == bytes.fromhex("BBCC")


@pytest.mark.parametrize(
    ("cla", "get_response"),
    [(0x00, "00"), (0x03, "03"), (0x0C, "00"), (0x10, "00"), (0x84, "00"), (0x41, "41"), (0x61, "41"), (0xE2, "42")],
)
def test_get_response_stays_on_the_channel(cla: int, get_response: str) -> None:
    _, seen = say(["6101", "AA9000"], Command(cla, 0xCA, 0, 0, b"", 256))
    assert seen[1] == get_response + "C0000001"


@pytest.mark.parametrize(
    ("apdu", "again"),
    [
        (get_data(0x5FC102), "00CB3FFF055C035FC10220"),
        (Command(0, 0xCA, 0, 0, b"", 256), "00CA000020"),
        (Command(0, 0xCA, 0, 0), "00CA000020"),
        (Command(0, 0x20, 0, 0x80, bytes(8)), "0020008008" + "00" * 8 + "20"),
    ],
)
def test_6cxx_is_answered_with_that_le_once(apdu: Command, again: str) -> None:
    data, seen = say(["6C20", "AA9000"], apdu)
    assert (data, seen[1]) == (b"\xaa", again)


def test_6cxx_to_get_response_is_answered_too() -> None:
    assert say(["AA6110", "6C02", "BBCC9000"]) == (
        bytes.fromhex("AABBCC"),
        [GET_CHUID, "00C0000010", "00C0000002"],
    )


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (["6C20", "6C20"], "6C20 to the Le"),
        (["6C20", "6C21"], "6C21 to the Le"),
        (["AA6C20"], "6C20 to the Le"),
        (["6100", "6100"], "GET RESPONSE gave nothing"),
        (["AA6101", "6101"], "GET RESPONSE gave nothing"),
        ([""], "2 bytes, got 0"),
        (["90"], "2 bytes, got 1"),
        (["AA8000"], "SW1 is 80"),
        (["6101", "90"], "2 bytes, got 1"),
    ],
)
def test_a_card_that_breaks_the_protocol_is_malformed(answers: list[str], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        say(answers)


def test_6cxx_to_an_extended_command_is_malformed() -> None:
    with pytest.raises(Malformed, match="extended"):
        say(["6C20"], Command(0, 0xCB, 0x3F, 0xFF, b"\x5c\x00", 65_536, extended=True))


@pytest.mark.parametrize(
    ("answer", "sw"),
    [
        ("6A82", SW.NOT_FOUND),
        ("6982", SW.SECURITY_STATUS_NOT_SATISFIED),
        ("63C2", 0x63C2),
        ("6200", SW.NO_INFORMATION),
    ],
)
def test_anything_but_9000_is_a_card_status(answer: str, sw: int) -> None:
    with pytest.raises(CardStatus, match="GET DATA") as refusal:
        say([answer])
    assert refusal.value.sw == sw
    assert type(refusal.value.sw) is type(sw)


def test_a_refusal_after_61xx_is_a_card_status_of_the_command() -> None:
    with pytest.raises(CardStatus, match="GET DATA: 6F00"):
        say(["AA6101", "6F00"])


def endless(part: int) -> Callable[[bytes], bytes]:
    return lambda apdu: bytes(part) + b"\x61\x00"


@pytest.mark.parametrize(
    ("limits", "part", "why"),
    [
        (Limits(), 1, "no end after 300 exchanges"),
        (Limits(), 256, "more than 40960 bytes"),
        (Limits(exchanges=3), 1, "no end after 3 exchanges"),
        (Limits(answer_bytes=100), 40, "more than 100 bytes"),
        (Limits(wait_s=0.0), 1, "no end after 0 s"),
    ],
)
def test_an_endless_answer_ends_at_a_limit(limits: Limits, part: int, why: str) -> None:
    card = Counted(Loopback(endless(part)))
    with pytest.raises(Malformed, match=why):
        command(card, select(), limits)
    assert card.exchanges <= limits.exchanges
    assert card.bytes_received <= limits.answer_bytes + 2 * limits.exchanges


def test_6c_and_61_in_turns_end_at_a_limit() -> None:
    def card(apdu: bytes) -> bytes:
        return b"\x6c\x01" if apdu[-1] != 1 else b"\xaa\x61\x02"

    counted = Counted(Loopback(card))
    with pytest.raises(Malformed, match="no end after 20 exchanges"):
        command(counted, select(), Limits(exchanges=20))
    assert counted.exchanges == 20


def test_one_huge_answer_is_refused() -> None:
    with pytest.raises(Malformed, match="more than 40960 bytes"):
        command(Loopback(lambda apdu: bytes(65_000) + b"\x90\x00"), select())


def test_long_data_goes_as_a_chain() -> None:
    whole = put_data(0x5FC108, bytes(600))
    card = Script(["9000", "9000", "9000"])
    assert command(card, whole) == b""
    blocks = [decode_command(bytes.fromhex(one)) for one in card.seen]
    assert [block.cla for block in blocks] == [0x10, 0x10, 0x00]
    assert [len(block.data) for block in blocks] == [255, 255, len(whole.data) - 510]
    assert b"".join(block.data for block in blocks) == whole.data


def test_the_answer_to_a_chain_may_go_on() -> None:
    card = Script(["9000", "AA6101", "BB9000"])
    assert command(card, Command(0, 0x87, 0x07, 0x9A, bytes(270), 256)) == b"\xaa\xbb"
    assert card.seen[1][-2:] == "00"
    assert card.seen[2] == "00C0000001"


@pytest.mark.parametrize("answer", ["6A84", "6884", "6C10", "6101"])
def test_a_chain_refused_in_the_middle_stops(answer: str) -> None:
    card = Script(["9000", answer])
    with pytest.raises(CardStatus, match=f"PUT DATA: {answer}"):
        command(card, put_data(0x5FC108, bytes(600)))
    assert len(card.seen) == 2


def test_data_in_the_middle_of_a_chain_is_malformed() -> None:
    with pytest.raises(Malformed, match="before its last block"):
        command(Script(["AA9000"]), put_data(0x5FC108, bytes(600)))


def test_extended_commands_are_not_cut() -> None:
    card = Script(["9000"])
    command(card, Command(0, 0xDB, 0x3F, 0xFF, bytes(600), extended=True))
    assert card.seen[0].startswith("00DB3FFF000258")


def test_what_passes_is_counted() -> None:
    card = Counted(Script(["AA6101", "BB9000"]))
    command(card, get_data(0x5FC102))
    assert (card.exchanges, card.bytes_sent, card.bytes_received) == (2, 11 + 5, 3 + 3)
    assert card.elapsed_s > 0


@pytest.mark.parametrize("after_card", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_torn_card_is_gone_from_that_exchange_on(at: int, after_card: bool) -> None:
    script = Script(["9000"] * 5)
    counted = Counted(Torn(script, at, after_card=after_card))
    for _ in range(at - 1):
        command(counted, select())
    for _ in range(2):
        with pytest.raises(LinkLost, match=f"left at exchange {at}"):
            command(counted, select())
    assert len(script.seen) == at - 1 + after_card
    assert counted.exchanges == at + 1


def test_a_pulled_card_is_gone() -> None:
    card = Loopback(lambda apdu: b"\x90\x00")
    assert command(card, select()) == b""
    assert not card.is_pulled
    card.pull()
    assert card.is_pulled
    with pytest.raises(LinkLost, match="pulled"):
        command(card, select())
