"""CMS SignedData as CHUID and security object carry it (RFC 5652; SP 800-73pt1-5 §3.1.2, §3.1.7)."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from asn1crypto import algos, cms, core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from cardlink.check.path import load_certificate
from cardlink.errors import Malformed
from cardlink.statements.refusal import Reason, Refused

CHUID_CONTENT: Final = "2.16.840.1.101.3.6.1"  # id-PIV-CHUIDSecurityObject
LDS_CONTENT: Final = "1.3.27.1.1.1"  # SP 800-73pt1-5 §3.1.7
PIV_SIGNER_DN: Final = "2.16.840.1.101.3.6.5"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"  # RFC 5652 §11
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ALGORITHMS: Final = {  # with the key's own kind deciding how to verify
    "sha256_ecdsa": "sha256",
    "sha384_ecdsa": "sha384",
    "sha256_rsa": "sha256",
    "sha384_rsa": "sha384",
    "rsassa_pkcs1v15": "",  # the digest algorithm says which hash
}


@dataclass(frozen=True, slots=True)
class SignedData:
    """One SignedData with one signer; `content` is empty when detached, `certificate` None when none is inside."""

    content_type: str
    content: bytes = field(repr=False)
    certificate: x509.Certificate | None = field(repr=False)
    issuer_der: bytes = field(repr=False)
    serial: int
    digest_name: str
    signature_hash: str
    attributes: dict[str, bytes] = field(repr=False)  # the DER of each signed attribute's one value
    signed_attributes: bytes = field(repr=False)  # as SET OF, which is what is signed (RFC 5652 §5.4)
    signature: bytes = field(repr=False)


def decode_signed_data(der: bytes, what: str) -> SignedData:
    """Read a ContentInfo with a SignedData of version 3 and one signer. Raises Malformed."""
    try:
        info = cms.ContentInfo.load(der, strict=True)
        if info["content_type"].native != "signed_data":
            raise Malformed(what, "no SignedData")
        return _decode(info["content"], what)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Malformed(what, f"CMS: {error}") from error


def verify_signed_data(
    signed: SignedData, content: bytes, content_type: str, signer: x509.Certificate
) -> Refused | None:
    """Refuse a SignedData that does not sign this content with this certificate's key; None when it does."""
    if signed.content_type != content_type:
        return Refused(Reason.WRONG_CERTIFICATE, f"signed as {signed.content_type}")
    if signed.issuer_der != signer.issuer.public_bytes() or signed.serial != signer.serial_number:
        return Refused(Reason.KEY_MISMATCH, "signer is not the certificate at hand")
    if signed.attributes[PIV_SIGNER_DN] != signer.subject.public_bytes():
        return Refused(Reason.KEY_MISMATCH, "pivSigner-DN is not the subject of the certificate")
    digest = hashlib.new(signed.digest_name, content).digest()
    if not hmac.compare_digest(signed.attributes[MESSAGE_DIGEST], core.OctetString(digest).dump()):
        return Refused(Reason.HASH_MISMATCH, "content is not what was signed")
    if not _verify(signer, signed):
        return Refused(Reason.FORGED_STATEMENT, "CMS signature")
    return None


def _decode(data: cms.SignedData, what: str) -> SignedData:
    signers = data["signer_infos"]
    if data["version"].native != "v3" or len(signers) != 1:
        raise Malformed(what, "want version 3 and one signer")
    signer = signers[0]
    if signer["version"].native != "v1" or signer["sid"].name != "issuer_and_serial_number":
        raise Malformed(what, "signer is not named by issuer and serial number")
    digest_name = _digest_name(signer["digest_algorithm"], what)
    algorithm = str(signer["signature_algorithm"]["algorithm"].native)
    if [_digest_name(one, what) for one in data["digest_algorithms"]] != [digest_name]:
        raise Malformed(what, "digest algorithms are not the signer's")
    if digest_name not in _HASHES or algorithm not in _ALGORITHMS:
        raise Malformed(what, f"signed with {digest_name} and {algorithm}")
    encapsulated = data["encap_content_info"]
    content = encapsulated["content"]
    attributes = _attributes(signer["signed_attrs"], what)
    content_type = str(encapsulated["content_type"].dotted)
    if attributes[CONTENT_TYPE] != core.ObjectIdentifier(content_type).dump():
        raise Malformed(what, "content-type attribute is of another type")
    return SignedData(
        content_type=content_type,
        content=b"" if isinstance(content, core.Void) else bytes(content.contents),
        certificate=_certificate(data["certificates"], what),
        issuer_der=signer["sid"].chosen["issuer"].dump(),
        serial=int(signer["sid"].chosen["serial_number"].native),
        digest_name=digest_name,
        signature_hash=_ALGORITHMS[algorithm] or digest_name,
        attributes=attributes,
        signed_attributes=signer["signed_attrs"].untag().dump(),
        signature=bytes(signer["signature"].native),
    )


def _digest_name(identifier: algos.DigestAlgorithm, what: str) -> str:
    """The name of a digest algorithm; its parameters are absent or NULL (RFC 5754 §2)."""
    if identifier["parameters"].dump() not in (b"", b"\x05\x00"):
        raise Malformed(what, "digest algorithm with parameters")
    return str(identifier["algorithm"].native)


def _attributes(listed: cms.CMSAttributes, what: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if isinstance(listed, core.Void):
        raise Malformed(what, "no signed attributes")
    for attribute in listed:
        kind = str(attribute["type"].dotted)
        if kind in found or len(attribute["values"]) != 1:
            raise Malformed(what, f"attribute {kind} twice or with several values")
        found[kind] = attribute["values"][0].dump()
    for kind in (CONTENT_TYPE, MESSAGE_DIGEST, PIV_SIGNER_DN):
        if kind not in found:
            raise Malformed(what, f"signed attribute {kind} is missing")
    return found


def _certificate(listed: cms.CertificateSet, what: str) -> x509.Certificate | None:
    if isinstance(listed, core.Void) or len(listed) == 0:
        return None
    if len(listed) != 1 or listed[0].name != "certificate":
        raise Malformed(what, "want one certificate")
    return load_certificate(listed[0].chosen.dump())


def _verify(signer: x509.Certificate, signed: SignedData) -> bool:
    algorithm = _HASHES[signed.signature_hash]
    try:
        key = signer.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signed.signature, signed.signed_attributes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signed.signature, signed.signed_attributes, padding.PKCS1v15(), algorithm)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
