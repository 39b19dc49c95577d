"""What an update writes to a card: signed anew for the keys that are on it, judged as doors will judge it."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.check.cache import CredentialCache
from cardlink.check.card import check_identity, verify_credential
from cardlink.check.path import verify_card_certificate
from cardlink.check.readback import check_chuid
from cardlink.errors import Malformed
from cardlink.piv.objects import decode_certificate, encode_certificate
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH, CHUID, FACIAL_IMAGE, IDENTITY_STATEMENT, KeyRef
from cardlink.statements.cose_key import from_point
from cardlink.statements.identity import read_identity
from cardlink.statements.refusal import Refused as Judged
from cardlink.statements.trust import Trust
from issuer.cards import objects, statements
from issuer.cards.objects import IssuedCertificate
from issuer.cards.profiles import CardProfile
from issuer.cards.tables import Card, CardCertificate
from issuer.cards.update_plan import Part, What, rows_of
from issuer.errors import Refused
from issuer.registry.tables import Person
from issuer.trust import ca
from issuer.trust.port import Signing


@dataclass(frozen=True, slots=True)
class Renewed:
    """Contents by tag, who signed them, and the new certificates."""

    contents: Mapping[int, bytes]
    labels: Mapping[What, str]
    certificates: tuple[IssuedCertificate, ...]


def sign(
    session: Session,
    hsm: Signing,
    profile: CardProfile,
    card: Card,
    parts: Collection[Part],
    messaging_point: bytes | None,
    trust: Trust,
    now: datetime,
) -> Renewed:
    """Sign all that these parts write. Raises Refused where something does not fit, or no door would believe it."""
    try:
        made = _sign(session, hsm, profile, card, parts, messaging_point, now)
    except Malformed as error:
        raise Refused("cards.bad_object", name=str(card.uuid), why=str(error)) from error
    judged = _judge(made.contents, card, trust, now)
    if judged is not None:
        raise Refused("trust.list_stale", why=judged.reason)
    return made


def _sign(
    session: Session,
    hsm: Signing,
    profile: CardProfile,
    card: Card,
    parts: Collection[Part],
    messaging_point: bytes | None,
    now: datetime,
) -> Renewed:
    contents: dict[int, bytes] = {}
    labels: dict[What, str] = {}
    certificates: tuple[IssuedCertificate, ...] = ()
    face_sha256: bytes | None = None
    if Part.CERTIFICATES in parts:
        issued = objects.certify(session, hsm, profile.slots, card, _name(card), points_of(session, card, profile), now)
        contents |= {slot.container.tag: encode_certificate(one.certificate) for slot, one in issued.items()}
        certificates = tuple(issued.values())
    if Part.CONTENT in parts:
        signer = ca.content_signer_for(session, hsm, card.agency_code, now)
        person = session.get_one(Person, card.person_id)
        contents |= objects.by_content_signer(session, signer, profile, card, person, now, messaging_point)
        face_sha256 = hashlib.sha256(contents[FACIAL_IMAGE.tag]).digest()
        labels[What.CONTENT] = signer.label
    if Part.STATEMENTS in parts:
        signed = statements.sign_anew(session, hsm, card, now, face_sha256)
        contents |= {CARD_CREDENTIAL.tag: signed.credential, IDENTITY_STATEMENT.tag: signed.identity}
        labels |= {What.CREDENTIAL: signed.credential_label, What.IDENTITY: signed.identity_label}
    return Renewed({row.tag: contents[row.tag] for row in rows_of(profile, parts)}, labels, certificates)


def points_of(session: Session, card: Card, profile: CardProfile) -> dict[KeyRef, bytes]:
    """The public points of the keys made on a card, as its certificates have them. Raises Refused for one that lacks.

    The key of 9E is the one that the register knows by its hash: no other can slip in between two certificates.
    """
    query = select(CardCertificate.slot, CardCertificate.certificate).where(CardCertificate.card_id == card.id)
    held = dict(session.execute(query).all())
    points: dict[KeyRef, bytes] = {}
    for slot in profile.slots:
        if slot.certificate_profile not in held:
            raise Refused("cards.not_read_back", card=str(card.uuid))
        key = x509.load_der_x509_certificate(held[slot.certificate_profile]).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Malformed("certificate", f"{slot.certificate_profile}: not an EC key")
        points[slot.ref] = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if from_point(points[KeyRef.CARD_AUTH]).key_hash() != card.key_hash:
        raise Malformed("certificate", "9E is not the key of this card")
    return points


def _name(card: Card) -> str:
    """The name that stands on the card, which may have changed in the register since."""
    if card.identity is None:
        raise Refused("cards.not_read_back", card=str(card.uuid))
    return read_identity(card.identity).value.full_name


def _judge(contents: Mapping[int, bytes], card: Card, trust: Trust, now: datetime) -> Judged | None:
    """Judge what is about to be written: better no update than a card that no door believes."""
    if CARD_CREDENTIAL.tag in contents:
        beside = verify_credential(contents[CARD_CREDENTIAL.tag], trust, now, CredentialCache(1))
        if isinstance(beside, Judged):
            return beside
        identity = check_identity(contents[IDENTITY_STATEMENT.tag], beside, trust, now)
        if isinstance(identity, Judged):
            return identity
    if CERT_CARD_AUTH.tag in contents:
        certificate = verify_card_certificate(decode_certificate(contents[CERT_CARD_AUTH.tag]).certificate, trust, now)
        if isinstance(certificate, Judged):
            return certificate
    if CHUID.tag in contents:
        chuid = check_chuid(contents[CHUID.tag], trust, now)
        return chuid if isinstance(chuid, Judged) else None
    return None
