"""Authorities that are not ours whose PIV cards our doors may take (PKI-CAK): added, listed, removed at the centre.

A door looks one step up (docs/formats.md, F8), so what is added is the authority that issues the cards itself. Its
cards count as those of one agency, none of ours, and have no status here: removing the anchor ends them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.check.path import is_authority, load_certificate
from cardlink.errors import Malformed
from issuer.audit import log as audit
from issuer.database import SessionFactory
from issuer.errors import Conflict, NotFound, Refused
from issuer.policy import Action, Actor, covers, require_anywhere
from issuer.registry import agencies
from issuer.trust import publication
from issuer.trust.port import Signing
from issuer.trust.tables import AuthorityRow, ForeignAnchorRow, SignerRow
from issuer.trust.x509_roots import fingerprint

NAME_CHARS = 64
RSA_BITS_MIN = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, slots=True)
class Described:
    """One foreign authority; `is_root`: it signed itself, so it may well issue authorities and no cards."""

    name: str
    agency: str
    subject: str
    not_after: datetime
    sha256: str
    is_root: bool


def read(raw: bytes) -> bytes:
    """One certificate as DER or PEM. Raises Refused for anything else."""
    if not pem.detect(raw):
        return raw
    try:
        found = list(pem.unarmor(raw, multiple=True))
    except ValueError as error:
        raise Refused("anchor.bad", why=str(error)) from error
    if len(found) != 1 or found[0][0] != "CERTIFICATE":
        raise Refused("anchor.bad", why="want one certificate")
    return bytes(found[0][2])


def add(
    factory: SessionFactory, hsm: Signing, actor: Actor, name: str, agency: str, certificate: bytes, now: datetime
) -> tuple[Described, int]:
    """Let doors take cards of this authority as cards of `agency`. Answers what was added and the trust list's number.

    Raises Refused for what is no authority, not in its time, too weak, or ours; Conflict for a name or key in use.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    if not 1 <= len(name) <= NAME_CHARS or not name.isprintable() or name != name.strip():
        raise Refused("anchor.bad_name", most=NAME_CHARS)
    row = ForeignAnchorRow(name=name, agency_code=agency, certificate=certificate, not_after=now, added=now)
    found = _judge(certificate, now)
    row.not_after = found.not_valid_after_utc
    described = _describe(row)

    def change(session: Session, signing: Signing) -> None:
        _require_foreign(session, found, agency)
        if session.get(ForeignAnchorRow, name) is not None:
            raise Conflict("anchor.name_taken", name=name)
        for other in session.scalars(select(ForeignAnchorRow)):
            if _key(load_certificate(other.certificate)) == _key(found):
                raise Conflict("anchor.key_taken", name=other.name)
        session.add(
            ForeignAnchorRow(name=name, agency_code=agency, certificate=certificate, not_after=row.not_after, added=now)
        )
        facts = {"agency": agency, "subject": described.subject, "sha256": described.sha256}
        audit.append(session, actor, "anchor.added", name, facts, now)

    return described, publication.publish(factory, hsm, now, change)


def remove(factory: SessionFactory, hsm: Signing, actor: Actor, name: str, now: datetime) -> int:
    """Let doors take no card of this authority any more. Answers the trust list's number."""
    require_anywhere(actor, Action.KEYS_MANAGE)

    def change(session: Session, signing: Signing) -> None:
        row = session.get(ForeignAnchorRow, name)
        if row is None:
            raise NotFound("anchor.unknown", name=name)
        described = _describe(row)
        session.delete(row)
        facts = {"agency": row.agency_code, "subject": described.subject, "sha256": described.sha256}
        audit.append(session, actor, "anchor.removed", name, facts, now)

    return publication.publish(factory, hsm, now, change)


def described(session: Session) -> Sequence[Described]:
    """All of them, by name."""
    return [_describe(row) for row in session.scalars(select(ForeignAnchorRow).order_by(ForeignAnchorRow.name))]


def _judge(certificate: bytes, now: datetime) -> x509.Certificate:
    try:
        found = load_certificate(certificate)
    except Malformed as error:
        raise Refused("anchor.bad", why=str(error)) from error
    if not is_authority(found):
        raise Refused("anchor.no_authority", subject=found.subject.rfc4514_string())
    if now < found.not_valid_before_utc or now >= found.not_valid_after_utc:
        begins, ends = (f"{one:%d/%m/%Y}" for one in (found.not_valid_before_utc, found.not_valid_after_utc))
        raise Refused("anchor.untimely", begins=begins, ends=ends)
    key = found.public_key()
    is_strong = isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN
    if not is_strong and not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)):
        raise Refused("anchor.weak_key", bits=RSA_BITS_MIN)
    return found


def _require_foreign(session: Session, found: x509.Certificate, agency: str) -> None:
    """Neither one of our authorities, nor an agency for which our own keys sign: its rules were not meant for them."""
    for row in session.scalars(select(AuthorityRow)):
        own = load_certificate(row.certificate)
        if own.subject == found.subject or _key(own) == _key(found):
            raise Refused("anchor.ours", label=row.label)
    agencies.get(session, agency)
    for signer in session.scalars(select(SignerRow).where(SignerRow.use == "card")):
        if any(covers(prefix, agency) or covers(agency, prefix) for prefix in signer.scope):
            raise Refused("anchor.own_agency", agency=agency, label=signer.label)


def _describe(row: ForeignAnchorRow) -> Described:
    found = load_certificate(row.certificate)
    is_root = found.subject == found.issuer
    name = found.subject.rfc4514_string()
    return Described(row.name, row.agency_code, name, row.not_after, fingerprint(row.certificate), is_root)


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
