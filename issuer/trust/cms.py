"""CMS SignedData (RFC 5652) over the objects of a card: CHUID, security object, facial image.

After SP 800-73pt1-5 §3.1.2 and §3.1.7 and SP 800-76-2 §9.3: version 3, SHA-256, one signer named by issuer and serial
number, signed attributes content-type, message-digest and pivSigner-DN. ECDSA through a callback into the HSM.
"""

import hashlib
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from asn1crypto import x509 as asn1

from cardlink.iso7816 import tlv
from issuer.trust import der
from issuer.trust.ca import ContentSigner
from issuer.trust.der import Tag
from issuer.trust.oids import PIV_FASC_N


class ContentType(StrEnum):
    """What is signed."""

    CHUID = "2.16.840.1.101.3.6.1"
    BIOMETRIC = "2.16.840.1.101.3.6.2"
    LDS_SECURITY_OBJECT = "1.3.27.1.1.1"


CONTENT_TYPE = "1.2.840.113549.1.9.3"  # RFC 5652 §11.1
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"  # RFC 5652 §11.2
SIGNED_DATA = "1.2.840.113549.1.7.2"  # RFC 5652 §5.1
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
    named = (
        _attribute(PIV_FASC_N, der.octet_string(fasc_n)),
        _attribute(ENTRY_UUID, der.octet_string(card_uuid)),
    )
    return _sign(signer, ContentType.BIOMETRIC, record, is_detached=True, has_certificate=False, more=named)


class _Names(NamedTuple):
    """How a signer's certificate is named in what it signs, all DER."""

    subject: bytes
    issuer_and_serial: bytes


@lru_cache(maxsize=16)
def _names_of(certificate: bytes) -> _Names:
    read = asn1.Certificate.load(certificate, strict=True)
    return _Names(read.subject.dump(), der.sequence(read.issuer.dump(), der.integer(read.serial_number)))


def _sign(
    signer: ContentSigner,
    kind: ContentType,
    content: bytes,
    *,
    is_detached: bool,
    has_certificate: bool,
    more: tuple[bytes, ...] = (),
) -> bytes:
    names = _names_of(signer.certificate)
    attributes = der.set_of(
        _attribute(CONTENT_TYPE, der.oid(kind)),
        _attribute(MESSAGE_DIGEST, der.octet_string(hashlib.sha256(content).digest())),
        _attribute(PIV_SIGNER_DN, names.subject),
        *more,
    )
    # What is signed is the SET OF; what stands in SignerInfo carries tag [0] in its place: RFC 5652 §5.4.
    signature = der.ecdsa_signature(signer.sign(attributes))
    info = der.sequence(
        der.integer(1),
        names.issuer_and_serial,
        der.SHA256,
        bytes((Tag.CONSTRUCTED_0,)) + attributes[1:],
        der.ECDSA_SHA256,
        der.octet_string(signature),
    )
    attached = b"" if is_detached else tlv.encode(Tag.CONSTRUCTED_0, der.octet_string(content))
    signed = der.sequence(
        der.integer(3),
        der.set_of(der.SHA256),
        der.sequence(der.oid(kind), attached),
        tlv.encode(Tag.CONSTRUCTED_0, signer.certificate) if has_certificate else b"",
        der.set_of(info),
    )
    return der.sequence(der.oid(SIGNED_DATA), tlv.encode(Tag.CONSTRUCTED_0, signed))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(value))
