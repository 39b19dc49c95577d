"""What an exchange would take on a real card: the wire, the chip's arithmetic, reader and host.

The wire. Contactless, ISO/IEC 14443: a byte is 8 bits and parity, a bit 128 periods of 13.56 MHz at 106 kbit/s and a
half, a quarter, an eighth of that above (85, 42, 21, 10.6 us a byte); a block has 3 bytes around at most 253 (frames of
256), a longer APDU is chained and each block but its last acknowledged by one of 3 bytes; 0.1 ms between blocks.
Contact, ISO/IEC 7816-3 T=1: a byte is 11 etu of Fi/Di clock periods, a block has 4 bytes around at most 254, 22 etu
between blocks.

The chip. Milliseconds of an operation from the published measurements of JCAlgTest (Centre for Research on Cryptography
and Security, Masaryk University) over 46 cards: median, upper quartile, slowest, and JCOP4 as a good current chip. What
was not measured is extrapolated and said to be: work grows with the cube of the number's length for one operation, with
the fourth power for an RSA key pair. Symmetric arithmetic, storage and comparisons cost nothing here.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from cardlink.access.pkoc import INS_AUTHENTICATE
from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.cla import CHAIN_BIT
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import KEYS, Algorithm, Interface, KeyRef, YubicoIns
from cardos.errors import Failed
from cardos.vpcd import Answering

CARRIER_HZ = 13_560_000
BIT_RATES = (106, 212, 424, 848)  # kbit/s, nominal
CONTACT_CLOCK_HZ = 4_000_000
DEFAULT_FI, DEFAULT_DI = 372, 1  # ISO/IEC 7816-3 §8.1, until the reader and the card agree on more
TURNAROUND_S = 0.0001


class Operation(Enum):
    """What a chip takes noticeable time for."""

    P_256_SIGN = "P-256 signature"
    P_256_ECDH = "P-256 key agreement"
    P_256_GENERATE = "P-256 key pair"
    RSA_2048_PRIVATE = "RSA-2048 private operation"
    RSA_2048_GENERATE = "RSA-2048 key pair"


_O = Operation
# Milliseconds, in the order of Operation.
_MEASURED = {
    "median": (59.0, 105.0, 156.0, 426.0, 11_986.0),
    "upper-quartile": (79.0, 119.0, 304.0, 617.0, 21_138.0),
    "slowest": (146.0, 187.0, 868.0, 1_569.0, 69_096.0),
    "jcop4": (32.0, 20.0, 27.0, 53.0, 5_225.0),
}
CHIPS: MappingProxyType[str, MappingProxyType[Operation, float]] = MappingProxyType(
    {name: MappingProxyType(dict(zip(Operation, row, strict=True))) for name, row in _MEASURED.items()}
)


@dataclass(frozen=True, slots=True)
class Work:
    """One operation, `factor` times as long as the measured one it is taken from (1: measured itself)."""

    operation: Operation
    factor: float = 1.0


_CURVES: dict[int, float] = {
    Algorithm.P_256: 1.0,
    Algorithm.ED25519: 1.0,
    Algorithm.X25519: 1.0,
    Algorithm.P_384: 1.5**3,
}
_RSA: dict[int, float] = {
    Algorithm.RSA_1024: 0.5,
    Algorithm.RSA_2048: 1.0,
    Algorithm.RSA_3072: 1.5,
    Algorithm.RSA_4096: 2.0,
}
SIGNATURES: dict[int, Work] = {one: Work(_O.P_256_SIGN, factor) for one, factor in _CURVES.items()} | {
    one: Work(_O.RSA_2048_PRIVATE, ratio**3) for one, ratio in _RSA.items()
}
AGREEMENTS: dict[int, Work] = {one: Work(_O.P_256_ECDH, factor) for one, factor in _CURVES.items()} | {
    # the session of SP 800-73pt2-5 §4.1: one agreement with the card's static key
    Algorithm.CS2: Work(_O.P_256_ECDH),
    Algorithm.CS7: Work(_O.P_256_ECDH, 1.5**3),
}
KEY_PAIRS: dict[int, Work] = {one: Work(_O.P_256_GENERATE, factor) for one, factor in _CURVES.items()} | {
    one: Work(_O.RSA_2048_GENERATE, ratio**4) for one, ratio in _RSA.items()
}
_AGREEING_CURVES = frozenset(_CURVES)


# F9 attests, 9E answers a door of ours, the PKOC key one of others
_P_256_SIGNERS = frozenset((YubicoIns.ATTEST, Ins.INTERNAL_AUTHENTICATE, INS_AUTHENTICATE))


def work_of(apdu: bytes, answer: bytes) -> Work | None:
    """The operation that a command made the card do; None for a refusal, a block of a chain, or what costs nothing."""
    if len(apdu) < 5 or apdu[0] & CHAIN_BIT or not (answer.endswith(SUCCESS_BYTES) or answer[-2:-1] == b"\x61"):
        return None
    ins, p1, ref = apdu[1], apdu[2], apdu[3]
    if ins == Ins.GENERAL_AUTHENTICATE:
        row = KEYS.get(ref)
        if ref == KeyRef.SECURE_MESSAGING or (row is not None and row.can_agree and p1 in _AGREEING_CURVES):
            return AGREEMENTS.get(p1)
        return SIGNATURES.get(p1)
    if ins == Ins.GENERATE_ASYMMETRIC_KEY_PAIR:
        at = apdu.find(b"\x80\x01", 5)
        return KEY_PAIRS.get(apdu[at + 2]) if 0 <= at < len(apdu) - 2 else None
    if ins in _P_256_SIGNERS:
        return SIGNATURES[Algorithm.P_256]
    return None


@dataclass(frozen=True, slots=True)
class Link:
    """One kind of wire: seconds for a byte, between blocks, and how APDUs are cut into blocks."""

    byte_s: float
    turnaround_s: float
    block_head: int
    block_data: int

    def seconds(self, size: int) -> float:
        """The time of one APDU, in one direction, with the acknowledgements of its chained blocks."""
        blocks = max(1, -(-size // self.block_data))
        acknowledged = blocks - 1
        on_wire = size + self.block_head * (blocks + acknowledged)
        return on_wire * self.byte_s + (blocks + acknowledged) * self.turnaround_s


def contactless(kbit: int = BIT_RATES[0]) -> Link:
    """ISO/IEC 14443 at one of `BIT_RATES`."""
    byte_s = 9 * 128 / CARRIER_HZ / (kbit // BIT_RATES[0])
    return Link(byte_s, TURNAROUND_S, block_head=3, block_data=253)


def contact(fi: int = DEFAULT_FI, di: int = DEFAULT_DI, clock_hz: int = CONTACT_CLOCK_HZ) -> Link:
    """ISO/IEC 7816-3, T=1."""
    etu_s = fi / di / clock_hz
    return Link(11 * etu_s, 22 * etu_s, block_head=4, block_data=254)


@dataclass(frozen=True, slots=True)
class Duration:
    """How long an exchange would take, in seconds: on the wire, in the chip, in reader and host."""

    wire_s: float
    chip_s: float
    host_s: float
    is_extrapolated: bool = False

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.wire_s + self.chip_s + self.host_s


@dataclass(frozen=True, slots=True)
class Timing:
    """A chip and its two wires. `host_s` is what reader and host add to each APDU; public logs show 5 to 10 ms."""

    chip: str = "median"
    contactless: Link = field(default_factory=contactless)
    contact: Link = field(default_factory=contact)
    host_s: float = 0.0

    def exchange(self, apdu: bytes, answer: bytes, interface: Interface) -> Duration:
        """What this exchange would take."""
        link = self.contact if interface is Interface.CONTACT else self.contactless
        work = work_of(apdu, answer)
        chip_s = CHIPS[self.chip][work.operation] * work.factor / 1000 if work is not None else 0.0
        wire_s = link.seconds(len(apdu)) + link.seconds(len(answer))
        return Duration(wire_s, chip_s, self.host_s, work is not None and work.factor != 1.0)


_WRITTEN = re.compile(r"([a-z0-9-]+?)(?:@(\d+))?(?:,(\d+)/(\d+))?(?:\+(\d+(?:\.\d+)?))?")
FI_VALUES = frozenset((372, 512, 558, 744, 768, 1024, 1116, 1488, 1536, 1860, 2048))
DI_VALUES = frozenset((1, 2, 4, 8, 12, 16, 20, 32, 64))


def parse_timing(text: str) -> Timing:
    """Read `CHIP[@KBIT][,FI/DI][+MS]`, such as `jcop4@424` or `median@106,512/32+7`. Raises Failed."""
    found = _WRITTEN.fullmatch(text.lower())
    if found is None:
        raise Failed("timing.bad", text=text)
    chip, kbit, fi, di, host_ms = found.groups()
    if chip not in CHIPS:
        raise Failed("timing.unknown-chip", name=chip, names=", ".join(CHIPS))
    rate = int(kbit or BIT_RATES[0])
    ratio = (int(fi or DEFAULT_FI), int(di or DEFAULT_DI))
    if rate not in BIT_RATES or ratio[0] not in FI_VALUES or ratio[1] not in DI_VALUES:
        raise Failed("timing.bad", text=text)
    return Timing(chip, contactless(rate), contact(*ratio), float(host_ms or 0) / 1000)


class Timed:
    """A card that takes as long as a real one would: it answers late by what our own arithmetic was faster."""

    __slots__ = ("_below", "_clock", "_sleep", "_timing")

    def __init__(
        self,
        below: Answering,
        timing: Timing,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._below = below
        self._timing = timing
        self._clock = clock
        self._sleep = sleep

    @property
    def atr(self) -> bytes:
        """The ATR of the card below."""
        return self._below.atr

    def transmit(self, apdu: bytes, interface: Interface) -> bytes:
        """The answer of the card below, when its time has come."""
        began = self._clock()
        answer = self._below.transmit(apdu, interface)
        left = self._timing.exchange(apdu, answer, interface).total_s - (self._clock() - began)
        if left > 0:
            self._sleep(left)
        return answer

    def reset(self) -> None:
        """Reset the card below."""
        self._below.reset()
