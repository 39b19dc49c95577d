"""What the centre signs about a card: its QR, its credential and the identity statement (docs/formats.md, F3 to F5)."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.card import CardCredential, issue_card_credential, read_card_credential
from cardlink.statements.citizen import Sex
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.identifier import Identifier, Scheme, build_identifier
from cardlink.statements.identity import Identity, issue_identity, read_identity
from cardlink.statements.qr import QrFields, QrTexts, qr_texts
from issuer.cards.tables import Card
from issuer.cards.validity import end_of
from issuer.errors import Refused
from issuer.registry import agencies
from issuer.registry.tables import Person
from issuer.trust.port import Signing
from issuer.trust.signers import signer_for


@dataclass(frozen=True, slots=True)
class SignedForChip:
    """The two statements on a chip, and the labels of the keys that signed them."""

    credential: bytes
    identity: bytes
    credential_label: str
    identity_label: str


def identifier_of(session: Session, person: Person) -> Identifier:
    """The identifier on a person's card, after the scheme of the agency. Raises Refused."""
    scheme = Scheme(agencies.get(session, person.agency_code).scheme)
    third = person.category if scheme is Scheme.CATEGORY else person.position_code or ""
    try:
        return build_identifier(scheme, person.agency_code, person.citizen_number, third)
    except Malformed as error:
        raise Refused("cards.bad_identifier", name=person.full_name, why=str(error)) from error


def sign_qr(session: Session, hsm: Signing, card: Card, person: Person, verify_url: str, now: datetime) -> QrTexts:
    """Make both QR texts of a card. Raises Refused when the fields do not fit a code."""
    signer = signer_for(session, hsm, card.agency_code, "qr", now)
    face = QrFields(
        issuer=card.agency_code,
        expires_s=_seconds(end_of(card.expires_on)),
        identifier=identifier_of(session, person),
        full_name=person.full_name,
        birth_date=day_number(person.birth_date),
        sex=Sex(person.sex),
        title=person.title,
        status_list=card.status_list,
        status_index=card.status_idx,
    )
    try:
        return qr_texts(face, person.position_code or person.category, verify_url, signer.kid, signer.sign)
    except Malformed as error:
        raise Refused("cards.bad_qr", name=person.full_name, why=str(error)) from error


def sign_for_chip(
    session: Session, hsm: Signing, card: Card, person: Person, key: CoseKey, face_sha256: bytes, now: datetime
) -> SignedForChip:
    """Sign the credential over the key made on the card, and the identity statement bound to it.

    `face_sha256` hashes the content of the facial image container.
    """
    issued_s, expires_s = _seconds(now), _seconds(end_of(card.expires_on))
    credential = CardCredential(
        agency=card.agency_code,
        expires_s=expires_s,
        issued_s=issued_s,
        card_uuid=card.uuid.bytes,
        key=key,
        status_list=card.status_list,
        status_index=card.status_idx,
    )
    identity = Identity(
        issuer=card.agency_code,
        expires_s=expires_s,
        issued_s=issued_s,
        card_uuid=card.uuid.bytes,
        identifier=identifier_of(session, person),
        full_name=person.full_name,
        birth_date=day_number(person.birth_date),
        sex=Sex(person.sex),
        agency=person.agency_code,
        agency_name=agencies.get(session, person.agency_code).name,
        position_code=person.position_code or "",
        title=person.title,
        category=person.category,
        key_hash=key.key_hash(),
        face_sha256=face_sha256,
    )
    return _sign(session, hsm, credential, identity, now)


def sign_anew(session: Session, hsm: Signing, card: Card, now: datetime, face_sha256: bytes | None) -> SignedForChip:
    """Sign both statements of a card again, saying what the former ones say, under the signers of now.

    `face_sha256`: of the new content of the facial image container; None where that stays as it is.
    """
    if card.credential is None or card.identity is None:
        raise Refused("cards.not_read_back", card=str(card.uuid))
    issued_s = _seconds(now)
    credential = read_card_credential(card.credential).value
    identity = read_identity(card.identity).value
    if credential.card_uuid != card.uuid.bytes or credential.key.key_hash() != card.key_hash:
        raise Refused("cards.bad_statement", name=identity.full_name, why=f"not of card {card.uuid}")
    return _sign(
        session,
        hsm,
        replace(credential, issued_s=issued_s),
        replace(identity, issued_s=issued_s, face_sha256=face_sha256 or identity.face_sha256),
        now,
    )


def _sign(
    session: Session, hsm: Signing, credential: CardCredential, identity: Identity, now: datetime
) -> SignedForChip:
    card_signer = signer_for(session, hsm, credential.agency, "card", now)
    identity_signer = signer_for(session, hsm, identity.issuer, "identity", now)
    try:
        return SignedForChip(
            issue_card_credential(credential, card_signer.kid, card_signer.sign),
            issue_identity(identity, identity_signer.kid, identity_signer.sign, identity_signer.cose_key.alg),
            card_signer.label,
            identity_signer.label,
        )
    except Malformed as error:
        raise Refused("cards.bad_statement", name=identity.full_name, why=str(error)) from error


def day_number(day: date) -> int:
    """A date as statements write it: yyyymmdd."""
    return day.year * 10_000 + day.month * 100 + day.day


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
