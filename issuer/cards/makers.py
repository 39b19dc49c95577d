"""Makers of chips that an office believes about keys: that each was made on a chip of theirs and never left it.

A chip that attests holds its maker's key F9 and its certificate (5FFF01), under an authority of its batch, under the
maker's root. Source: Yubico's PIV attestation.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.check.attestation import verify_attestation
from cardlink.check.path import load_certificate
from cardlink.errors import Malformed
from cardlink.piv.attestation import Attestation
from cardlink.statements.refusal import Reason, Refused
from issuer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Makers:
    """Certificates (DER) of the makers that count: their roots, and authorities below them such as those of batches."""

    roots: tuple[bytes, ...] = ()
    below: tuple[bytes, ...] = ()


NOBODY = Makers()


def read_makers(path: Path | None) -> Makers:
    """Read the PEM file that the settings name; without one nobody counts. Raises ConfigError."""
    if path is None:
        return NOBODY
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError("config.makers_unreadable", path=str(path), why=error.strerror) from error
    except ValueError as error:
        raise ConfigError("config.no_makers", path=str(path)) from error
    makers = Makers(
        tuple(one.public_bytes(Encoding.DER) for one in found if one.issuer == one.subject),
        tuple(one.public_bytes(Encoding.DER) for one in found if one.issuer != one.subject),
    )
    if not makers.roots:
        raise ConfigError("config.no_makers", path=str(path))
    return makers


def judge(makers: Makers, answer: bytes, attester: bytes, point: bytes, now: datetime) -> Attestation | Refused:
    """Whether a chip of these makers says that it made the key with this public point (X9.62, uncompressed).

    `answer`: to ATTEST; `attester`: the certificate of the chip's key F9.
    """
    try:
        path = _upwards(makers, attester)
    except Malformed as error:
        return Refused(Reason.MALFORMED_CERTIFICATE, str(error))
    judged = verify_attestation(answer, path, makers.roots, now)
    if isinstance(judged, Refused):
        return judged
    key = judged.certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or _point_of(key) != point:
        return Refused(Reason.KEY_MISMATCH, "the chip attests another key than the one it made")
    return judged


def _point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _upwards(makers: Makers, attester: bytes) -> list[bytes]:
    """The certificate of F9 and those between it and a root."""
    path, left = [attester], {load_certificate(one).subject: one for one in makers.below}
    while (above := left.pop(load_certificate(path[-1]).issuer, None)) is not None:
        path.append(above)
    return path
