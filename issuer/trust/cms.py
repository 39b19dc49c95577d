"""CMS SignedData (RFC 5652) over the objects of a card: CHUID, security object, facial image.

After SP 800-73pt1-5 §3.1.2 and §3.1.7 and SP 800-76-2 §9.3: version 3, SHA-256, one signer named by issuer and serial
number, signed attributes content-type, message-digest and pivSigner-DN. ECDSA through a callback into the HSM.
"""

import hashlib
from enum import StrEnum

from asn1crypto import cms, core
from asn1crypto import x509 as asn1

from issuer.trust.ca import ContentSigner
from issuer.trust.oids import PIV_FASC_N
from issuer.trust.x509 import der_signature


class ContentType(StrEnum):
    """What is signed."""

    CHUID = "2.16.840.1.101.3.6.1"
    BIOMETRIC = "2.16.840.1.101.3.6.2"
    LDS_SECURITY_OBJECT = "1.3.27.1.1.1"


PIV_SIGNER_DN = "2.16.840.1.101.3.6.5"
ENTRY_UUID = "1.3.6.1.1.16.4"  # RFC 4530: the card UUID in a biometric's signature


def sign_chuid(signer: ContentSigner, signed_part: bytes) -> bytes:
    """The signature of a CHUID: detached, with the content signer's certificate inside."""
    return _sign(signer, ContentType.CHUID, signed_part, is_detached=True, has_certificate=True)


def sign_security_object(signer: ContentSigner, lds: bytes) -> bytes:
    """The signed hashes of the card's objects; the certificate stands in the CHUID."""
    return _sign(signer, ContentType.LDS_SECURITY_OBJECT, lds, is_detached=False, has_certificate=False)


def sign_biometric(signer: ContentSigner, record: bytes, fasc_n: bytes, card_uuid: bytes) -> bytes:
    """The signature block of a CBEFF record; it names the card it was made for."""
    named = [
        _attribute(PIV_FASC_N, core.OctetString(fasc_n)),
        _attribute(ENTRY_UUID, core.OctetString(card_uuid)),
    ]
    return _sign(signer, ContentType.BIOMETRIC, record, is_detached=True, has_certificate=False, more=named)


def _sign(
    signer: ContentSigner,
    kind: ContentType,
    content: bytes,
    *,
    is_detached: bool,
    has_certificate: bool,
    more: list[cms.CMSAttribute] | None = None,
) -> bytes:
    certificate = asn1.Certificate.load(signer.certificate, strict=True)
    attributes = cms.CMSAttributes(
        [
            _attribute("content_type", cms.ContentType(kind)),
            _attribute("message_digest", core.OctetString(hashlib.sha256(content).digest())),
            _attribute(PIV_SIGNER_DN, certificate.subject),
            *(more or []),
        ]
    )
    # DER (SET OF) is what is signed, whatever the order above: RFC 5652 §5.4.
    signature = der_signature(signer.sign(attributes.dump()))
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": signature,
        }
    )
    encapsulated: dict[str, object] = {"content_type": str(kind)}
    if not is_detached:
        encapsulated["content"] = core.ParsableOctetString(content, explicit=0)
    body: dict[str, object] = {
        "version": "v3",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": encapsulated,
        "signer_infos": [info],
    }
    if has_certificate:
        body["certificates"] = [cms.CertificateChoices("certificate", certificate)]
    signed = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(body)})
    return bytes(signed.dump())


def _attribute(kind: str, value: core.Asn1Value) -> cms.CMSAttribute:
    attribute = cms.CMSAttribute({"type": kind})
    attribute["values"] = [value] if kind in ("content_type", "message_digest") else cms.SetOfAny([core.Any(value)])
    return attribute
