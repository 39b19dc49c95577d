"""The facial image container: a CBEFF record around a face image, signed by the issuer.

Sources: SP 800-76-2 §7 (facial image) and §9 (CBEFF header, Table 14), INCITS 385-2004 §7 (face record). What is not
known about a portrait (eye and hair colour, pose, feature points) is written as unspecified, never made up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.fields import decode_fields, encode_fields
from cardlink.piv.tables import FACIAL_IMAGE

HEADER_BYTES = 88
FORMAT_OWNER = 0x001B  # INCITS M1
FACE_FORMAT = 0x0501
FACE_TYPE = 0x000002
RAW_DATA = 0x20
SIGNED, SIGNED_AND_ENCRYPTED = 0x0D, 0x0F
QUALITY_NOT_SET = -2
_HEADER_VERSION = 0x03
_FACE_MAGIC = b"FAC\x00010\x00"
_RECORD_HEADER, _FACE_BLOCK, _IMAGE_BLOCK = 14, 20, 12
SIGN_TRIES = 64


@dataclass(frozen=True, slots=True)
class Cbeff:
    """A PIV CBEFF record of a face. `raw` is the record as received; `signed_part` what its signature covers."""

    created: datetime
    valid_from: datetime
    valid_until: datetime
    creator: str
    fascn: bytes
    record: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    quality: int = QUALITY_NOT_SET

    @property
    def signed_part(self) -> bytes:
        """Header and biometric record, without the signature block (SP 800-76-2 §9.3)."""
        return self.raw[: HEADER_BYTES + len(self.record)]


def _encode_time(when: datetime) -> bytes:
    """Write UTC as seven bytes of packed decimal, CCYYMMDDhhmmss, and the letter Z."""
    return bytes.fromhex(f"{when.astimezone(UTC):%Y%m%d%H%M%S}") + b"Z"


def _decode_time(value: bytes) -> datetime:
    """Read eight bytes written by `_encode_time`."""
    text = value[:7].hex()
    try:
        if value[7:] != b"Z" or not text.isdecimal():
            raise ValueError("want packed decimal and Z")
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise Malformed("CBEFF time", str(error)) from error


def encode_cbeff(
    record: bytes,
    sign: Callable[[bytes], bytes],
    *,
    created: datetime,
    valid_until: datetime,
    creator: str,
    fascn: bytes,
) -> bytes:
    """Write a signed CBEFF record of a face; `sign` gives the CMS signature over header and record.

    The header that is signed names the signature's length, so signing is repeated until the length is as announced.
    """
    if len(fascn) != 25 or not creator.isascii() or not creator or len(creator) > 17:
        raise Malformed("CBEFF header", "want a FASC-N of 25 bytes and a creator of 1 to 17 ASCII characters")
    size = len(sign(record))
    for _ in range(SIGN_TRIES):
        header = (
            bytes((_HEADER_VERSION, SIGNED))
            + len(record).to_bytes(4, "big")
            + size.to_bytes(2, "big")
            + FORMAT_OWNER.to_bytes(2, "big")
            + FACE_FORMAT.to_bytes(2, "big")
            + _encode_time(created)
            + _encode_time(created)
            + _encode_time(valid_until)
            + FACE_TYPE.to_bytes(3, "big")
            + bytes((RAW_DATA, QUALITY_NOT_SET & 0xFF))
            + creator.encode("ascii").ljust(18, b"\x00")
            + fascn
            + bytes(4)
        )
        signature = sign(header + record)
        if len(signature) == size:
            return header + record + signature
        size = len(signature)
    raise Malformed("CBEFF signature", f"its length did not settle in {SIGN_TRIES} tries")


def decode_cbeff(raw: bytes) -> Cbeff:
    """Read a CBEFF record of a face. The signature is carried, not judged. Raises Malformed."""
    if len(raw) < HEADER_BYTES:
        raise Malformed("CBEFF header", f"want {HEADER_BYTES} bytes, got {len(raw)}")
    if raw[0] != _HEADER_VERSION or raw[1] not in (SIGNED, SIGNED_AND_ENCRYPTED):
        raise Malformed("CBEFF header", f"version and security options {raw[:2].hex()}")
    record_size, signature_size = int.from_bytes(raw[2:6], "big"), int.from_bytes(raw[6:8], "big")
    if len(raw) != HEADER_BYTES + record_size + signature_size:
        raise Malformed(
            "CBEFF header", f"announces {record_size} + {signature_size} bytes, {len(raw)} in all are there"
        )
    kind = int.from_bytes(raw[8:10], "big"), int.from_bytes(raw[10:12], "big"), int.from_bytes(raw[36:39], "big")
    if kind != (FORMAT_OWNER, FACE_FORMAT, FACE_TYPE) or raw[39] & 0xE0 != RAW_DATA:
        raise Malformed("CBEFF header", "not a raw face image")
    quality = int.from_bytes(raw[40:41], "big", signed=True)
    if not -2 <= quality <= 100 or raw[84:88] != bytes(4):
        raise Malformed("CBEFF header", "quality or reserved bytes")
    creator, _, padding = raw[41:59].partition(b"\x00")
    if padding.strip(b"\x00") or not creator.isascii():
        raise Malformed("CBEFF header", "creator")
    return Cbeff(
        created=_decode_time(raw[12:20]),
        valid_from=_decode_time(raw[20:28]),
        valid_until=_decode_time(raw[28:36]),
        creator=creator.decode("ascii"),
        fascn=raw[59:84],
        record=raw[HEADER_BYTES : HEADER_BYTES + record_size],
        signature=raw[HEADER_BYTES + record_size :],
        raw=raw,
        quality=quality,
    )


def encode_face(jpeg: bytes, width: int, height: int) -> bytes:
    """Write a face record with one full frontal JPEG image of `width` by `height` pixels."""
    if not jpeg.startswith(b"\xff\xd8") or not (0 < width <= 0xFFFF and 0 < height <= 0xFFFF):
        raise Malformed("face record", "want a JPEG image and its size in pixels")
    block = _FACE_BLOCK + _IMAGE_BLOCK + len(jpeg)
    face = block.to_bytes(4, "big") + bytes(16)  # no feature points; sex, colours, expression, pose unspecified
    image = (
        b"\x01\x00"  # full frontal, JPEG
        + width.to_bytes(2, "big")
        + height.to_bytes(2, "big")
        + b"\x01\x00"  # 24 bit RGB, source unspecified
        + bytes(4)  # device type and quality unspecified
    )
    return _FACE_MAGIC + (_RECORD_HEADER + block).to_bytes(4, "big") + b"\x00\x01" + face + image + jpeg


def decode_face(record: bytes) -> bytes:
    """The image (JPEG or JPEG 2000) of a face record that holds exactly one. Raises Malformed."""
    size = len(record)
    if size < _RECORD_HEADER + _FACE_BLOCK + _IMAGE_BLOCK or record[:8] != _FACE_MAGIC:
        raise Malformed("face record", "no INCITS 385 header")
    block = int.from_bytes(record[14:18], "big")
    if int.from_bytes(record[8:12], "big") != size or record[12:14] != b"\x00\x01" or block != size - _RECORD_HEADER:
        raise Malformed("face record", "lengths, or more than one face")
    at = _RECORD_HEADER + _FACE_BLOCK + 8 * int.from_bytes(record[18:20], "big") + _IMAGE_BLOCK
    if at >= size:
        raise Malformed("face record", "no image")
    return record[at:]


def encode_facial_image(cbeff: bytes) -> bytes:
    """Write the container's content: BC FE."""
    return encode_fields([(0xBC, cbeff)])


def decode_facial_image(content: bytes) -> Cbeff:
    """Read the container's content. Raises Malformed."""
    return decode_cbeff(decode_fields(FACIAL_IMAGE, content, FACIAL_IMAGE.inner)[0xBC])


EMPTY_BIOMETRIC = tlv.encode(0xBC, b"") + b"\xfe\x00"
