"""Command and response APDUs: cases 1 to 4, short and extended (ISO/IEC 7816-4 §5.1 and 5.2)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from cardlink.errors import Malformed
from cardlink.iso7816.cla import CHAIN_BIT

SHORT_DATA_MAX = 255
SHORT_NE_MAX = 256
EXTENDED_DATA_MAX = 65_535
EXTENDED_NE_MAX = 65_536


class Ins(IntEnum):
    """Instruction bytes (ISO/IEC 7816-4 Table 4; PIV: SP 800-73pt2-5 §3; the last block: GlobalPlatform §11)."""

    VERIFY = 0x20
    CHANGE_REFERENCE_DATA = 0x24
    RESET_RETRY_COUNTER = 0x2C
    GENERATE_ASYMMETRIC_KEY_PAIR = 0x47
    MANAGE_CHANNEL = 0x70
    EXTERNAL_AUTHENTICATE = 0x82
    GENERAL_AUTHENTICATE = 0x87
    INTERNAL_AUTHENTICATE = 0x88
    SELECT = 0xA4
    GET_RESPONSE = 0xC0
    GET_DATA = 0xCB
    PUT_DATA = 0xDB
    INITIALIZE_UPDATE = 0x50
    GP_GET_DATA = 0xCA
    PUT_KEY = 0xD8
    STORE_DATA = 0xE2
    DELETE = 0xE4
    INSTALL = 0xE6
    SET_STATUS = 0xF0
    GET_STATUS = 0xF2


class Command(NamedTuple):
    """One command APDU. `le` is Ne, the longest answer wanted (1 to 256, extended to 65,536); None asks for no data.

    A tuple, since a card makes one for each exchange and a frozen dataclass takes three times as long to make.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    extended: bool = False

    def encode(self) -> bytes:
        """Write the APDU. Raises Malformed when the data or `le` do not fit the form (a longer one needs a chain)."""
        data, le = self.data, self.le
        try:
            header = bytes((self.cla, self.ins, self.p1, self.p2))
        except ValueError as error:
            raise Malformed("command APDU", "CLA, INS, P1 and P2 are one byte each") from error
        if self.extended:
            if len(data) > EXTENDED_DATA_MAX or (le is not None and not 1 <= le <= EXTENDED_NE_MAX):
                raise Malformed("command APDU", f"{len(data)} bytes of data, Ne {le}: more than an extended APDU holds")
            body = b"\x00" + len(data).to_bytes(2, "big") + data if data else b""
            if le is None:
                return header + body
            return header + (body or b"\x00") + (le & 0xFFFF).to_bytes(2, "big")
        if len(data) > SHORT_DATA_MAX or (le is not None and not 1 <= le <= SHORT_NE_MAX):
            raise Malformed("command APDU", f"{len(data)} bytes of data, Ne {le}: more than a short APDU holds")
        body = bytes((len(data),)) + data if data else b""
        return header + body if le is None else header + body + bytes((le & 0xFF,))


def decode_command(raw: bytes) -> Command:
    """Read a command APDU of any case. Raises Malformed unless its length is exactly what Lc and Le say."""
    size = len(raw)
    if size < 4:
        raise Malformed("command APDU", f"a header has 4 bytes, got {size}")
    cla, ins, p1, p2 = raw[0], raw[1], raw[2], raw[3]
    if size == 4:
        return Command(cla, ins, p1, p2)
    first = raw[4]
    if size == 5:
        return Command(cla, ins, p1, p2, b"", first or SHORT_NE_MAX)
    if first:
        end = 5 + first
        if size == end:
            return Command(cla, ins, p1, p2, raw[5:])
        if size == end + 1:
            return Command(cla, ins, p1, p2, raw[5:end], raw[end] or SHORT_NE_MAX)
        raise Malformed("command APDU", f"Lc {first} does not fit {size} bytes")
    return _decode_extended(raw)


def _decode_extended(raw: bytes) -> Command:
    """The forms whose fifth byte is 00 and which are longer than five bytes."""
    size = len(raw)
    cla, ins, p1, p2 = raw[0], raw[1], raw[2], raw[3]
    if size < 7:
        raise Malformed("command APDU", "an extended length has two bytes")
    number = int.from_bytes(raw[5:7], "big")
    if size == 7:
        return Command(cla, ins, p1, p2, b"", number or EXTENDED_NE_MAX, extended=True)
    end = 7 + number
    if number and size == end:
        return Command(cla, ins, p1, p2, raw[7:], extended=True)
    if number and size == end + 2:
        ne = int.from_bytes(raw[end:], "big") or EXTENDED_NE_MAX
        return Command(cla, ins, p1, p2, raw[7:end], ne, extended=True)
    raise Malformed("command APDU", f"extended Lc {number} does not fit {size} bytes")


def split_chain(command: Command, block: int = SHORT_DATA_MAX) -> tuple[Command, ...]:
    """Cut a command into a chain of short blocks (ISO/IEC 7816-4 §5.3.3): all but the last have CLA bit 5 set.

    The last block alone carries `le`. A command that fits in one block comes back as it is.
    """
    if not 1 <= block <= SHORT_DATA_MAX:
        raise Malformed("command chain", f"a block of {block} bytes")
    data = command.data
    if len(data) <= block:
        return (command,)
    cla, ins, p1, p2 = command.cla, command.ins, command.p1, command.p2
    last = (len(data) - 1) // block * block
    return (
        *(Command(cla | CHAIN_BIT, ins, p1, p2, data[at : at + block]) for at in range(0, last, block)),
        Command(cla, ins, p1, p2, data[last:], command.le),
    )


def with_le(raw: bytes, le: int) -> bytes:
    """The same short command with another Le: what 6Cxx asks for. Raises Malformed for an extended one.

    A protected command may be sent so again: neither its C-MAC nor the card's counter knows of Le.
    """
    if len(raw) > 5 and raw[4] == 0:
        raise Malformed("card answer", "6Cxx to an extended command")
    has_le = len(raw) == 5 or (len(raw) > 5 and len(raw) == 6 + raw[4])
    return (raw[:-1] if has_le else raw) + bytes((le & 0xFF,))


def command_name(ins: int) -> str:
    """The instruction's name for errors and logs: "GET DATA", or "INS F8" where it has no standard name."""
    try:
        return Ins(ins).name.replace("_", " ")
    except ValueError:
        return f"INS {ins:02X}"


@dataclass(frozen=True, slots=True)
class Response:
    """One response APDU: its data and the status word SW1 SW2 as one number."""

    data: bytes
    sw: int

    def encode(self) -> bytes:
        """Write data, SW1, SW2."""
        if not 0 <= self.sw <= 0xFFFF:
            raise Malformed("response APDU", f"{self.sw} is no status word")
        return self.data + self.sw.to_bytes(2, "big")


def decode_response(raw: bytes) -> Response:
    """Split an answer into data and status word. Raises Malformed for fewer than two bytes or SW1 outside 6x and 9x."""
    if len(raw) < 2:
        raise Malformed("response APDU", f"a status word has 2 bytes, got {len(raw)}")
    if raw[-2] >> 4 not in (6, 9) or raw[-2] == 0x60:
        raise Malformed("response APDU", f"SW1 is {raw[-2]:02X}")
    return Response(raw[:-2], raw[-2] << 8 | raw[-1])
