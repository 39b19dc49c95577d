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
AES_128_192_256 = 0x07


class CardTag(IntEnum):
    """Data objects of GET DATA (GPCS §H.3, §11.3.3.1); CPLC after GlobalPlatform's mapping guidelines.

    CF, the key diversification data alone, is no standard's; many cards have it and GlobalPlatformPro asks for it.
    """

    IIN = 0x0042
    CIN = 0x0045
    RECOGNITION = 0x0066
    CAPABILITY = 0x0067
    SEQUENCE_COUNTER = 0x00C1
    DIVERSIFICATION = 0x00CF
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
    LOAD_FILES_AND_MODULES = 0x10
    DOMAIN_AND_APPLICATIONS = 0x60  # SET STATUS alone


SCOPES = frozenset(int(one) for one in Scope if one is not Scope.DOMAIN_AND_APPLICATIONS)


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


EXTENDED_KEY_TYPE = 0xFF


def decode_key_info(answer: bytes) -> tuple[KeyEntry, ...]:
    """Read key information: E0 templates (GPCS §11.3.3.1), or the C0 lines alone as YubiKeys give them.

    Of a key with several components the first one is told. In the extended form (Table 11-29: type FF, the type,
    the length on two bytes) the length is that of the first component as well; 0 where the card does not say.
    """
    lines: list[tuple[int, bytes]] = []
    for tag, value in tlv.parse(answer, repeats=True):
        lines += tlv.parse(value, repeats=True) if tag == 0xE0 else [(tag, value)]
    return tuple(_key_entry(tag, value) for tag, value in lines)


def _key_entry(tag: int, value: bytes) -> KeyEntry:
    if tag != 0xC0 or len(value) < 4:
        raise Malformed("key information", f"{tag:02X} of {len(value)} bytes")
    if value[2] != EXTENDED_KEY_TYPE:
        if len(value) % 2:
            raise Malformed("key information", f"C0 of {len(value)} bytes")
        return KeyEntry(*value[:4])
    if len(value) < 6:
        raise Malformed("key information", f"C0 of {len(value)} bytes with key type FF")
    return KeyEntry(value[0], value[1], value[3], int.from_bytes(value[4:6], "big"))


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
    """Read the secure channel protocols of card recognition data: pairs of protocol and option "i".

    The template is there, 66 {73 {...}}, or left out, as YubiKeys do. SCP11 writes its option as an arc of two bytes.
    """
    found = []
    outer = tlv.parse(answer)
    fields = tlv.parse(tlv.unwrap(outer[0][1] if [tag for tag, _ in outer] == [0x66] else answer, 0x73), repeats=True)
    if (0x06, GP_OID + b"\x01") not in fields:
        raise Malformed("card recognition data", "not GlobalPlatform's")
    for tag, value in fields:
        if tag == 0x64:
            oid = tlv.unwrap(value, 0x06)
            arcs = oid[len(GP_OID) + 1 :]
            if len(arcs) < 2 or not oid.startswith(GP_OID + b"\x04"):
                raise Malformed("card recognition data", f"protocol {oid.hex()}")
            found.append((arcs[0], _arc(arcs[1:])))
    return tuple(found)


def _arc(raw: bytes) -> int:
    """One arc of an object identifier, seven bits a byte (ISO/IEC 8825-1 §8.19)."""
    value = 0
    for byte in raw:
        value = value << 7 | byte & 0x7F
    return value


def encode_capability(option: int) -> bytes:
    """Write the card capability information of a card with SCP03 alone, with AES keys of all lengths.

    67 {A0 {80 protocol, 81 options, 82 key lengths}} (GPCS §H.4, Table H-4); what a card that loads no code does not
    have is left out.
    """
    scp = tlv.encode_all(((0x80, bytes((SCP03,))), (0x81, bytes((option,))), (0x82, bytes((AES_128_192_256,)))))
    return tlv.encode(CardTag.CAPABILITY, tlv.encode(0xA0, scp))


CPLC_BYTES = 42


@dataclass(frozen=True, slots=True)
class Cplc:
    """Card production life cycle data, as far as it tells cards apart: 42 bytes, tag 9F7F.

    `pre_personaliser` and `personaliser` are 8 bytes each: who, on which day, with which equipment.
    """

    ic_fabricator: int
    ic_type: int
    os_id: int
    ic_serial: bytes
    ic_batch: int
    pre_personaliser: bytes = bytes(8)
    personaliser: bytes = bytes(8)

    def encode(self) -> bytes:
        """Write 9F7F 2A ...; the fields that we do not use are zero."""
        head = b"".join(one.to_bytes(2, "big") for one in (self.ic_fabricator, self.ic_type, self.os_id))
        value = head + bytes(6) + self.ic_serial + self.ic_batch.to_bytes(2, "big") + bytes(8)
        return tlv.encode(CardTag.CPLC, value + self.pre_personaliser + self.personaliser)


def decode_cplc(answer: bytes) -> Cplc:
    """Read CPLC, with its tag or without. Raises Malformed unless it has its 42 bytes."""
    value = answer if len(answer) == CPLC_BYTES else tlv.unwrap(answer, CardTag.CPLC)
    if len(value) != CPLC_BYTES:
        raise Malformed("CPLC", f"want {CPLC_BYTES} bytes, got {len(value)}")
    fabricator, ic_type, os_id = (int.from_bytes(value[at : at + 2], "big") for at in (0, 2, 4))
    batch = int.from_bytes(value[16:18], "big")
    return Cplc(fabricator, ic_type, os_id, value[12:16], batch, value[26:34], value[34:])


def get_status(scope: Scope, aid: bytes = b"", is_next: bool = False, tags: bytes = b"") -> Command:
    """GET STATUS in its TLV form, of all (no AID) or of those that begin with `aid`; `is_next` goes on after 6310.

    `tags` is a tag list as it stands in 5C; without one the card tells what it thinks right.
    """
    data = tlv.encode(0x4F, aid) + (tlv.encode(0x5C, tags) if tags else b"")
    return Command(CLA_GP, Ins.GET_STATUS, scope, 0x03 if is_next else 0x02, data, 256)


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """What a GET STATUS asks for. `tags` is empty without a tag list; `is_tlv` is False for the deprecated form."""

    scope: Scope
    aid: bytes
    is_next: bool
    is_tlv: bool = True
    tags: tuple[int, ...] = ()


def parse_get_status(command: Command) -> StatusQuery:
    """Read GET STATUS in both forms (GPCS §11.4.2); a tag list belongs to the TLV form."""
    if command.p1 not in SCOPES or command.p2 & ~0x03:
        raise Malformed("GET STATUS", f"P1 P2 {command.p1:02X}{command.p2:02X}")
    is_tlv = bool(command.p2 & 0x02)
    objects = tlv.parse(command.data)
    wanted = [0x4F, 0x5C] if is_tlv and len(objects) == 2 else [0x4F]
    if [tag for tag, _ in objects] != wanted:
        raise Malformed("GET STATUS", "want 4F, then at most 5C")
    tags = parse_tag_list(objects[1][1]) if len(objects) == 2 else ()
    return StatusQuery(Scope(command.p1), objects[0][1], bool(command.p2 & 0x01), is_tlv, tags)


def parse_tag_list(raw: bytes) -> tuple[int, ...]:
    """Read tags that stand one after the other (ISO/IEC 7816-4 §8.5.1)."""
    tags, at = [], 0
    while at < len(raw):
        size = 1 if raw[at] & 0x1F != 0x1F else 2
        if at + size > len(raw) or not raw[at]:
            raise Malformed("tag list", "cut short")
        tags.append(int.from_bytes(raw[at : at + size], "big"))
        at += size
    return tuple(tags)


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """One entry of GET STATUS: AID, life cycle state, the privilege bytes, the AID of its security domain."""

    aid: bytes
    state: int
    privileges: bytes = b"\0\0\0"
    domain: bytes = b""


DEFAULT_STATUS_TAGS = (0x4F, 0x9F70, 0xC5)


def encode_status(entries: Iterable[StatusEntry], tags: tuple[int, ...] = ()) -> bytes:
    """Write E3 {4F AID, 9F70 state, C5 privileges, CC domain} for each entry (GPCS §11.4.3.1, Table 11-36).

    With a tag list only what it names and the entry has, in the table's order; without one the first three.
    """
    wanted = tags or DEFAULT_STATUS_TAGS
    answer = b""
    for one in entries:
        fields = ((0x4F, one.aid), (0x9F70, bytes((one.state,))), (0xC5, one.privileges), (0xCC, one.domain))
        answer += tlv.encode(0xE3, tlv.encode_all((tag, value) for tag, value in fields if tag in wanted and value))
    return answer


def encode_old_status(entries: Iterable[StatusEntry]) -> bytes:
    """Write length, AID, state, and the first privilege byte for each entry (GPCS §11.4.3.1, the deprecated form)."""
    return b"".join(bytes((len(one.aid),)) + one.aid + bytes((one.state,)) + one.privileges[:1] for one in entries)


def decode_old_status(answer: bytes) -> tuple[StatusEntry, ...]:
    """Read the deprecated form of GET STATUS' answer."""
    entries, at = [], 0
    while at < len(answer):
        end = at + 1 + answer[at]
        if not 5 <= answer[at] <= 16 or end + 2 > len(answer):
            raise Malformed("GET STATUS answer", "broken length")
        entries.append(StatusEntry(answer[at + 1 : end], answer[end], answer[end + 1 : end + 2]))
        at = end + 2
    return tuple(entries)


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
        entries.append(StatusEntry(inner[0x4F], state[0], inner.get(0xC5, b""), inner.get(0xCC, b"")))
    return tuple(entries)


def set_status(scope: Scope, state: int, aid: bytes) -> Command:
    """SET STATUS of the card (with the issuer domain's scope), or lock (80) and unlock (00) of an application."""
    return Command(CLA_GP, Ins.SET_STATUS, scope, state, aid)


def parse_set_status(command: Command) -> tuple[Scope, int, bytes]:
    """Give scope, new state and AID of a SET STATUS."""
    if command.p1 not in (Scope.ISSUER_DOMAIN, Scope.APPLICATIONS, Scope.DOMAIN_AND_APPLICATIONS):
        raise Malformed("SET STATUS", f"P1 {command.p1:02X}")
    return Scope(command.p1), command.p2, command.data
