"""The cardholder unique identifier (SP 800-73pt1-5 §3.1.2 and Appendix A, Table 9)."""

from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.fascn import FascN, decode_fascn, encode_fascn
from cardlink.piv.fields import decode_fields, encode_fields
from cardlink.piv.tables import CHUID

SIGNATURE = 0x3E
# Cards made after SP 800-73-4 and before may still hold EE (length), 32, 33 (organization) and 3D (key map).
_INNER = (0xEE, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x3D, 0x3E, 0xFE)


@dataclass(frozen=True, slots=True)
class Chuid:
    """A decoded CHUID. `raw` is the content as received; `signed_part` is what its signature covers."""

    fascn: FascN
    guid: UUID
    expires: date
    signature: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    cardholder: UUID | None = None

    @property
    def signed_part(self) -> bytes:
        """The bytes that the CMS signature digests: every data object but 3E, FE 00 among them."""
        return signed_part(self.raw)


def signed_part(content: bytes) -> bytes:
    """All of a CHUID but the data object 3E, byte for byte as received.

    Only one encoding of each data object is accepted, so writing them again gives the received bytes.
    """
    return tlv.encode_all((tag, value) for tag, value in tlv.parse(content) if tag != SIGNATURE)


def encode_expiry(value: date) -> bytes:
    """Write the CHUID expiration date: 8 ASCII digits, YYYYMMDD."""
    return f"{value.year:04d}{value.month:02d}{value.day:02d}".encode("ascii")


def decode_expiry(value: bytes) -> date:
    """Read the CHUID expiration date: 8 ASCII digits, YYYYMMDD.

    Raises Malformed for any other length, character or impossible day.
    Source: SP 800-73pt1-5 §3.1.2.
    """
    if len(value) != 8 or not value.isdigit():
        raise Malformed("CHUID expiry", f"want 8 digits, got {value.hex()}")
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError as error:
        raise Malformed("CHUID expiry", str(error)) from error


def encode_unsigned_chuid(fascn: FascN, guid: UUID, expires: date, cardholder: UUID | None = None) -> bytes:
    """Write what the signature of a new CHUID covers: 30 34 35 [36] FE."""
    return encode_fields(_identity(fascn, guid, expires, cardholder))


def encode_chuid(fascn: FascN, guid: UUID, expires: date, signature: bytes, cardholder: UUID | None = None) -> bytes:
    """Write a CHUID: 30 34 35 [36] 3E FE. `signature` is the CMS over `encode_unsigned_chuid` of the same values."""
    return encode_fields([*_identity(fascn, guid, expires, cardholder), (SIGNATURE, signature)])


def _identity(fascn: FascN, guid: UUID, expires: date, cardholder: UUID | None) -> list[tuple[int, bytes]]:
    """The fields before the signature."""
    objects = [(0x30, encode_fascn(fascn)), (0x34, guid.bytes), (0x35, encode_expiry(expires))]
    if cardholder is not None:
        objects.append((0x36, cardholder.bytes))
    return objects


def decode_chuid(content: bytes) -> Chuid:
    """Read a CHUID (the content of 53). The signature is carried, not judged. Raises Malformed."""
    fields = decode_fields(CHUID, content, (0x30, 0x34, 0x35, SIGNATURE, 0xFE), inner=_INNER)
    cardholder = fields.get(0x36)
    return Chuid(
        fascn=decode_fascn(fields[0x30]),
        guid=_uuid("CHUID GUID", fields[0x34]),
        expires=decode_expiry(fields[0x35]),
        signature=fields[SIGNATURE],
        raw=content,
        cardholder=None if cardholder is None else _uuid("CHUID cardholder UUID", cardholder),
    )


def _uuid(what: str, value: bytes) -> UUID:
    """Read 16 bytes as a UUID."""
    if len(value) != 16:
        raise Malformed(what, f"want 16 bytes, got {len(value)}")
    return UUID(bytes=value)
