"""What stands on a card's faces, from the register as it stands."""

import uuid

from sqlalchemy.orm import Session

from issuer.cards import lifecycle
from issuer.cards.face import FaceData
from issuer.cards.states import Form
from issuer.errors import Refused
from issuer.messages import catalogue
from issuer.registry import agencies, photos, positions
from issuer.registry.tables import Person

PLAIN = ("#5b6472", "bar")
"""Colour and shape of a person without a position in the table."""


def face_data(session: Session, card_id: uuid.UUID) -> FaceData:
    """Collect what both faces show. Raises NotFound, Refused (no portrait, no QR yet)."""
    card = lifecycle.find(session, card_id)
    person = session.get_one(Person, card.person_id)
    if card.qr_text is None or card.qr_plain is None:
        raise Refused("cards.no_qr", card=str(card.uuid))
    if person.photo_sha256 is None:
        raise Refused("freshness.no_photo")
    agency = agencies.get(session, card.agency_code)
    position = positions.get(session, person.position_code) if person.position_code else None
    colour, shape = (position.colour, position.shape) if position else PLAIN
    verify_url, mark, digits = card.qr_text.partition("#")
    return FaceData(
        managing_body=agency.name,
        employing_unit=person.unit or agency.name,
        full_name=person.full_name,
        position_title=person.title,
        # A face is Vietnamese, whoever prints it.
        category=catalogue.text(f"page.category.{person.category}", "vi"),
        identifier=card.identifier,
        photo=photos.get(session, person.photo_sha256).jpeg,
        colour=colour,
        shape=shape,
        has_chip=card.form == Form.CHIP,
        issued_on=card.issued_on,
        expires_on=card.expires_on,
        plain_qr=card.qr_plain,
        signed_qr_url=verify_url + mark,
        signed_qr_digits=digits,
    )
