"""What a card says of itself: GET DATA, GET STATUS, and SET STATUS that changes it.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11.3, §11.4, §11.10 and Appendix H.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from cardlink.errors import Malformed
from cardlink.gp.commands import CLA_GP, KEY_TYPE_AES, SCP03
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, Ins

GP_OID = bytes.fromhex("2A864886FC6B")  # 1.2.840.114283
GP_VERSION = bytes((2, 3, 1))


class CardTag(IntEnum):
    """Data objects of GET DATA (GPCS §H.3, §11.3.3.1); CPLC after GlobalPlatform's mapping guidelines."""

    IIN = 0x0042
    CIN = 0x0045
    RECOGNITION = 0x0066
    SEQUENCE_COUNTER = 0x00C1
    KEY_INFO = 0x00E0
    CPLC = 0x9F7F


class LifeCycle(IntEnum):
    """Card life cycle (GPCS §11.1.1, Table 11-5)."""

    OP_READY = 0x01
    INITIALIZED = 0x07
    SECURED = 0x0F
    CARD_LOCKED = 0x7F
    TERMINATED = 0xFF


class AppState(IntEnum):
    """Application life cycle (GPCS §11.1.1, Table 11-3); 80 on top means locked."""

    INSTALLED = 0x03
    SELECTABLE = 0x07
    LOCKED = 0x80


class Scope(IntEnum):
    """P1 of GET STATUS and SET STATUS (GPCS §11.4.2.1, Table 11-31; §11.10.2.1)."""

    ISSUER_DOMAIN = 0x80
    APPLICATIONS = 0x40
    LOAD_FILES = 0x20


SCOPES = frozenset(int(one) for one in Scope)


def get_data(tag: CardTag) -> Command:
    """GET DATA; the tag stands in P1 P2."""
    return Command(CLA_GP, Ins.GP_GET_DATA, tag >> 8, tag & 0xFF, b"", 256)


def parse_get_data(command: Command) -> int:
    """Give the tag that a GET DATA asks for."""
    if command.data:
        raise Malformed("GET DATA", f"{len(command.data)} bytes of data")
    return command.p1 << 8 | command.p2


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One line of the key information template: identifier, version, type and length in bytes."""

    key_id: int
    kvn: int
    key_type: int = KEY_TYPE_AES
    key_bytes: int = 16


def encode_key_info(entries: Iterable[KeyEntry]) -> bytes:
    """Write E0 {C0 identifier version type length, ...} (GPCS §11.3.3.1, Table 11-28)."""
    lines = (tlv.encode(0xC0, bytes((one.key_id, one.kvn, one.key_type, one.key_bytes))) for one in entries)
    return tlv.encode(0xE0, b"".join(lines))


def decode_key_info(answer: bytes) -> tuple[KeyEntry, ...]:
    """Read the key information template; the basic form only, one component a key."""
    entries = []
    for tag, value in tlv.parse(tlv.unwrap(answer, 0xE0), repeats=True):
        if tag != 0xC0 or len(value) != 4:
            raise Malformed("key information", f"{tag:02X} of {len(value)} bytes")
        entries.append(KeyEntry(*value))
    return tuple(entries)


def encode_recognition(option: int) -> bytes:
    """Write the card recognition data of a card with SCP03 and this option "i" (GPCS §H.2, Table H-1)."""
    fields = (
        tlv.encode(0x06, GP_OID + b"\x01")
        + tlv.encode(0x60, tlv.encode(0x06, GP_OID + b"\x02" + GP_VERSION))
        + tlv.encode(0x63, tlv.encode(0x06, GP_OID + b"\x03"))
        + tlv.encode(0x64, tlv.encode(0x06, GP_OID + bytes((0x04, SCP03, option))))
    )
    return tlv.encode(0x66, tlv.encode(0x73, fields))


def decode_recognition(answer: bytes) -> tuple[tuple[int, int], ...]:
    """Read the secure channel protocols of card recognition data: pairs of protocol and option "i"."""
    found = []
    fields = tlv.parse(tlv.unwrap(tlv.unwrap(answer, 0x66), 0x73), repeats=True)
    if (0x06, GP_OID + b"\x01") not in fields:
        raise Malformed("card recognition data", "not GlobalPlatform's")
    for tag, value in fields:
        if tag == 0x64:
            oid = tlv.unwrap(value, 0x06)
            if len(oid) != len(GP_OID) + 3 or not oid.startswith(GP_OID + b"\x04"):
                raise Malformed("card recognition data", f"protocol {oid.hex()}")
            found.append((oid[-2], oid[-1]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Cplc:
    """Card production life cycle data, as far as it tells cards apart: 42 bytes, tag 9F7F."""

    ic_fabricator: int
    ic_type: int
    os_id: int
    ic_serial: bytes
    ic_batch: int

    def encode(self) -> bytes:
        """Write 9F7F 2A ...; the fields that we do not use are zero."""
        head = b"".join(one.to_bytes(2, "big") for one in (self.ic_fabricator, self.ic_type, self.os_id))
        value = head + bytes(6) + self.ic_serial + self.ic_batch.to_bytes(2, "big") + bytes(24)
        return tlv.encode(CardTag.CPLC, value)


def decode_cplc(answer: bytes) -> Cplc:
    """Read CPLC. Raises Malformed unless it has its 42 bytes."""
    value = tlv.unwrap(answer, CardTag.CPLC)
    if len(value) != 42:
        raise Malformed("CPLC", f"want 42 bytes, got {len(value)}")
    fabricator, ic_type, os_id = (int.from_bytes(value[at : at + 2], "big") for at in (0, 2, 4))
    return Cplc(fabricator, ic_type, os_id, value[12:16], int.from_bytes(value[16:18], "big"))


def get_status(scope: Scope, aid: bytes = b"", is_next: bool = False) -> Command:
    """GET STATUS in its TLV form, of all (no AID) or of those that begin with `aid`; `is_next` goes on after 6310."""
    return Command(CLA_GP, Ins.GET_STATUS, scope, 0x03 if is_next else 0x02, tlv.encode(0x4F, aid), 256)


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """What a GET STATUS asks for."""

    scope: Scope
    aid: bytes
    is_next: bool


def parse_get_status(command: Command) -> StatusQuery:
    """Read GET STATUS. The old form without TLV (P2 b2 = 0) is refused; a tag list (5C) is allowed and not followed."""
    if command.p1 not in SCOPES or command.p2 not in (0x02, 0x03):
        raise Malformed("GET STATUS", f"P1 P2 {command.p1:02X}{command.p2:02X}")
    objects = tlv.parse(command.data)
    if not objects or objects[0][0] != 0x4F or any(tag != 0x5C for tag, _ in objects[1:]):
        raise Malformed("GET STATUS", "want 4F first")
    return StatusQuery(Scope(command.p1), objects[0][1], command.p2 == 0x03)


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """One entry of GET STATUS: AID, life cycle state and the three privilege bytes."""

    aid: bytes
    state: int
    privileges: bytes = b"\0\0\0"


def encode_status(entries: Iterable[StatusEntry]) -> bytes:
    """Write E3 {4F AID, 9F70 state, C5 privileges} for each entry (GPCS §11.4.3.1, Table 11-36)."""
    return b"".join(
        tlv.encode(0xE3, tlv.encode_all(((0x4F, one.aid), (0x9F70, bytes((one.state,))), (0xC5, one.privileges))))
        for one in entries
    )


def decode_status(answer: bytes) -> tuple[StatusEntry, ...]:
    """Read the answer to GET STATUS; what we do not use in an entry is passed over."""
    entries = []
    for tag, value in tlv.parse(answer, repeats=True):
        if tag != 0xE3:
            raise Malformed("GET STATUS answer", f"tag {tag:02X}")
        inner = dict(tlv.parse(value, repeats=True))
        state = inner.get(0x9F70, b"")
        if 0x4F not in inner or not 1 <= len(state) <= 2:
            raise Malformed("GET STATUS answer", "entry without AID or state")
        entries.append(StatusEntry(inner[0x4F], state[0], inner.get(0xC5, b"")))
    return tuple(entries)


def set_status(scope: Scope, state: int, aid: bytes) -> Command:
    """SET STATUS of the card (with the issuer domain's scope) or of an application."""
    return Command(CLA_GP, Ins.SET_STATUS, scope, state, aid)


def parse_set_status(command: Command) -> tuple[Scope, int, bytes]:
    """Give scope, new state and AID of a SET STATUS."""
    if command.p1 not in (Scope.ISSUER_DOMAIN, Scope.APPLICATIONS):
        raise Malformed("SET STATUS", f"P1 {command.p1:02X}")
    return Scope(command.p1), command.p2, command.data
