"""From a card's life to the lists of its certificates: which event puts them there, for which reason."""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer.cards.open_updates import pending_certificates
from issuer.cards.states import CardState, Event
from issuer.cards.tables import CardCertificate
from issuer.trust import revocation
from issuer.trust.crl import CrlReason
from issuer.trust.revocation import Certificate

S, E, R = CardState, Event, CrlReason

REASON_OF: dict[Event, CrlReason] = {
    # A block can be taken back: on hold, also the stolen card's; it is revoked when the time to undo is over.
    E.SUSPEND: R.CERTIFICATE_HOLD,
    E.REPORT_LOST: R.CERTIFICATE_HOLD,
    E.REPORT_STOLEN: R.CERTIFICATE_HOLD,
    E.REPORT_DAMAGED: R.CERTIFICATE_HOLD,
    E.UNBLOCK: R.REMOVE_FROM_CRL,
    E.REVOKE: R.PRIVILEGE_WITHDRAWN,
    E.REPLACE: R.SUPERSEDED,
    E.SURRENDER: R.CESSATION_OF_OPERATION,
    E.SPOIL: R.CESSATION_OF_OPERATION,
}
"""The reason that an event gives by itself (RFC 5280 §5.3.1). Other events change nothing on a list."""

REASON_FROM: dict[tuple[CardState, Event], CrlReason] = {
    # The keys are in unknown hands: whoever reads the list must know that.
    (S.LOST, E.REVOKE): R.KEY_COMPROMISE,
    (S.STOLEN, E.REVOKE): R.KEY_COMPROMISE,
    (S.LOST, E.REPLACE): R.KEY_COMPROMISE,
    (S.STOLEN, E.REPLACE): R.KEY_COMPROMISE,
    (S.DAMAGED, E.REVOKE): R.CESSATION_OF_OPERATION,
    # Never in its holder's hand.
    (S.ENCODED, E.REVOKE): R.CESSATION_OF_OPERATION,
    (S.PRINTED, E.REVOKE): R.CESSATION_OF_OPERATION,
    (S.CHECKED, E.REVOKE): R.CESSATION_OF_OPERATION,
    (S.HANDED_OVER, E.REVOKE): R.CESSATION_OF_OPERATION,
}
"""Where the state before the event says more than the event."""


def reason_for(before: CardState, event: Event) -> CrlReason | None:
    """Why the certificates of a card stand on a list from this event on; None: nothing changes."""
    return REASON_FROM.get((before, event), REASON_OF.get(event))


def card_moved(session: Session, card_id: uuid.UUID, before: CardState, event: Event, now: datetime) -> None:
    """Bring the certificates of a card onto their lists, or off them, in the transaction that moved the card.

    Those that a torn update has signed may be on the card already.
    """
    reason = reason_for(before, event)
    if reason is None:
        return
    rows = session.scalars(select(CardCertificate).where(CardCertificate.card_id == card_id))
    held = [Certificate(row.issuer_label, row.serial, row.not_after) for row in rows]
    held += [Certificate(*one) for one in pending_certificates(session, card_id)]
    revocation.mark(session, held, reason, now)
