"""Status words: every one that a card of ours answers or a host of ours understands."""

from enum import IntEnum


class SW(IntEnum):
    """SW1 SW2 (ISO/IEC 7816-4 §5.6; their use: SP 800-73pt2-5 §3, GlobalPlatform Card Specification §11.1.3).

    61xx, 63Cx and 6Cxx carry a number; see `more_available`, `wrong_pin` and `wrong_le`.
    """

    SUCCESS = 0x9000
    NO_INFORMATION = 0x6200
    FILE_DEACTIVATED = 0x6283  # GlobalPlatform: SELECT of a locked application
    VERIFICATION_FAILED = 0x6300  # the pairing code has no counter
    MORE_DATA = 0x6310  # GlobalPlatform GET STATUS
    EXECUTION_ERROR = 0x6400
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    LAST_OF_CHAIN_EXPECTED = 0x6883
    CHAINING_NOT_SUPPORTED = 0x6884
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_METHOD_BLOCKED = 0x6983
    REFERENCE_DATA_NOT_USABLE = 0x6984
    CONDITIONS_NOT_SATISFIED = 0x6985
    SECURE_MESSAGING_MISSING = 0x6987
    SECURE_MESSAGING_INCORRECT = 0x6988
    INCORRECT_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    INCORRECT_P1P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    WRONG_P1P2 = 0x6B00
    INS_NOT_SUPPORTED = 0x6D00
    CLA_NOT_SUPPORTED = 0x6E00
    NO_PRECISE_DIAGNOSIS = 0x6F00


SUCCESS_BYTES = b"\x90\x00"


def as_sw(value: int) -> int:
    """The `SW` of that value, so that a log shows its name; the bare number where the value has none."""
    try:
        return SW(value)
    except ValueError:
        return value


def more_available(count: int) -> int:
    """61xx: `count` bytes wait for GET RESPONSE; 6100 says 256 or more."""
    return 0x6100 | (count if count < 0x100 else 0)


def wrong_le(right: int) -> int:
    """6Cxx: send the same command again with Ne = `right` (256 is written 00)."""
    return 0x6C00 | (right & 0xFF)


def wrong_pin(tries: int) -> int:
    """63Cx: the reference data was wrong and `tries` tries are left (x has one digit: 15 stands for 15 and more)."""
    return 0x63C0 | min(tries, 15)


def is_more_available(value: int) -> bool:
    """Is it 61xx."""
    return value & 0xFF00 == 0x6100


def is_wrong_le(value: int) -> bool:
    """Is it 6Cxx."""
    return value & 0xFF00 == 0x6C00


def is_wrong_pin(value: int) -> bool:
    """Is it 63Cx; the tries left are then `tries_left(value)`."""
    return value & 0xFFF0 == 0x63C0


def tries_left(value: int) -> int:
    """x of 63Cx; 0 of 6983. To be asked only of these two."""
    return value & 0x0F if is_wrong_pin(value) else 0


def announced(value: int) -> int:
    """The number xx of 61xx or 6Cxx as an Ne: 1 to 256."""
    return value & 0xFF or 0x100
