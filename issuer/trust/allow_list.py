"""The allow-list of a trust list (F8): cards that stay good though a key that signed for them is compromised.

A card is known good when our register holds a statement of that key for it, signed before the day up to which the key
is believed, and nothing has ended the card since. 35 bytes each: a list of 4 MiB takes 119,000 of them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cardlink.statements.card import read_card_credential
from cardlink.statements.cose import parse_sign1
from cardlink.statements.trust import MAX_TRUST_BYTES, KeyState
from issuer.cards.states import CardState
from issuer.cards.tables import Card
from issuer.database import within_agency
from issuer.trust.tables import SignerRow

ENTRY_BYTES = 35  # 82, 50 and a UUID, 50 and a key-hash
REST_BYTES = 64 << 10  # what else stands in a list
ENTRIES_MAX = (MAX_TRUST_BYTES - REST_BYTES) // ENTRY_BYTES
STATEMENT_BYTES_MAX = 4096
ENDED = (CardState.REVOKED, CardState.EXPIRED, CardState.DESTROYED, CardState.SPOILED, CardState.CANCELLED)
ON_CARDS = ("card", "identity")
ROWS_AT_ONCE = 2000


def allowed(session: Session, now: datetime) -> tuple[tuple[bytes, bytes], ...]:
    """The cards (UUID, key-hash) of all compromised signers of cards, in order."""
    rows = compromised(session, now)
    if not rows:
        return ()
    until = {row.kid: row.known_good_until for row in rows}
    found: set[tuple[bytes, bytes]] = set()
    for card in cards_of(session, rows):
        kids = [(kid, until[kid]) for kid in kids_on(card) if kid in until]
        if card.key_hash is not None and all(day is not None and signed_at(card) <= day.timestamp() for _, day in kids):
            found.add((card.uuid.bytes, card.key_hash))
    return tuple(sorted(found))


def compromised(session: Session, now: datetime) -> Sequence[SignerRow]:
    """Compromised signers of what stands on cards, while doors would still verify with them."""
    query = select(SignerRow).where(SignerRow.state == KeyState.COMPROMISED, SignerRow.use.in_(ON_CARDS))
    return session.scalars(query.where(SignerRow.verifies_until > now).order_by(SignerRow.label)).all()


def cards_of(session: Session, rows: Iterable[SignerRow]) -> Iterable[Card]:
    """The cards that still count and bear a statement of one of these signers."""
    kids = {row.kid for row in rows}
    scopes = sorted({prefix for row in rows for prefix in row.scope})
    within = or_(*(within_agency(Card.agency_code, prefix) for prefix in scopes))
    query = select(Card).where(within, Card.credential.is_not(None), Card.state.not_in([str(one) for one in ENDED]))
    for card in session.scalars(query.order_by(Card.id).execution_options(yield_per=ROWS_AT_ONCE)):
        if not kids.isdisjoint(kids_on(card)):
            yield card


def kids_on(card: Card) -> tuple[bytes, ...]:
    """Who signed the statements on a card's chip."""
    held = (card.credential, card.identity)
    return tuple(parse_sign1(one, max_bytes=STATEMENT_BYTES_MAX, is_agile=True).kid for one in held if one is not None)


def signed_at(card: Card) -> float:
    """When a card's credential was signed."""
    return read_card_credential(card.credential).value.issued_s if card.credential is not None else 0.0


def faces_of(session: Session, row: SignerRow) -> Iterable[Card]:
    """The cards that still count and bear a QR of this signer on their face."""
    within = or_(*(within_agency(Card.agency_code, prefix) for prefix in row.scope))
    query = select(Card).where(within, Card.qr_statement.is_not(None), Card.state.not_in([str(one) for one in ENDED]))
    for card in session.scalars(query.order_by(Card.id).execution_options(yield_per=ROWS_AT_ONCE)):
        if (
            card.qr_statement is not None
            and parse_sign1(card.qr_statement, max_bytes=STATEMENT_BYTES_MAX).kid == row.kid
        ):
            yield card
