"""The templates that PIV commands and answers carry: 61 (application), 7C (authentication), AC and 7F49 (key pairs).

Sources: SP 800-73pt2-5 §3.1.1 (Tables 3 and 4), §3.2.4 (Table 7), §3.3.2 (Tables 10 and 11).
"""

from dataclasses import dataclass, field

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.tables import (
    EC_COORDINATE_BYTES,
    NIST_RID,
    OCTET_KEY_BYTES,
    PIV_AID,
    PIV_PIX,
    RSA_BITS,
    Algorithm,
)

RSA_EXPONENT = 65_537


@dataclass(frozen=True, slots=True)
class ApplicationProperties:
    """The answer to SELECT: who answered, and in `algorithms` what it offers (27 or 2E: secure messaging)."""

    aid: bytes = PIV_AID
    label: str = ""
    url: str = ""
    algorithms: tuple[int, ...] = ()

    @property
    def secure_messaging(self) -> int:
        """The cipher suite of secure messaging, 27 or 2E; 0 when the card has none."""
        return next((one for one in self.algorithms if one in (Algorithm.CS2, Algorithm.CS7)), 0)


def encode_apt(apt: ApplicationProperties, *, pix_only: bool = False) -> bytes:
    """Write 61 {4F, 79, [50], [5F50], [AC]}; with `pix_only` 4F holds the AID without NIST's RID, as some cards do."""
    inside = tlv.encode(0x4F, apt.aid.removeprefix(NIST_RID) if pix_only else apt.aid)
    inside += tlv.encode(0x79, tlv.encode(0x4F, NIST_RID))
    if apt.label:
        inside += tlv.encode(0x50, apt.label.encode("utf-8"))
    if apt.url:
        inside += tlv.encode(0x5F50, apt.url.encode("utf-8"))
    if apt.algorithms:
        inside += tlv.encode(0xAC, b"".join(bytes((0x80, 1, one)) for one in apt.algorithms) + b"\x06\x01\x00")
    return tlv.encode(0x61, inside)


def decode_apt(raw: bytes) -> ApplicationProperties:
    """Read an application property template, 4F with the full AID, the truncated one, or only the PIX.

    Raises Malformed, also where 4F or 79 name another application than PIV.
    """
    fields = dict(tlv.parse(tlv.unwrap(raw, 0x61)))
    if unknown := set(fields) - {0x4F, 0x79, 0x50, 0x5F50, 0xAC, 0x7F66}:
        raise Malformed("application properties", f"tag {min(unknown):X} does not belong here")
    aid = fields.get(0x4F, b"")
    if tlv.unwrap(fields.get(0x79, b""), 0x4F) != NIST_RID:
        raise Malformed("application properties", "79 does not name NIST")
    full = aid if aid.startswith(NIST_RID) else NIST_RID + aid
    if len(full) < 9 or not PIV_AID.startswith(full[:9]) or len(full) > len(PIV_AID):
        raise Malformed("application properties", f"4F is {aid.hex()}, want {PIV_AID.hex()} or {PIV_PIX.hex()}")
    try:
        label, url = fields.get(0x50, b"").decode("utf-8"), fields.get(0x5F50, b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("application properties", "label or URL is not UTF-8") from error
    return ApplicationProperties(full, label, url, _algorithms(fields[0xAC]) if 0xAC in fields else ())


def _algorithms(raw: bytes) -> tuple[int, ...]:
    """Read AC: one 80 for each algorithm, then 06 01 00."""
    objects = tlv.parse(raw, repeats=True)
    if not objects or objects[-1] != (0x06, b"\x00"):
        raise Malformed("application properties", "AC does not end in 06 01 00")
    if any(tag != 0x80 or len(value) != 1 for tag, value in objects[:-1]):
        raise Malformed("application properties", "AC holds algorithm identifiers of one byte")
    return tuple(value[0] for _, value in objects[:-1])


@dataclass(frozen=True, slots=True)
class Authentication:
    """A dynamic authentication template 7C. None: the object is absent. b"": it stands empty, asking the other side."""

    witness: bytes | None = field(default=None, repr=False)
    challenge: bytes | None = field(default=None, repr=False)
    response: bytes | None = field(default=None, repr=False)
    exponentiation: bytes | None = field(default=None, repr=False)


_AUTHENTICATION_TAGS = frozenset((0x80, 0x81, 0x82, 0x85))
_USUAL_CHALLENGE = bytes.fromhex("7C2482008120")  # 7C {82 empty, 81 of 32 bytes}: what every door asks


def encode_authentication(template: Authentication) -> bytes:
    """Write 7C {80 witness, 82 response, 81 challenge, 85 exponentiation}, each where it is not None.

    An empty 82 goes before what is to be answered, as the examples in SP 800-73pt2-5, Appendix A, have it; a filled
    one closes the template.
    """
    parts: list[tuple[int, bytes]] = []
    if template.witness is not None:
        parts.append((0x80, template.witness))
    if template.response == b"" and template.witness is None:
        parts.append((0x82, b""))
    if template.challenge is not None:
        parts.append((0x81, template.challenge))
    if template.exponentiation is not None:
        parts.append((0x85, template.exponentiation))
    if template.response is not None and (template.response or template.witness is not None):
        parts.append((0x82, template.response))
    return tlv.encode(0x7C, tlv.encode_all(parts))


def decode_authentication(raw: bytes) -> Authentication:
    """Read a template 7C in any order. Raises Malformed for a tag that is unknown or stands twice, or none at all."""
    if raw.startswith(_USUAL_CHALLENGE) and len(raw) == len(_USUAL_CHALLENGE) + 32:
        return Authentication(challenge=raw[-32:], response=b"")
    fields = dict(tlv.parse(tlv.unwrap(raw, 0x7C)))
    if not fields or not fields.keys() <= _AUTHENTICATION_TAGS:
        raise Malformed("authentication template", f"tags {[f'{tag:X}' for tag in fields]}")
    get = fields.get
    return Authentication(get(0x80), get(0x81), get(0x82), get(0x85))


def encode_response(response: bytes) -> bytes:
    """Write 7C {82 response}: the card's signature, shared secret or answer."""
    return tlv.encode(0x7C, tlv.encode(0x82, response))


def decode_response(raw: bytes) -> bytes:
    """Read 7C {82 response} and nothing else: what the host gets from GENERAL AUTHENTICATE. Raises Malformed."""
    return tlv.unwrap(tlv.unwrap(raw, 0x7C), 0x82)


@dataclass(frozen=True, slots=True)
class EcPublicKey:
    """A point 04 || X || Y, its form checked, not whether it lies on the curve."""

    point: bytes


@dataclass(frozen=True, slots=True)
class RsaPublicKey:
    """Modulus without leading zeros, and the exponent."""

    modulus: bytes
    exponent: int = RSA_EXPONENT


@dataclass(frozen=True, slots=True)
class OctetPublicKey:
    """The 32 bytes of an Ed25519 (RFC 8032) or X25519 key (RFC 7748); which of the two it is the algorithm says."""

    value: bytes


PublicKey = EcPublicKey | RsaPublicKey | OctetPublicKey


def encode_key_fields(key: PublicKey) -> bytes:
    """Write what stands inside 7F49: 86 04||X||Y, 81 modulus 82 exponent, or (Yubico) 86 with the 32 bytes."""
    if isinstance(key, EcPublicKey):
        return tlv.encode(0x86, key.point)
    if isinstance(key, OctetPublicKey):
        return tlv.encode(0x86, key.value)
    exponent = key.exponent.to_bytes((key.exponent.bit_length() + 7) // 8, "big")
    return tlv.encode(0x81, key.modulus) + tlv.encode(0x82, exponent)


def encode_public_key(key: PublicKey) -> bytes:
    """Write the answer to GENERATE ASYMMETRIC KEY PAIR: 7F49 {...}."""
    return tlv.encode(0x7F49, encode_key_fields(key))


def decode_key_fields(raw: bytes, algorithm: int) -> PublicKey:
    """Read what stands inside 7F49, which must be a key of that algorithm: size, form 04, exponent 65537."""
    objects = tlv.parse(raw)
    if algorithm in EC_COORDINATE_BYTES:
        size = 2 * EC_COORDINATE_BYTES[Algorithm(algorithm)] + 1
        if [tag for tag, _ in objects] != [0x86] or len(objects[0][1]) != size or objects[0][1][0] != 4:
            raise Malformed("public key", f"want 86 with 04 and {size - 1} bytes")
        return EcPublicKey(objects[0][1])
    if algorithm in OCTET_KEY_BYTES:
        size = OCTET_KEY_BYTES[Algorithm(algorithm)]
        if [tag for tag, _ in objects] != [0x86] or len(objects[0][1]) != size:
            raise Malformed("public key", f"want 86 with {size} bytes")
        return OctetPublicKey(objects[0][1])
    if algorithm not in RSA_BITS:
        raise Malformed("public key", f"algorithm {algorithm:02X} has none in this form")
    size = RSA_BITS[Algorithm(algorithm)] // 8
    if [tag for tag, _ in objects] != [0x81, 0x82]:
        raise Malformed("public key", "want 81 and 82")
    (_, modulus), (_, exponent) = objects
    if len(modulus) != size or not modulus[0] & 0x80 or not modulus[-1] & 1:
        raise Malformed("public key", f"want an odd modulus of {size * 8} bits")
    if int.from_bytes(exponent, "big") != RSA_EXPONENT:
        raise Malformed("public key", "the exponent is not 65537")
    return RsaPublicKey(modulus, RSA_EXPONENT)


def decode_public_key(raw: bytes, algorithm: int) -> PublicKey:
    """Read the answer to GENERATE ASYMMETRIC KEY PAIR for that algorithm. Raises Malformed."""
    return decode_key_fields(tlv.unwrap(raw, 0x7F49), algorithm)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A control reference template AC: the algorithm, and Yubico's policies (0: the card's default)."""

    algorithm: int
    pin_policy: int = 0
    touch_policy: int = 0


def encode_key_request(request: KeyRequest) -> bytes:
    """Write AC {80 algorithm, [AA PIN policy], [AB touch policy]}."""
    inside = bytes((0x80, 1, request.algorithm))
    if request.pin_policy:
        inside += bytes((0xAA, 1, request.pin_policy))
    if request.touch_policy:
        inside += bytes((0xAB, 1, request.touch_policy))
    return tlv.encode(0xAC, inside)


def decode_key_request(raw: bytes) -> KeyRequest:
    """Read AC. The parameter 81 may stand only with RSA and say 65537. Raises Malformed."""
    fields = dict(tlv.parse(tlv.unwrap(raw, 0xAC)))
    exponent = fields.pop(0x81, b"")
    if not {0x80} <= fields.keys() <= {0x80, 0xAA, 0xAB} or any(len(value) != 1 for value in fields.values()):
        raise Malformed("key request", "want 80, AA and AB of one byte each")
    algorithm = fields[0x80][0]
    if exponent and (algorithm not in RSA_BITS or int.from_bytes(exponent, "big") != RSA_EXPONENT):
        raise Malformed("key request", "the RSA exponent is 65537")
    return KeyRequest(algorithm, fields.get(0xAA, b"\x00")[0], fields.get(0xAB, b"\x00")[0])
