"""Updates that are under way: which one a card has, and what it has signed so far."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer.cards.plan import Act
from issuer.cards.tables import CardUpdate, CardUpdateStep

LABELS, CERTIFICATES = "labels", "certificates"
"""What the journal keeps of SIGN_ANEW: who signed what, and the certificates: slot, authority, serial, last second."""


def find_open(session: Session, card_id: uuid.UUID) -> CardUpdate | None:
    """The update of a card that is not done."""
    query = select(CardUpdate).where(CardUpdate.card_id == card_id, CardUpdate.ended.is_(None))
    return session.scalars(query).one_or_none()


def pending_certificates(session: Session, card_id: uuid.UUID) -> list[tuple[str, str, datetime]]:
    """Certificates that an open update has signed: authority, serial, last second. They may be on the card already."""
    row = find_open(session, card_id)
    signed = {} if row is None else signed_anew(session, row.id)
    told = signed.get(CERTIFICATES, [])
    return [(authority, serial, datetime.fromisoformat(until)) for _, authority, serial, until in told]


def signed_anew(session: Session, update_id: uuid.UUID) -> Mapping[str, Any]:
    """What the journal keeps of the signing; nothing before that is done."""
    row = session.get(CardUpdateStep, (update_id, str(Act.SIGN_ANEW)), populate_existing=True)
    return {} if row is None else row.facts
