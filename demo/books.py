"""What the demo and its tests look up in the centre's database, to compare it with what was shown."""

from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select

from cardlink.statements.bundle import read_bundle
from issuer import config, database
from issuer.access import receipts
from issuer.access.tables import Bundle, DoorEvent
from issuer.cards.states import LIVE, Form
from issuer.cards.stock import StockState
from issuer.cards.tables import Card, CardRequest, StockItem
from issuer.trust import status


class Books:
    """The register, read only."""

    def __init__(self, settings: Path) -> None:
        self._engine = database.engine(config.load(settings, {}))
        self._factory = database.session_factory(self._engine)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def card_key(self, card: str) -> UUID:
        """The row key of a card, as the console's addresses have it."""
        with database.reading(self._factory) as session:
            return session.scalars(select(Card.id).where(Card.uuid == UUID(card))).one()

    def status_place(self, card: str) -> tuple[int, int]:
        """The list and the index of a card's status."""
        with database.reading(self._factory) as session:
            found = session.scalars(select(Card).where(Card.uuid == UUID(card))).one()
            return found.status_list, found.status_idx

    def door_events(self) -> int:
        """How many records of doors have arrived."""
        with database.reading(self._factory) as session:
            return session.scalar(select(func.count()).select_from(DoorEvent)) or 0

    def confirmations(self) -> tuple[int, int]:
        """How many doors have confirmed the head of the status feed, of how many."""
        with database.reading(self._factory) as session:
            told = receipts.confirmations(session, *status.head(session))
            return told.confirmed, told.total

    def has_key(self, card: str) -> bool:
        """Whether the centre knows a key of a card, or a blank that became it."""
        with database.reading(self._factory) as session:
            found = session.scalars(select(Card).where(Card.uuid == UUID(card))).one()
            return found.key_hash is not None or found.stock_serial is not None

    def bundles(self) -> list[tuple[int, set[UUID]]]:
        """Each door's newest bundle: its number, and the cards that it lists."""
        with database.reading(self._factory) as session:
            held = session.execute(select(Bundle.seq, Bundle.body)).all()
        return [
            (seq, {UUID(bytes=card.card_uuid) for person in read_bundle(body).value.holders for card in person})
            for seq, body in held
        ]

    def live_card_of(self, request: str) -> str | None:
        """The UUID of the card that counts for a request."""
        with database.reading(self._factory) as session:
            found = select(Card.uuid).where(Card.request_id == UUID(request), Card.state.in_(LIVE))
            card = session.scalars(found).one_or_none()
            return None if card is None else str(card)

    def contradictions(self) -> list[str]:
        """Whatever must never be so: two live cards of a request, a blank in two cards, an active chip without key."""
        found: list[str] = []
        with database.reading(self._factory) as session:
            live = select(Card.request_id, func.count()).where(Card.state.in_(LIVE)).group_by(Card.request_id)
            found += [f"request {key}: {count} live cards" for key, count in session.execute(live) if count > 1]
            used = select(Card.stock_serial, func.count()).where(Card.stock_serial.is_not(None))
            found += [
                f"blank {serial}: {count} cards"
                for serial, count in session.execute(used.group_by(Card.stock_serial))
                if count > 1
            ]
            pairs = select(Card, StockItem).join(StockItem, StockItem.serial == Card.stock_serial)
            for card, item in session.execute(pairs):
                if card.state in LIVE and item.state not in (StockState.ALLOCATED, StockState.USED):
                    found.append(f"card {card.uuid} is {card.state}, its blank {item.state}")
                if card.state == "spoiled" and item.state != StockState.SPOILED:
                    found.append(f"card {card.uuid} is spoiled, its blank {item.state}")
            keyless = select(Card.uuid).where(Card.form == Form.CHIP, Card.state == "active", Card.key_hash.is_(None))
            found += [f"card {card} is active without a key" for card in session.scalars(keyless)]
            orphaned = select(Card.uuid).outerjoin(CardRequest, CardRequest.id == Card.request_id)
            found += [
                f"card {card} without request" for card in session.scalars(orphaned.where(CardRequest.id.is_(None)))
            ]
        return found
