"""OCSP as bytes: what is asked, and the answers (RFC 6960; the profile for many clients: RFC 5019).

Requests are read by `cryptography`. Answers are written here, since the key that signs them is in the HSM.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ExtensionNotFound, OCSPNonce, ocsp
from cryptography.x509.oid import OCSPExtensionOID

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from issuer.trust import der
from issuer.trust.crl import CrlReason
from issuer.trust.der import Tag

MAX_REQUEST_BYTES = 2048
MAX_NONCE_BYTES = 128  # RFC 9654 §2.1: 1 to 128
_BASIC, _NONCE = "1.3.6.1.5.5.7.48.1.1", OCSPExtensionOID.NONCE.dotted_string
_HASHES: dict[str, Callable[[bytes], bytes]] = {
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),  # RFC 5019 §2.1.1: what clients use
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
_HASH_OIDS = {
    "sha1": der.sequence(der.oid("1.3.14.3.2.26"), der.NULL),
    "sha256": der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL),
}


class Failure(IntEnum):
    """An answer that says nothing of a certificate and is not signed (RFC 6960 §4.2.1)."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True)
class IssuerId:
    """How a request names the issuer: a hash of its name and one of its key."""

    algorithm: str
    name_hash: bytes
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about: one certificate, by its issuer and its serial number."""

    issuer: IssuerId
    serial: int
    nonce: bytes | None


class SeveralAsked(Malformed):
    """The request is right and asks about several certificates, which we do not answer (RFC 5019 §2.1.1)."""


@dataclass(frozen=True, slots=True)
class Good:
    """The certificate was issued and counts."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """It stands on the list of its issuer."""

    revoked_at: datetime
    reason: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Its issuer never made it."""


Status = Good | Revoked | Unknown


def read_request(raw: bytes) -> Question:
    """Read a request for one certificate (RFC 5019 §2.1.1). Raises SeveralAsked, Malformed."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise Malformed("OCSP request", f"{len(raw)} bytes")
    try:
        request = ocsp.load_der_ocsp_request(raw)
        algorithm = request.hash_algorithm
        name = algorithm.name if isinstance(algorithm, hashes.SHA1 | hashes.SHA256) else ""
        issuer = IssuerId(name, request.issuer_name_hash, request.issuer_key_hash)
        question = Question(issuer, request.serial_number, _nonce(request))
        unknown = [one for one in request.extensions if one.critical and not isinstance(one.value, OCSPNonce)]
    except NotImplementedError as error:
        raise SeveralAsked("OCSP request", str(error)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("OCSP request", str(error)) from error
    if unknown:
        raise Malformed("OCSP request", "critical extension")
    return question


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    try:
        nonce = request.extensions.get_extension_for_class(OCSPNonce).value.nonce
    except ExtensionNotFound:
        return None
    if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
        raise Malformed("OCSP request", f"nonce of {len(nonce)} bytes")
    return nonce


def issuer_ids(name: bytes, point: bytes) -> list[IssuerId]:
    """Every way in which a request may name this issuer: `name` is its DER, `point` its key (RFC 6960 §4.1.1)."""
    return [IssuerId(kind, digest(name), digest(point)) for kind, digest in _HASHES.items()]


def failure(kind: Failure) -> bytes:
    """An OCSPResponse without an answer."""
    return der.sequence(der.enumerated(kind))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is signed: one certificate's status, from when until when, by which key, with which nonce."""

    question: Question
    status: Status
    this_update: datetime
    next_update: datetime
    responder_point: bytes


def to_sign(answer: Answer) -> bytes:
    """Build the ResponseData (RFC 6960 §4.2.1); the responder is named by its key."""
    key_hash = _HASHES["sha1"](answer.responder_point)
    rows = [
        tlv.encode(Tag.CONSTRUCTED_2, der.octet_string(key_hash)),
        der.generalized_time(answer.this_update),
        der.sequence(_single(answer)),
    ]
    if answer.question.nonce is not None:
        extension = der.sequence(der.oid(_NONCE), der.octet_string(der.octet_string(answer.question.nonce)))
        rows.append(tlv.encode(Tag.CONSTRUCTED_1, der.sequence(extension)))
    return der.sequence(*rows)


def signed(body: bytes, signature: bytes, certificate: bytes) -> bytes:
    """The OCSPResponse around a signed ResponseData, with the certificate of who signed; `signature` is r ‖ s."""
    basic = der.sequence(
        body,
        der.ECDSA_SHA256,
        der.bit_string(der.ecdsa_signature(signature)),
        tlv.encode(Tag.CONSTRUCTED_0, der.sequence(certificate)),
    )
    response = der.sequence(der.oid(_BASIC), der.octet_string(basic))
    return der.sequence(der.enumerated(0), tlv.encode(Tag.CONSTRUCTED_0, response))


def _single(answer: Answer) -> bytes:
    """One SingleResponse."""
    asked = answer.question
    certificate_id = der.sequence(
        _HASH_OIDS[asked.issuer.algorithm],
        der.octet_string(asked.issuer.name_hash),
        der.octet_string(asked.issuer.key_hash),
        der.integer(asked.serial),
    )
    times = (
        der.generalized_time(answer.this_update),
        tlv.encode(Tag.CONSTRUCTED_0, der.generalized_time(answer.next_update)),
    )
    return der.sequence(certificate_id, _status(answer.status), *times)


def _status(status: Status) -> bytes:
    match status:
        case Revoked(revoked_at, reason):
            when = der.generalized_time(revoked_at)
            if reason != CrlReason.UNSPECIFIED:
                when += tlv.encode(Tag.CONSTRUCTED_0, der.enumerated(reason))
            return tlv.encode(Tag.CONSTRUCTED_1, when)
        case Good():
            return bytes((Tag.PRIMITIVE_0, 0))
        case Unknown():
            return bytes((Tag.PRIMITIVE_2, 0))
