"""The class byte: all 256 values against a table written by hand."""

import pytest

from cardlink.errors import Malformed
from cardlink.iso7816.cla import GET_RESPONSE_CLA, ClaKind, SecureMessaging, decode_cla

NO, PROPRIETARY, ISO, HEADER = SecureMessaging

# One row a run of values: first, last, kind, secure messaging, chained, channel of the first (it counts up).
# ISO/IEC 7816-4 Tables 2 and 3; GlobalPlatform Card Specification v2.3.1 Tables 11-11 and 11-12.
TABLE = [
    (0x00, 0x03, ClaKind.FIRST, NO, False, 0),
    (0x04, 0x07, ClaKind.FIRST, PROPRIETARY, False, 0),
    (0x08, 0x0B, ClaKind.FIRST, ISO, False, 0),
    (0x0C, 0x0F, ClaKind.FIRST, HEADER, False, 0),
    (0x10, 0x13, ClaKind.FIRST, NO, True, 0),
    (0x14, 0x17, ClaKind.FIRST, PROPRIETARY, True, 0),
    (0x18, 0x1B, ClaKind.FIRST, ISO, True, 0),
    (0x1C, 0x1F, ClaKind.FIRST, HEADER, True, 0),
    (0x20, 0x3F, ClaKind.RESERVED, NO, False, None),
    (0x40, 0x4F, ClaKind.FURTHER, NO, False, 4),
    (0x50, 0x5F, ClaKind.FURTHER, NO, True, 4),
    (0x60, 0x6F, ClaKind.FURTHER, ISO, False, 4),
    (0x70, 0x7F, ClaKind.FURTHER, ISO, True, 4),
    (0x80, 0x83, ClaKind.GP_FIRST, NO, False, 0),
    (0x84, 0x87, ClaKind.GP_FIRST, PROPRIETARY, False, 0),
    (0x88, 0x8B, ClaKind.GP_FIRST, ISO, False, 0),
    (0x8C, 0x8F, ClaKind.GP_FIRST, HEADER, False, 0),
    (0x90, 0xBF, ClaKind.PROPRIETARY, NO, False, None),
    (0xC0, 0xCF, ClaKind.GP_FURTHER, NO, False, 4),
    (0xD0, 0xDF, ClaKind.PROPRIETARY, NO, False, None),
    (0xE0, 0xEF, ClaKind.GP_FURTHER, PROPRIETARY, False, 4),
    (0xF0, 0xFE, ClaKind.PROPRIETARY, NO, False, None),
    (0xFF, 0xFF, ClaKind.INVALID, NO, False, None),
]
ROWS = [
    (value, kind, messaging, chained, 0 if channel is None else channel + value - first)
    for first, last, kind, messaging, chained, channel in TABLE
    for value in range(first, last + 1)
]


def test_the_table_covers_all_256_values_once() -> None:
    assert [row[0] for row in ROWS] == list(range(256))


@pytest.mark.parametrize(("value", "kind", "messaging", "chained", "channel"), ROWS)
def test_every_class_byte(value: int, kind: ClaKind, messaging: SecureMessaging, chained: bool, channel: int) -> None:
    cla = decode_cla(value)
    assert (cla.value, cla.kind, cla.secure_messaging, cla.chained, cla.channel) == (
        value,
        kind,
        messaging,
        chained,
        channel,
    )
    assert cla.is_proprietary == (0x80 <= value <= 0xFE)


@pytest.mark.parametrize("value", [-1, 256])
def test_a_class_is_one_byte(value: int) -> None:
    with pytest.raises(Malformed, match="CLA"):
        decode_cla(value)


def test_get_response_stays_on_the_channel_in_the_clear() -> None:
    for value, *_, channel in ROWS:
        answer = decode_cla(GET_RESPONSE_CLA[value])
        assert answer.channel == channel
        assert (answer.secure_messaging, answer.chained, answer.is_proprietary) == (NO, False, False)
