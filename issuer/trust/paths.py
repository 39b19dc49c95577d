"""Certification paths as the centre judges them (RFC 5280 §6), by pyhanko-certvalidator (docs/adr/0015).

Doors have a check of their own, of one step (`cardlink/check/path.py`); this is the whole path with names, lengths,
policies and, where lists are given, revocation. Nothing is ever fetched.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InvalidCertificateError, PathError, ValidationError

from issuer.errors import Refused


def validate(
    certificates: Sequence[bytes],
    chain: Sequence[bytes],
    roots: Sequence[bytes],
    now: datetime,
    lists: Sequence[bytes] = (),
) -> None:
    """Find a path from a root to each certificate, all DER. Raises Refused("trust.no_path") naming the first without.

    `lists`: revocation lists, full or delta; with any given, every certificate below a root must be on the good side of
    a list in force.
    """
    try:
        # in a thread of its own: the library wants an event loop, and whoever asks may stand in one already
        with ThreadPoolExecutor(1) as own:
            own.submit(lambda: asyncio.run(_validate(certificates, chain, roots, now, lists))).result()
    except (ValueError, TypeError) as error:  # what asn1crypto raises for bytes that are no certificate or list
        raise Refused("trust.no_path", subject="?", why=str(error)) from error


async def _validate(
    certificates: Sequence[bytes], chain: Sequence[bytes], roots: Sequence[bytes], now: datetime, lists: Sequence[bytes]
) -> None:
    context = ValidationContext(
        trust_roots=[_load(one) for one in roots],
        other_certs=[_load(one) for one in chain],
        moment=now,
        allow_fetching=False,
        crls=[asn1_crl.CertificateList.load(one, strict=True) for one in lists],
        revocation_mode="require" if lists else "soft-fail",
    )
    for der in certificates:
        certificate = _load(der)
        try:
            await CertificateValidator(certificate, validation_context=context).async_validate_path()
        except (PathError, ValidationError, InvalidCertificateError) as error:
            subject = certificate.subject.human_friendly
            raise Refused("trust.no_path", subject=subject, why=str(error)) from error


def _load(der: bytes) -> asn1.Certificate:
    return asn1.Certificate.load(der, strict=True)
