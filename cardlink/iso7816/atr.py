"""The answer to reset (ISO/IEC 7816-3 §8, its historical bytes: ISO/IEC 7816-4 §12.1.1)."""

from dataclasses import dataclass
from functools import reduce
from operator import xor

from cardlink.errors import Malformed

# T=0 and T=1, historical bytes 80 73 C0 01 40: selection by full and partial AID, extended lengths.
# Foreign clients take shorter ones for other cards and then offer no elliptic curves.
CARD_ATR = bytes.fromhex("3B8580018073C0014076")
SIZE_MAX = 33  # TS and at most 32 characters


@dataclass(frozen=True, slots=True)
class Atr:
    """A decoded ATR. `interface` holds TA, TB, TC, TD by name ("TA1"); `protocols` the T values in order."""

    raw: bytes
    inverse: bool
    interface: tuple[tuple[str, int], ...]
    protocols: tuple[int, ...]
    historical: bytes


def check_byte(characters: bytes) -> int:
    """TCK: the exclusive-or of all characters from T0 on, so that with TCK it gives 00."""
    return reduce(xor, characters, 0)


def decode_atr(raw: bytes) -> Atr:
    """Read an ATR. Raises Malformed for a wrong TS, a wrong or missing TCK, or any other length than T0 and TDi say."""
    if not 2 <= len(raw) <= SIZE_MAX:
        raise Malformed("ATR", f"{len(raw)} bytes")
    if raw[0] not in (0x3B, 0x3F):
        raise Malformed("ATR", f"TS is {raw[0]:02X}")
    interface: list[tuple[str, int]] = []
    protocols: list[int] = []
    present, at, level = raw[1] >> 4, 2, 1
    while present:
        follows = 0
        for bit, letter in ((1, "A"), (2, "B"), (4, "C"), (8, "D")):
            if not present & bit:
                continue
            if at >= len(raw):
                raise Malformed("ATR", f"T{letter}{level} is missing")
            interface.append((f"T{letter}{level}", raw[at]))
            if letter == "D":
                follows = raw[at] >> 4
                # T=15 marks global interface bytes and is no protocol
                if raw[at] & 0x0F != 15 and raw[at] & 0x0F not in protocols:
                    protocols.append(raw[at] & 0x0F)
            at += 1
        present, level = follows, level + 1
    end = at + (raw[1] & 0x0F)
    # TCK stands unless T=0 alone is offered (§8.2.5); a TD naming T=15 counts as something else
    with_check = any(name.startswith("TD") and value & 0x0F for name, value in interface)
    if len(raw) != end + with_check:
        raise Malformed("ATR", f"{len(raw)} bytes, T0 and TD say {end + with_check}")
    if with_check and check_byte(raw[1:]):
        raise Malformed("ATR", f"TCK is {raw[-1]:02X}, want {check_byte(raw[1:-1]):02X}")
    return Atr(raw, raw[0] == 0x3F, tuple(interface), tuple(protocols) or (0,), raw[at:end])


def encode_atr(historical: bytes, protocols: tuple[int, ...] = (0, 1)) -> bytes:
    """Write an ATR in the direct convention with default parameters, offering `protocols` in rising order."""
    if len(historical) > 15:
        raise Malformed("ATR", f"{len(historical)} historical bytes are more than 15")
    if not protocols or list(protocols) != sorted(set(protocols)) or not all(0 <= one <= 14 for one in protocols):
        raise Malformed("ATR", f"protocols {protocols}")
    if protocols == (0,):
        return bytes((0x3B, len(historical))) + historical
    last = len(protocols) - 1
    chain = bytes((0x80 if index < last else 0) | protocol for index, protocol in enumerate(protocols))
    body = bytes((0x80 | len(historical),)) + chain + historical
    return b"\x3b" + body + bytes((check_byte(body),))
