"""What stands in the simple containers: certificates, capabilities, printed information, discovery, key history.

Each `encode_*` gives a container's content, without the 53 around it; each `decode_*` reads that content.
Source: SP 800-73pt1-5, Appendix A.
"""

import zlib
from dataclasses import dataclass, field
from datetime import date

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.fields import decode_fields, encode_fields
from cardlink.piv.tables import (
    CCC,
    CERT_PIV_AUTH,
    DISCOVERY,
    KEY_HISTORY,
    PAIRING_CODE_REFERENCE,
    PIV_AID,
    PRINTED_INFORMATION,
)

CERTIFICATE_MAX = 16_384
# 71: bit 1 says gzip; the other bits are zero (SP 800-73pt1-5, Appendix A, CertInfo)
PLAIN, GZIP = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class CertificateObject:
    """A certificate container. `certificate` is DER, unpacked where it was compressed.

    `intermediate` is the 7F21 certificate beside the secure messaging signer's; `mscuid` a value of older cards.
    """

    certificate: bytes = field(repr=False)
    compressed: bool = False
    intermediate: bytes = field(default=b"", repr=False)
    mscuid: bytes = field(default=b"", repr=False)


def encode_certificate(certificate: bytes, *, compressed: bool = False, intermediate: bytes = b"") -> bytes:
    """Write a certificate container: 70 71 [7F21] FE."""
    stored = certificate
    if compressed:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        stored = packer.compress(certificate) + packer.flush()
    objects = [(0x70, stored), (0x71, GZIP if compressed else PLAIN)]
    if intermediate:
        objects.append((0x7F21, intermediate))
    return encode_fields(objects)


def decode_certificate(content: bytes) -> CertificateObject:
    """Read a certificate container. Raises Malformed, also for a gzip body that unpacks to more than 16 KB."""
    fields = decode_fields(CERT_PIV_AUTH, content, (0x70, 0x71, 0xFE), inner=(0x70, 0x71, 0x72, 0x7F21, 0xFE))
    if fields[0x71] not in (PLAIN, GZIP):
        raise Malformed("certificate", f"CertInfo is {fields[0x71].hex()}")
    compressed = fields[0x71] == GZIP
    certificate = _unzip(fields[0x70]) if compressed else fields[0x70]
    if not certificate:
        raise Malformed("certificate", "empty")
    return CertificateObject(certificate, compressed, fields.get(0x7F21, b""), fields.get(0x72, b""))


def _unzip(stored: bytes) -> bytes:
    """Unpack one gzip member, never beyond CERTIFICATE_MAX."""
    unpacker = zlib.decompressobj(31)
    try:
        certificate = unpacker.decompress(stored, CERTIFICATE_MAX)
    except zlib.error as error:
        raise Malformed("certificate", f"gzip: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("certificate", f"gzip: no end within {CERTIFICATE_MAX} bytes, or bytes after it")
    return certificate


GSC_RID = bytes.fromhex("A000000116")
_CCC_TAIL = tuple(
    (tag, bytes.fromhex(value))
    for tag, value in (
        (0xF1, "21"),  # container version 2.1
        (0xF2, "21"),  # grammar version 2.1
        (0xF3, ""),
        (0xF4, "00"),  # no PKCS#15
        (0xF5, "10"),  # data model of PIV
        (0xF6, ""),
        (0xF7, ""),
        (0xFA, ""),
        (0xFB, ""),
        (0xFC, ""),
        (0xFD, ""),
    )
)


@dataclass(frozen=True, slots=True)
class CardCapability:
    """What is said by a CCC: the maker's byte, the card's type (02: Java Card) and 14 bytes that name the card."""

    manufacturer: int
    card_type: int
    card_number: bytes
    data_model: int = 0x10


def encode_ccc(card_number: bytes, *, manufacturer: int = 0xFF, card_type: int = 0x02) -> bytes:
    """Write a card capability container for the PIV data model; `card_number` has 14 bytes."""
    if len(card_number) != 14:
        raise Malformed(CCC.name, f"a card number has 14 bytes, got {len(card_number)}")
    return encode_fields([(0xF0, GSC_RID + bytes((manufacturer, card_type)) + card_number), *_CCC_TAIL])


def decode_ccc(content: bytes) -> CardCapability:
    """Read a card capability container. Raises Malformed. E3 and B4 of older cards are passed over."""
    inner = (*CCC.inner[:-1], 0xE3, 0xB4, 0xFE)
    fields = decode_fields(CCC, content, CCC.inner, inner=inner)
    identifier = fields[0xF0]
    if len(identifier) != 21:
        raise Malformed(CCC.name, f"the card identifier has 21 bytes, got {len(identifier)}")
    if len(fields[0xF5]) != 1:
        raise Malformed(CCC.name, "the data model number is one byte")
    return CardCapability(identifier[5], identifier[6], identifier[7:], fields[0xF5][0])


@dataclass(frozen=True, slots=True)
class PrintedInformation:
    """The text on the card's face, in ASCII: a name in another script stands here transliterated."""

    name: str
    affiliation: str
    expires: date
    serial: str
    issuer: str
    line_1: str = ""
    line_2: str = ""


_TEXTS = (
    (0x01, "name", 125),
    (0x02, "affiliation", 20),
    (0x05, "serial", 20),
    (0x06, "issuer", 15),
    (0x07, "line_1", 20),
    (0x08, "line_2", 20),
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def encode_printed(printed: PrintedInformation) -> bytes:
    """Write printed information. Raises Malformed for text that is not ASCII or is longer than its field."""
    texts: dict[int, bytes] = {}
    for tag, name, size in _TEXTS:
        text: str = getattr(printed, name)
        if not text.isascii() or not text.isprintable():
            raise Malformed(PRINTED_INFORMATION.name, f"{name} is not printable ASCII")
        if len(text) > size:
            raise Malformed(PRINTED_INFORMATION.name, f"{name} has {len(text)} characters, at most {size}")
        if text or tag < 0x07:
            texts[tag] = text.encode("ascii")
    day = printed.expires
    texts[0x04] = f"{day.year:04d}{_MONTHS[day.month - 1]}{day.day:02d}".encode("ascii")
    return encode_fields(sorted(texts.items()))


def decode_printed(content: bytes) -> PrintedInformation:
    """Read printed information. Raises Malformed."""
    fields = decode_fields(PRINTED_INFORMATION, content, (0x01, 0x02, 0x04, 0x05, 0x06, 0xFE))
    texts: dict[str, str] = {}
    for tag, name, size in _TEXTS:
        value = fields.get(tag, b"")
        if len(value) > size or not value.isascii():
            raise Malformed(PRINTED_INFORMATION.name, f"{name}: want at most {size} ASCII characters")
        texts[name] = value.decode("ascii")
    return PrintedInformation(expires=_printed_date(fields[0x04]), **texts)


def _printed_date(value: bytes) -> date:
    """Read YYYYMMMDD, the month by its English name: 2031JUN30."""
    try:
        text = value.decode("ascii")
        if len(text) != 9 or not (text[:4] + text[7:]).isdecimal():
            raise ValueError("want YYYYMMMDD")
        return date(int(text[:4]), _MONTHS.index(text[4:7]) + 1, int(text[7:]))
    except ValueError as error:
        raise Malformed(PRINTED_INFORMATION.name, f"expiration date: {error}") from error


# First byte: b7 application PIN (always), b6 Global PIN, b5 OCC, b4 VCI, b3 VCI without pairing code, which needs b4.
PIN_USAGE_POLICIES = frozenset(bytes.fromhex("40484C50585C60686C70787C"))
VCI_BIT, VCI_WITHOUT_PAIRING_BIT, GLOBAL_PIN_BIT = 0x08, 0x04, 0x20


@dataclass(frozen=True, slots=True)
class Discovery:
    """The discovery object: which PINs count and whether the card offers the VCI.

    `preference`: 10 the application PIN, 20 the Global PIN is the holder's; 00 without a Global PIN.
    Source: SP 800-73pt1-5 §3.3.2.
    """

    policy: int = 0x40
    preference: int = 0x00
    aid: bytes = PIV_AID

    @property
    def has_vci(self) -> bool:
        """Does the card offer the virtual contact interface."""
        return bool(self.policy & VCI_BIT)

    @property
    def needs_pairing_code(self) -> bool:
        """Must a terminal say the pairing code before it has the VCI."""
        return not self.policy & VCI_WITHOUT_PAIRING_BIT


def encode_discovery(discovery: Discovery) -> bytes:
    """Write the inside of 7E: 4F 5F2F."""
    _check_policy(discovery.policy, discovery.preference)
    return tlv.encode(0x4F, discovery.aid) + tlv.encode(0x5F2F, bytes((discovery.policy, discovery.preference)))


def decode_discovery(content: bytes) -> Discovery:
    """Read the inside of 7E. Raises Malformed for a usage policy that the standard does not list."""
    fields = decode_fields(DISCOVERY, content, DISCOVERY.inner)
    if len(fields[0x5F2F]) != 2:
        raise Malformed(DISCOVERY.name, "the PIN usage policy has two bytes")
    policy, preference = fields[0x5F2F]
    _check_policy(policy, preference)
    return Discovery(policy, preference, fields[0x4F])


def _check_policy(policy: int, preference: int) -> None:
    allowed = (0x10, 0x20) if policy & GLOBAL_PIN_BIT else (0x00,)
    if policy not in PIN_USAGE_POLICIES or preference not in allowed:
        raise Malformed(DISCOVERY.name, f"PIN usage policy {policy:02X} {preference:02X}")


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """How many retired keys have their certificate on the card, how many elsewhere, where (SP 800-73pt1-5 §3.3.3)."""

    on_card: int = 0
    off_card: int = 0
    url: str = ""


def encode_key_history(history: KeyHistory) -> bytes:
    """Write C1 C2 [F3] FE. The URL stands exactly when there are keys with certificates elsewhere."""
    _check_history(history)
    objects = [(0xC1, bytes((history.on_card,))), (0xC2, bytes((history.off_card,)))]
    if history.url:
        objects.append((0xF3, history.url.encode("ascii")))
    return encode_fields(objects)


def decode_key_history(content: bytes) -> KeyHistory:
    """Read a key history object. An empty F3 counts as none. Raises Malformed."""
    fields = decode_fields(KEY_HISTORY, content, (0xC1, 0xC2, 0xFE))
    url = fields.get(0xF3, b"")
    if len(fields[0xC1]) != 1 or len(fields[0xC2]) != 1 or not url.isascii():
        raise Malformed(KEY_HISTORY.name, "counts are one byte each, the URL is ASCII")
    history = KeyHistory(fields[0xC1][0], fields[0xC2][0], url.decode("ascii"))
    _check_history(history)
    return history


def _check_history(history: KeyHistory) -> None:
    counts = (history.on_card, history.off_card)
    if min(counts) < 0 or sum(counts) > 20 or len(history.url) > 118 or not history.url.isascii():
        raise Malformed(KEY_HISTORY.name, "at most 20 keys and 118 ASCII characters of URL")
    if bool(history.off_card) != bool(history.url):
        raise Malformed(KEY_HISTORY.name, "a URL stands exactly when certificates are off the card")


def encode_pairing_code_reference(code: bytes) -> bytes:
    """Write 99 FE: the 8 digits that the card also knows as reference data 98."""
    return encode_fields([(0x99, code)])


def decode_pairing_code_reference(content: bytes) -> bytes:
    """Read the pairing code. Raises Malformed unless it has 8 bytes."""
    code = decode_fields(PAIRING_CODE_REFERENCE, content, (0x99, 0xFE))[0x99]
    if len(code) != 8:
        raise Malformed(PAIRING_CODE_REFERENCE.name, f"want 8 bytes, got {len(code)}")
    return code
