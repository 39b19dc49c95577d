"""Whose word an attestation is: the chain from the card's key F9 to a maker that somebody trusts."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from cardlink.check.path import check_times, is_authority, load_certificate
from cardlink.errors import Malformed
from cardlink.piv.attestation import Attestation, decode_attestation
from cardlink.statements.refusal import Reason, Refused


def verify_attestation(
    der: bytes, above: Sequence[bytes], roots: Sequence[bytes], now: datetime
) -> Attestation | Refused:
    """Judge the answer to ATTEST: a key that was made on a card of one of the makers in `roots`.

    `above` are the certificates above it, in order: that of F9, as the card has it in 5FFF01, then the maker's others.
    What the attestation claims is for the caller to compare: serial number, policies, and that it is the key in hand.
    """
    try:
        attestation = decode_attestation(der)
        path = [attestation.certificate, *(load_certificate(one) for one in above)]
        trusted = [load_certificate(one) for one in roots]
    except Malformed as error:
        return Refused(Reason.MALFORMED_CERTIFICATE, str(error))
    root = next((one for one in trusted if one.subject == path[-1].issuer), None)
    if root is None:
        return Refused(Reason.UNKNOWN_SIGNER, f"certificate by {path[-1].issuer.rfc4514_string()}")
    path.append(root)
    for below, (one, issuer) in enumerate(pairwise(path)):
        wrong = _check_step(one, issuer, below) or check_times(one, now)
        if wrong is not None:
            return wrong
    return check_times(root, now) or attestation


def _check_step(one: x509.Certificate, issuer: x509.Certificate, below: int) -> Refused | None:
    """Did this authority, which has `below` others under it on the way down, issue that certificate."""
    if not is_authority(issuer):
        return Refused(Reason.WRONG_CERTIFICATE, f"{issuer.subject.rfc4514_string()} is no certification authority")
    length = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if length is not None and below > length:
        return Refused(Reason.WRONG_CERTIFICATE, f"too many certificates below {issuer.subject.rfc4514_string()}")
    try:
        one.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return Refused(Reason.FORGED_STATEMENT, f"not signed by {issuer.subject.rfc4514_string()}")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return Refused(Reason.FORGED_STATEMENT, str(error))
    return None
