"""Card verifiable certificates of secure messaging: the card's own and the optional one between it and the signer.

Source: SP 800-73pt2-5 §4.1.5 ("§").
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.secure_messaging import SUITES, Suite
from cardlink.piv.tables import Access, Container, Presence

# Own (docs/formats.md, F16): PUT DATA of this object gives the card its certificate; GET DATA never shows it, so it
# is none of the containers.
CVC_TAG = 0x5FFF22
MESSAGING_CVC = Container(
    "secure messaging certificate", CVC_TAG, 0xFF22, 320, Access.NEVER, Access.NEVER, Presence.OWN, (0x7F21,)
)
PROFILE = b"\x80"
CARD_ROLE, INTERMEDIATE_ROLE = 0x00, 0x12
ISSUER_ID_BYTES = 8
_ORDER = [0x5F29, 0x42, 0x5F20, 0x7F49, 0x5F4C, 0x5F37]
_SUBJECT_BYTES = {CARD_ROLE: 16, INTERMEDIATE_ROLE: ISSUER_ID_BYTES}
_RSA_SHA256 = bytes.fromhex("2A864886F70D01010B")  # sha256WithRSAEncryption, parameters NULL
_WHAT = "card verifiable certificate"

SignerKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Cvc:
    """A decoded certificate. `subject` is the card UUID, or of an intermediate one the name its card certificates use.

    `raw` is all of it with 7F21, `signed` the bytes under the signature, `signature_algorithm` an OID's content.
    """

    raw: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    issuer_id: bytes
    subject: bytes
    suite: Suite
    point: bytes
    role: int
    signature_algorithm: bytes
    signature: bytes = field(repr=False)

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key it certifies. Raises Malformed for a point that is not on the curve."""
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(self.suite.curve, self.point)
        except ValueError as error:
            raise Malformed(_WHAT, "its point is not on the curve") from error


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs card certificates: the content signing key, and the first 8 bytes of its key identifier.

    Without `issuer_id` any issuer number is taken; the signature counts either way. That the key's own certificate is
    good (path, times, revocation) is for the caller to know.
    """

    key: SignerKey
    issuer_id: bytes = b""


def signer_of(certificate: x509.Certificate) -> Signer:
    """The signer named in a content signing certificate. Raises Malformed for one that cannot be."""
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        key = certificate.public_key()
    except (x509.ExtensionNotFound, ValueError) as error:
        raise Malformed("content signing certificate", str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Malformed("content signing certificate", "its key is neither EC nor RSA")
    return Signer(key, identifier[:ISSUER_ID_BYTES])


def intermediate_id(point: bytes) -> bytes:
    """The subject of an intermediate certificate: the first 8 bytes of the SHA-1 of its point."""
    return hashlib.sha1(point, usedforsecurity=False).digest()[:ISSUER_ID_BYTES]


def issue_card_cvc(
    suite: Suite, point: bytes, card_uuid: bytes, issuer_id: bytes, sign: Callable[[bytes], bytes]
) -> bytes:
    """Make a card's certificate: `sign` gives the DER signature, ECDSA with the suite's hash, over the bytes given it.

    The caller has made sure that the card holds the private key (it was generated there, over a channel of the issuer).
    """
    body = _body(suite, point, card_uuid, issuer_id, CARD_ROLE)
    return _close(body, tlv.encode(0x06, suite.signature_oid), sign(body))


def issue_intermediate_cvc(suite: Suite, point: bytes, issuer_id: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Make an intermediate certificate: `sign` gives the RSA signature, PKCS #1 v1.5 with SHA-256."""
    body = _body(suite, point, intermediate_id(point), issuer_id, INTERMEDIATE_ROLE)
    return _close(body, tlv.encode(0x06, _RSA_SHA256) + b"\x05\x00", sign(body))


def decode_cvc(raw: bytes) -> Cvc:
    """Read a certificate of either role, with its 7F21. Raises Malformed; the signature is not judged here."""
    inside = tlv.unwrap(raw, 0x7F21)
    objects = tlv.parse(inside)
    if [tag for tag, _ in objects] != _ORDER:
        raise Malformed(_WHAT, f"data objects {[f'{tag:X}' for tag, _ in objects]}")
    profile, issuer_id, subject, public, role, closing = (value for _, value in objects)
    if profile != PROFILE or len(issuer_id) != ISSUER_ID_BYTES or len(role) != 1:
        raise Malformed(_WHAT, "want profile 80, 8 bytes of issuer and one of role")
    if _SUBJECT_BYTES.get(role[0]) != len(subject):
        raise Malformed(_WHAT, f"role {role.hex()} with a subject of {len(subject)} bytes")
    suite, point = _decode_public(public)
    algorithm, signature = _decode_signature(closing, role[0])
    signed = inside[: len(inside) - len(tlv.encode(0x5F37, closing))]
    return Cvc(raw, signed, issuer_id, subject, suite, point, role[0], algorithm, signature)


def check_card_cvc(cvc: Cvc, suite: Suite, signer: Signer, intermediate: Cvc | None = None) -> None:
    """Check a card's certificate up to the signer's key (§4.1.1, H5). Raises Malformed and says which step fails."""
    if cvc.role != CARD_ROLE or cvc.suite is not suite:
        raise Malformed(_WHAT, "it is of another role or another cipher suite")
    if intermediate is None:
        issuer_id, key = signer.issuer_id, signer.key
    else:
        _check_intermediate(intermediate, signer)
        issuer_id, key = intermediate.subject, intermediate.public_key
    if issuer_id and cvc.issuer_id != issuer_id:
        raise Malformed(_WHAT, f"it names the issuer {cvc.issuer_id.hex()}, not {issuer_id.hex()}")
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != suite.curve.name:
        raise Malformed(_WHAT, "the signer's key is not on the suite's curve")
    if cvc.signature_algorithm != suite.signature_oid:
        raise Malformed(_WHAT, f"signature algorithm {cvc.signature_algorithm.hex()}")
    try:
        key.verify(cvc.signature, cvc.signed, ec.ECDSA(suite.signature_hash))
    except InvalidSignature as error:
        raise Malformed(_WHAT, "the signature is not its signer's") from error


def _check_intermediate(intermediate: Cvc, signer: Signer) -> None:
    """An intermediate certificate is signed with RSA by the content signing key."""
    if intermediate.role != INTERMEDIATE_ROLE or intermediate.signature_algorithm != _RSA_SHA256:
        raise Malformed(_WHAT, "what stands between card and signer is no intermediate certificate")
    if signer.issuer_id and intermediate.issuer_id != signer.issuer_id:
        raise Malformed(_WHAT, f"the intermediate one names the issuer {intermediate.issuer_id.hex()}")
    if not isinstance(signer.key, rsa.RSAPublicKey):
        raise Malformed(_WHAT, "an intermediate one is signed with RSA, the signer's key is another")
    try:
        signer.key.verify(intermediate.signature, intermediate.signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise Malformed(_WHAT, "the intermediate one's signature is not the signer's") from error


def _body(suite: Suite, point: bytes, subject: bytes, issuer_id: bytes, role: int) -> bytes:
    """The five data objects under the signature. Raises Malformed for another length or a point off the curve."""
    if len(subject) != _SUBJECT_BYTES[role] or len(issuer_id) != ISSUER_ID_BYTES:
        raise Malformed(_WHAT, f"subject of {len(subject)} and issuer of {len(issuer_id)} bytes")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(suite.curve, point)
    except ValueError as error:
        raise Malformed(_WHAT, "its point is not on the curve") from error
    public = tlv.encode(0x06, suite.curve_oid) + tlv.encode(0x86, point)
    values = (PROFILE, issuer_id, subject, public, bytes((role,)))
    return tlv.encode_all(zip(_ORDER, values, strict=False))


def _close(body: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Write 7F21 {body, 5F37 {SEQUENCE {algorithm, BIT STRING}}}."""
    closing = tlv.encode(0x30, tlv.encode(0x30, algorithm) + tlv.encode(0x03, b"\x00" + signature))
    return tlv.encode(0x7F21, body + tlv.encode(0x5F37, closing))


def _decode_public(raw: bytes) -> tuple[Suite, bytes]:
    """Read 7F49 {06, 86}."""
    objects = tlv.parse(raw)
    if [tag for tag, _ in objects] != [0x06, 0x86]:
        raise Malformed(_WHAT, "7F49 holds 06 and 86")
    oid, point = (value for _, value in objects)
    suite = next((one for one in SUITES.values() if one.curve_oid == oid), None)
    if suite is None or len(point) != 1 + 2 * suite.coordinate_bytes or point[0] != 0x04:
        raise Malformed(_WHAT, f"a point of {len(point)} bytes on curve {oid.hex()}")
    return suite, point


def _decode_signature(raw: bytes, role: int) -> tuple[bytes, bytes]:
    """Read the DER of 5F37: SEQUENCE {SEQUENCE {OID, parameters}, BIT STRING}; NULL stands with RSA alone."""
    outer = tlv.parse(tlv.unwrap(raw, 0x30))
    if [tag for tag, _ in outer] != [0x30, 0x03] or outer[1][1][:1] != b"\x00" or len(outer[1][1]) < 2:
        raise Malformed(_WHAT, "5F37 holds an algorithm and a bit string")
    algorithm = tlv.parse(outer[0][1])
    parameters = algorithm[1:]
    if [tag for tag, _ in algorithm[:1]] != [0x06] or parameters != ([(0x05, b"")] if role else []):
        raise Malformed(_WHAT, "parameters stand with RSA alone, and are NULL")
    return algorithm[0][1], outer[1][1][1:]
