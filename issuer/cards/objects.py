"""The data objects of one card, signed and ready to be written (SP 800-73pt1-5 Appendix A; docs/formats.md, F3, F4)."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.piv.biometrics import EMPTY_BIOMETRIC, encode_cbeff, encode_face, encode_facial_image
from cardlink.piv.chuid import encode_chuid, encode_unsigned_chuid
from cardlink.piv.cvc import MESSAGING_CVC, issue_card_cvc, signer_of
from cardlink.piv.fascn import NON_FEDERAL, encode_fascn
from cardlink.piv.objects import (
    Discovery,
    PrintedInformation,
    encode_ccc,
    encode_certificate,
    encode_discovery,
    encode_printed,
)
from cardlink.piv.secure_messaging import Suite
from cardlink.piv.security_object import encode_lds, encode_security_object
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CCC,
    CHUID,
    DISCOVERY,
    FACIAL_IMAGE,
    FINGERPRINTS,
    IDENTITY_STATEMENT,
    PRINTED_INFORMATION,
    SECURITY_OBJECT,
    SM_CERT_SIGNER,
    Container,
    KeyRef,
)
from cardlink.statements.cose_key import from_point
from issuer.cards import portrait, statements
from issuer.cards.profiles import CardProfile, Slot
from issuer.cards.statements import SignedForChip
from issuer.cards.tables import Card
from issuer.cards.validity import end_of
from issuer.errors import Refused
from issuer.registry import agencies, names, photos
from issuer.registry.tables import Person
from issuer.trust import ca, cms, der
from issuer.trust.port import Signing

log = logging.getLogger(__name__)

PRINTED_NAME, PRINTED_AFFILIATION, PRINTED_SERIAL, PRINTED_ISSUER = 125, 20, 20, 15
HASHED = (CCC, CHUID, PRINTED_INFORMATION, FACIAL_IMAGE, FINGERPRINTS)
"""What the security object vouches for, in the order of its data groups (SP 800-73pt1-5 §3.1.7)."""
CREATOR = "The Mo"
CARD_NUMBER_BYTES = 14


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of one slot and who issued it."""

    slot: str
    serial: str
    issuer_label: str
    certificate: bytes
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that will stand on the chip: contents by tag, and what the centre keeps of it."""

    contents: Mapping[int, bytes]
    certificates: tuple[IssuedCertificate, ...]
    statements: SignedForChip
    content_label: str
    key_hash: bytes


def prepare(
    session: Session,
    hsm: Signing,
    profile: CardProfile,
    card: Card,
    person: Person,
    points: Mapping[KeyRef, bytes],
    now: datetime,
    messaging_point: bytes | None = None,
) -> Prepared:
    """Sign and encode all objects of a card whose keys were made on it. Raises Refused naming what does not fit."""
    try:
        return _prepare(session, hsm, profile, card, person, points, now, messaging_point)
    except Malformed as error:
        raise Refused("cards.bad_object", name=person.full_name, why=str(error)) from error


def _prepare(
    session: Session,
    hsm: Signing,
    profile: CardProfile,
    card: Card,
    person: Person,
    points: Mapping[KeyRef, bytes],
    now: datetime,
    messaging_point: bytes | None,
) -> Prepared:
    # A session forgets what nobody holds: held here, the agency is read once and not at each of its uses.
    agency, employer = agencies.get(session, card.agency_code), agencies.get(session, person.agency_code)
    log.debug("preparing objects card=%s issuer=%s employer=%s", card.uuid, agency.code, employer.code)
    signer = ca.content_signer_for(session, hsm, card.agency_code, now)
    contents = by_content_signer(session, signer, profile, card, person, now, messaging_point)
    certificates = certify(session, hsm, profile.slots, card, person.full_name, points, now)
    contents |= {slot.container.tag: encode_certificate(one.certificate) for slot, one in certificates.items()}
    key = from_point(points[KeyRef.CARD_AUTH])
    face_sha256 = hashlib.sha256(contents[FACIAL_IMAGE.tag]).digest()
    signed = statements.sign_for_chip(session, hsm, card, person, key, face_sha256, now)
    contents[CARD_CREDENTIAL.tag] = signed.credential
    contents[IDENTITY_STATEMENT.tag] = signed.identity
    return Prepared(
        contents={tag: contents[tag] for tag in (*(row.tag for row in profile.containers), *own_tags(profile))},
        certificates=tuple(certificates.values()),
        statements=signed,
        content_label=signer.label,
        key_hash=key.key_hash(),
    )


def own_tags(profile: CardProfile) -> tuple[int, ...]:
    """What a product has beside the containers of the data model."""
    return () if profile.messaging is None else (MESSAGING_CVC.tag,)


def by_content_signer(
    session: Session,
    signer: ca.ContentSigner,
    profile: CardProfile,
    card: Card,
    person: Person,
    now: datetime,
    messaging_point: bytes | None,
) -> dict[int, bytes]:
    """What the content signer vouches for, by tag: the CHUID, the face and all else that the security object lists."""
    contents: dict[Container, bytes] = {
        CCC: encode_ccc(_card_number(card)),
        DISCOVERY: encode_discovery(Discovery(policy=profile.pin_policy)),
        PRINTED_INFORMATION: encode_printed(printed(session, card, person)),
        FINGERPRINTS: EMPTY_BIOMETRIC,
    }
    contents[CHUID] = _chuid(signer, card)
    contents[FACIAL_IMAGE] = _facial_image(session, signer, profile, card, person, now)
    groups = dict(enumerate(HASHED, start=1))
    lds = encode_lds({number: contents[row] for number, row in groups.items()})
    contents[SECURITY_OBJECT] = encode_security_object(
        {number: row.container_id for number, row in groups.items()}, cms.sign_security_object(signer, lds)
    )
    own: dict[int, bytes] = {}
    if profile.messaging is not None and messaging_point is not None:
        contents[SM_CERT_SIGNER] = encode_certificate(signer.certificate)
        own[MESSAGING_CVC.tag] = _messaging_cvc(signer, profile.messaging, messaging_point, card)
    return {row.tag: content for row, content in contents.items()} | own


def printed(session: Session, card: Card, person: Person) -> PrintedInformation:
    """Printed information: the name without diacritics, for it holds ASCII alone."""
    agency = names.fold(agencies.get(session, person.agency_code).short_name).upper()
    return PrintedInformation(
        name=names.fold(person.full_name).upper()[:PRINTED_NAME],
        affiliation=agency[:PRINTED_AFFILIATION].strip(),
        expires=card.expires_on,
        serial=(card.stock_serial or "")[:PRINTED_SERIAL],
        issuer=person.agency_code[:PRINTED_ISSUER],
    )


def _card_number(card: Card) -> bytes:
    """The number in the CCC: derived from the card UUID, so that it tells nothing that the CHUID does not."""
    return card.uuid.bytes[:CARD_NUMBER_BYTES]


def _chuid(signer: ca.ContentSigner, card: Card) -> bytes:
    covered = encode_unsigned_chuid(NON_FEDERAL, card.uuid, card.expires_on)
    return encode_chuid(NON_FEDERAL, card.uuid, card.expires_on, cms.sign_chuid(signer, covered))


def _messaging_cvc(signer: ca.ContentSigner, suite: Suite, point: bytes, card: Card) -> bytes:
    """The certificate of the secure messaging key (SP 800-73pt2-5 §4.1.5), by the signer of the CHUID."""
    named = signer_of(x509.load_der_x509_certificate(signer.certificate))
    return issue_card_cvc(
        suite, point, card.uuid.bytes, named.issuer_id, lambda body: der.ecdsa_signature(signer.sign(body))
    )


def _facial_image(
    session: Session, signer: ca.ContentSigner, profile: CardProfile, card: Card, person: Person, now: datetime
) -> bytes:
    if person.photo_sha256 is None:
        raise Refused("freshness.no_photo", name=person.full_name)
    face = portrait.fit(photos.get(session, person.photo_sha256).jpeg, profile.face_bytes)
    fasc_n = encode_fascn(NON_FEDERAL)

    def sign(record: bytes) -> bytes:
        return cms.sign_biometric(signer, record, fasc_n, card.uuid.bytes)

    cbeff = encode_cbeff(
        encode_face(face.jpeg, face.width, face.height),
        sign,
        created=now,
        valid_until=end_of(card.expires_on),
        creator=CREATOR,
        fascn=fasc_n,
    )
    return encode_facial_image(cbeff)


def certify(
    session: Session,
    hsm: Signing,
    slots: Sequence[Slot],
    card: Card,
    full_name: str,
    points: Mapping[KeyRef, bytes],
    now: datetime,
) -> dict[Slot, IssuedCertificate]:
    """Certify the keys of these slots under the issuing authority of now."""
    authority = ca.current(session, ca.ISSUING, card.agency_code, now)
    issuer = ca.issuer_of(session, hsm, authority)
    holder = ca.CardHolder(
        agency_code=card.agency_code,
        agency_name=agencies.get(session, card.agency_code).name,
        full_name=full_name,
        card_uuid=card.uuid,
        fasc_n=encode_fascn(NON_FEDERAL),
        expires=end_of(card.expires_on),
    )
    serials = [ca.random_serial() for _ in slots]
    bodies = [
        ca.card_certificate_to_sign(issuer, slot.certificate_profile, points[slot.ref], holder, serial, now)
        for slot, serial in zip(slots, serials, strict=True)
    ]
    issued = zip(slots, serials, ca.sign_bodies(hsm, authority, bodies), strict=True)
    return {
        slot: IssuedCertificate(
            slot.certificate_profile, f"{serial:040x}", authority.label, certificate, holder.expires
        )
        for slot, serial, certificate in issued
    }
