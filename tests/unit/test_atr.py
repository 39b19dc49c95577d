"""The answer to reset."""

import pytest

from cardlink.errors import Malformed
from cardlink.iso7816.atr import CARD_ATR, Atr, check_byte, decode_atr, encode_atr


def test_our_atr_is_what_foreign_clients_accept() -> None:
    assert CARD_ATR.hex().upper() == "3B8580018073C0014076"
    assert decode_atr(CARD_ATR) == Atr(
        CARD_ATR, False, (("TD1", 0x80), ("TD2", 0x01)), (0, 1), bytes.fromhex("8073C00140")
    )
    assert encode_atr(bytes.fromhex("8073C00140")) == CARD_ATR
    assert check_byte(CARD_ATR[1:]) == 0


# ATRs of card families, as ISO/IEC 7816-3 has them: T=0 alone (no TCK), T=1 with TA3 TB3, a contactless card
@pytest.mark.parametrize(
    ("raw", "protocols", "historical", "names"),
    [
        ("3B021450", (0,), "1450", ()),
        ("3F25001122334455", (0,), "1122334455", ("TB1",)),
        (
            "3BF81300008131FE15597562696B657934D4",
            (1,),
            "597562696B657934",
            ("TA1", "TB1", "TC1", "TD1", "TD2", "TA3", "TB3"),
        ),
        ("3B80800101", (0, 1), "", ("TD1", "TD2")),
    ],
)
def test_atrs_of_other_cards_are_read(
    raw: str, protocols: tuple[int, ...], historical: str, names: tuple[str, ...]
) -> None:
    atr = decode_atr(bytes.fromhex(raw))
    assert (atr.protocols, atr.historical.hex().upper(), tuple(name for name, _ in atr.interface)) == (
        protocols,
        historical,
        names,
    )


@pytest.mark.parametrize("protocols", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("historical", [b"", b"\x80", bytes(15)])
def test_what_is_written_is_read(protocols: tuple[int, ...], historical: bytes) -> None:
    atr = decode_atr(encode_atr(historical, protocols))
    assert (atr.protocols, atr.historical) == (protocols, historical)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "0 bytes"),
        ("3B", "1 bytes"),
        ("00" * 34, "34 bytes"),
        ("3C00", "TS is 3C"),
        ("3B8580018073C0014077", "TCK is 77, want 76"),
        ("3B8580018073C00140", "9 bytes"),
        ("3B8580018073C001407600", "11 bytes"),
        ("3B02145000", "5 bytes"),
        ("3B80", "TD1 is missing"),
        ("3B1480", "3 bytes"),
        ("3B10", "TA1 is missing"),
    ],
)
def test_a_broken_atr_is_malformed(raw: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode_atr(bytes.fromhex(raw))


@pytest.mark.parametrize("protocols", [(), (1, 0), (0, 0), (15,), (-1,)])
def test_impossible_protocols_are_not_written(protocols: tuple[int, ...]) -> None:
    with pytest.raises(Malformed, match="protocols"):
        encode_atr(b"", protocols)


def test_sixteen_historical_bytes_are_not_written() -> None:
    with pytest.raises(Malformed, match="16 historical bytes"):
        encode_atr(bytes(16))
