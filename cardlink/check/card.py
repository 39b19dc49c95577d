"""Evidence and trust in, a verified card or a refusal out. Pure; status, rules and times of day come after."""

from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from cardlink.check.cache import CredentialCache, VerifiedCredential
from cardlink.check.evidence import Answer, CertificateEvidence, CredentialEvidence
from cardlink.check.path import read_card_certificate, verify_card_certificate
from cardlink.errors import Malformed
from cardlink.piv.chuid import decode_chuid
from cardlink.statements.agency import covers
from cardlink.statements.bundle import Mechanism
from cardlink.statements.card import read_card_credential
from cardlink.statements.challenge import door_challenge_digest, verify_answer
from cardlink.statements.cose_key import from_public_key
from cardlink.statements.identity import Identity, belongs_to_issuer, read_identity
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import (
    check_not_ahead,
    check_signature,
    check_signer_times,
    find_signer,
    verify_statement,
)
from cardlink.statements.trust import Trust, Use


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """Where a card's status stands."""

    list_number: int
    index: int


@dataclass(frozen=True, slots=True)
class VerifiedCard:
    """A card that is what it says: issued by this agency, present now with its key. `status` is None without F3."""

    mechanism: Mechanism
    agency: str
    card_uuid: bytes
    key_hash: bytes
    expires_s: int
    status: StatusPlace | None


def check_credential(
    evidence: CredentialEvidence, trust: Trust, now: datetime, cache: CredentialCache
) -> VerifiedCard | Refused:
    """Judge mechanisms 1 and 2: the credential, then the answer under its key, then what else was read."""
    verified = verify_credential(evidence.credential, trust, now, cache, evidence.y)
    if isinstance(verified, Refused):
        return verified
    card = verified.card
    refusal = _check_answer(verified.public_key, evidence.answer)
    if refusal is None and evidence.certificate is not None:
        refusal = _check_certificate_beside(evidence.certificate, verified)
    if refusal is None and evidence.chuid is not None:
        refusal = check_chuid_uuid(evidence.chuid, card.card_uuid)
    if refusal is not None:
        return refusal
    return VerifiedCard(
        mechanism=evidence.mechanism,
        agency=card.agency,
        card_uuid=card.card_uuid,
        key_hash=verified.key_hash,
        expires_s=card.expires_s,
        status=StatusPlace(card.status_list, card.status_index),
    )


def verify_credential(
    raw: bytes, trust: Trust, now: datetime, cache: CredentialCache, y: bytes | None = None
) -> VerifiedCredential | Refused:
    """Judge a credential by itself: form, signer, signature, times. Says nothing about who holds the key.

    `y` is a hint that spares a square root; a wrong one changes nothing.
    """
    verified = cache.get(raw, trust)
    if verified is None:
        fresh = _verify_new(raw, trust, y)
        if isinstance(fresh, Refused):
            return fresh
        cache.put(raw, trust, fresh)
        verified = fresh
    card, now_s = verified.card, now.timestamp()
    timely = check_signer_times(verified.signer, card.issued_s, trust, now_s, (card.card_uuid, verified.key_hash))
    if isinstance(timely, Refused):
        return timely
    ahead = check_not_ahead(card.issued_s, now_s)
    if ahead is not None:
        return ahead
    if now_s >= card.expires_s:
        return Refused(Reason.EXPIRED, f"credential at {card.expires_s}")
    return verified


def check_certificate(evidence: CertificateEvidence, trust: Trust, now: datetime) -> VerifiedCard | Refused:
    """Judge mechanism 3, PKI-CAK: the certificate's path, then the answer under its key."""
    certificate = verify_card_certificate(evidence.certificate, trust, now)
    if isinstance(certificate, Refused):
        return certificate
    refusal = _check_answer(certificate.public_key, evidence.answer)
    if refusal is None and evidence.chuid is not None:
        refusal = check_chuid_uuid(evidence.chuid, certificate.card_uuid)
    if refusal is not None:
        return refusal
    return VerifiedCard(
        mechanism=Mechanism.PKI_CAK,
        agency=certificate.agency,
        card_uuid=certificate.card_uuid,
        key_hash=certificate.key_hash,
        expires_s=certificate.expires_s,
        status=None,
    )


def check_identity(
    raw: bytes, beside: VerifiedCredential | VerifiedCard, trust: Trust, now: datetime
) -> Identity | Refused:
    """Judge an identity statement: it counts only beside a verified credential of the same agency, card and key."""
    try:
        received = read_identity(raw)
    except Malformed as error:
        return Refused(Reason.MALFORMED_IDENTITY, str(error))
    identity = received.value
    card = beside.card if isinstance(beside, VerifiedCredential) else beside
    if identity.issuer != card.agency:
        return Refused(Reason.AGENCY_MISMATCH, f"identity by {identity.issuer}, credential by {card.agency}")
    if identity.card_uuid != card.card_uuid:
        return Refused(Reason.UUID_MISMATCH, "identity of another card")
    if identity.key_hash != beside.key_hash:
        return Refused(Reason.KEY_MISMATCH, "identity for another key")
    if not belongs_to_issuer(identity):
        return Refused(Reason.FOREIGN_OBJECT, f"{identity.issuer} says who works at {identity.agency}")
    of_card = (identity.card_uuid, identity.key_hash)
    signed_s = identity.issued_s
    signer = verify_statement(received.statement, Use.IDENTITY, identity.issuer, signed_s, trust, now, card=of_card)
    if isinstance(signer, Refused):
        return signer
    if now.timestamp() >= identity.expires_s:
        return Refused(Reason.EXPIRED, f"identity at {identity.expires_s}")
    return identity


def check_chuid_uuid(content: bytes, card_uuid: bytes) -> Refused | None:
    """Refuse a CHUID that names another card; None when it names this one. Its own signature is not judged here."""
    try:
        chuid = decode_chuid(content)
    except Malformed as error:
        return Refused(Reason.MALFORMED_CHUID, str(error))
    if chuid.guid.bytes != card_uuid:
        return Refused(Reason.UUID_MISMATCH, f"CHUID of {chuid.guid}")
    return None


def _verify_new(raw: bytes, trust: Trust, y: bytes | None) -> VerifiedCredential | Refused:
    """All of a credential that does not depend on the time."""
    try:
        received = read_card_credential(raw)
    except Malformed as error:
        return Refused(Reason.MALFORMED_CREDENTIAL, str(error))
    card, statement = received.value, received.statement
    signer = find_signer(statement, Use.CARD, card.agency, trust)
    try:
        if isinstance(signer, Refused):
            if signer.reason is Reason.UNKNOWN_SIGNER and statement.kid == card.key.kid():
                return Refused(Reason.SELF_SIGNED, "credential")
            return signer
        public_key = card.key.public_key(y)
    except Malformed as error:
        return Refused(Reason.MALFORMED_CREDENTIAL, str(error))
    signed = check_signature(statement, signer)
    if isinstance(signed, Refused):
        return signed
    return VerifiedCredential(card, card.key.key_hash(), public_key, signer)


def _check_answer(key: ec.EllipticCurvePublicKey, answer: Answer) -> Refused | None:
    digest = door_challenge_digest(answer.door_uuid, answer.nonce)
    if verify_answer(key, digest, answer.signature):
        return None
    return Refused(Reason.BAD_SIGNATURE, "answer to the challenge")


def _check_certificate_beside(der: bytes, verified: VerifiedCredential) -> Refused | None:
    """Compare the 9E certificate with the credential beside it: same key, same card, same agency."""
    certificate = read_card_certificate(der)
    if isinstance(certificate, Refused):
        return certificate
    if from_public_key(certificate.public_key) != verified.card.key:
        return Refused(Reason.KEY_MISMATCH, "certificate for another key than the credential")
    if certificate.card_uuid != verified.card.card_uuid:
        return Refused(Reason.UUID_MISMATCH, "certificate of another card than the credential")
    if certificate.agency and not covers(verified.card.agency, certificate.agency):
        return Refused(Reason.AGENCY_MISMATCH, f"{certificate.agency} beside {verified.card.agency}")
    return None
