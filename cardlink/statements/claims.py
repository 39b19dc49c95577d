"""Claim numbers, and the checks that turn decoded CBOR into typed values."""

import re
import unicodedata
from collections.abc import Collection
from enum import IntEnum
from typing import Final

from cardlink.errors import Malformed

LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: what the calendars of all programs can hold
UUID_BYTES: Final = 16
KEY_HASH_BYTES: Final = 16
SHA256_BYTES: Final = 32
_WORD: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Claim(IntEnum):
    """Claims of a statement: registered ones (RFC 8392, RFC 8747, token status list), then our private range (F2)."""

    ISS = 1
    SUB = 2
    EXP = 4
    NBF = 5
    IAT = 6
    CTI = 7
    CNF = 8
    STATUS_LIST = 65533
    TTL = 65534
    STATUS = 65535
    IDENTITY = -65537
    EPOCH = -65538
    SEQ = -65539
    STATUS_ENTRIES = -65540
    SETTINGS = -65541
    RULES = -65542
    CALENDARS = -65543
    HOLDERS = -65544
    QR = -65545
    NONCE = -65546
    ROOTS = -65547
    KEYS = -65548
    ANCHORS = -65549
    LISTS = -65550
    ALLOWED = -65551
    RECORD = -65552


def fields(value: object, what: str, required: Collection[int], optional: Collection[int] = ()) -> dict[int, object]:
    """Read a map with exactly these integer keys: none missing, none unknown."""
    if type(value) is not dict:
        raise Malformed(what, "want a map")
    for key in required:
        if key not in value:
            raise Malformed(what, f"key {int(key)} is missing")
    if len(value) != len(required):
        unknown = [key for key in value if key not in required and key not in optional]
        if unknown:
            raise Malformed(what, f"unknown key {unknown[0]!r}")
    return value


def uint(value: object, what: str, most: int = (1 << 64) - 1) -> int:
    """Read an unsigned integer of at most `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise Malformed(what, f"want an unsigned integer of at most {most}")
    return value


def second(value: object, what: str) -> int:
    """Read a time: seconds since 1970, UTC."""
    return uint(value, what, LAST_SECOND)


def day(value: object, what: str) -> int:
    """Read a date written as the number yyyymmdd; the day must exist."""
    number = uint(value, what, 99_991_231)
    year, month, of_month = number // 10_000, number // 100 % 100, number % 100
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (year >= 1 and 1 <= month <= 12 and 1 <= of_month <= _DAYS[month - 1]):
        raise Malformed(what, f"no such day: {number}")
    if month == 2 and of_month == 29 and not leap:
        raise Malformed(what, f"no such day: {number}")
    return number


def octets(value: object, what: str, size: int) -> bytes:
    """Read a byte string of exactly `size` bytes."""
    if type(value) is not bytes or len(value) != size:
        raise Malformed(what, f"want {size} bytes")
    return value


def text(value: object, what: str, most: int, least: int = 1) -> str:
    """Read text of `least` to `most` characters, in NFC and without control characters."""
    if type(value) is not str or not least <= len(value) <= most:
        raise Malformed(what, f"want text of {least} to {most} characters")
    if value.isascii():
        if not value.isprintable():
            raise Malformed(what, "control character")
    elif not unicodedata.is_normalized("NFC", value):
        raise Malformed(what, "text is not in NFC")
    elif any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in value):
        raise Malformed(what, "control character")
    return value


def word(value: object, what: str) -> str:
    """Read a code word: lower-case ASCII letters and digits joined by single hyphens, at most 32 characters."""
    if type(value) is not str or len(value) > 32 or not _WORD.fullmatch(value):
        raise Malformed(what, "want a word of a-z, 0-9 and hyphens")
    return value


def flag(value: object, what: str) -> bool:
    """Read a truth value."""
    if type(value) is not bool:
        raise Malformed(what, "want true or false")
    return value


def items(value: object, what: str, least: int = 0, most: int = 1 << 22) -> list[object]:
    """Read an array of `least` to `most` items."""
    if type(value) is not list or not least <= len(value) <= most:
        raise Malformed(what, f"want an array of {least} to {most} items")
    return value
