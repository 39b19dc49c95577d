"""A register and keys for tests of cards that need no HSM process: two agencies, people, officers."""

import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from signing_keys import LocalKeys, MadeKey
from sqlalchemy import select

import issuer.tables
from issuer import database
from issuer.audit.tables import AuditRow
from issuer.cards import lifecycle, stock
from issuer.cards.states import CardState, Event, Form, Kind
from issuer.cards.tables import Card, CardRequest
from issuer.database import SessionFactory
from issuer.policy import Actor, Role
from issuer.registry.tables import Agency, Person, Photo, Position, RecordState
from issuer.trust import setup, status
from issuer.trust.setup import AgencyName, Roots

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOME, OTHER = "H38", "G09"
VERIFY_URL = "http://the.example/v"
PHOTO = bytes(32)


def officer(name: str, *roles: tuple[Role, str]) -> Actor:
    return Actor(uuid.uuid5(uuid.NAMESPACE_DNS, name), name, roles)


HR = officer("cán bộ tổ chức", (Role.HR, HOME))
APPROVER = officer("người duyệt", (Role.APPROVER, HOME))
ENCODER = officer("người ghi thẻ", (Role.CARD_OFFICE, HOME))
SECOND = officer("người thứ hai", (Role.CARD_OFFICE, HOME))
STRANGER = officer("người nơi khác", (Role.HR, OTHER), (Role.APPROVER, OTHER), (Role.CARD_OFFICE, OTHER))
EVERYTHING = officer("một người làm hết", (Role.HR, HOME), (Role.APPROVER, HOME), (Role.CARD_OFFICE, HOME))
ADMIN = officer("quản trị", (Role.ADMIN, "*"))


@dataclass
class Register:
    """The database, the keys, and short ways to put a card where a test wants it."""

    factory: SessionFactory
    keys: LocalKeys
    now: datetime = NOW
    people: int = 0
    blanks: int = field(default=0)

    def person(self, **facts: object) -> uuid.UUID:
        """One more person whose record is up to date, but for `facts`."""
        self.people += 1
        row: dict[str, object] = {
            "id": uuid.uuid4(),
            "citizen_number": f"001185{self.people:06d}",
            "full_name": "Nguyễn Thị Ánh",
            "name_fold": "nguyen thi anh",
            "name_sort": f"{self.people:04d}",
            "birth_date": date(1985, 5, 17),
            "sex": 2,
            "agency_code": HOME,
            "unit": "",
            "position_code": "01.003",
            "title": "Chuyên viên",
            "category": "CC",
            "photo_sha256": PHOTO,
            "attested_on": date(2026, 1, 15),
            "state": RecordState.APPROVED,
            "source": "test",
            "created": NOW,
            "updated": NOW,
            "version": 1,
        }
        person = Person(**{**row, **facts})
        with database.transaction(self.factory) as session:
            session.add(person)
        return person.id

    def change(self, person_id: uuid.UUID, **facts: object) -> None:
        with database.transaction(self.factory) as session:
            person = session.get_one(Person, person_id)
            for name, value in facts.items():
                setattr(person, name, value)

    def blank(self) -> str:
        self.blanks += 1
        serial = f"47900001{self.blanks:08X}0001"
        with database.transaction(self.factory) as session:
            stock.add_batch(session, ENCODER, "lô 1", [serial], "transport-1", self.now)
        return serial

    def request(
        self, person_id: uuid.UUID | None = None, actor: Actor = HR, form: Form = Form.CHIP, kind: Kind = Kind.NEW
    ) -> CardRequest:
        person_id = person_id or self.person()
        with database.transaction(self.factory) as session:
            return lifecycle.request_card(session, actor, person_id, form, self.now, kind=kind)

    def approve(self, request: CardRequest, actor: Actor = APPROVER) -> CardRequest:
        with database.transaction(self.factory) as session:
            return lifecycle.approve(session, actor, request.id, self.now)

    def allocate(self, request: CardRequest, serial: str | None = None, actor: Actor = ENCODER) -> Card:
        with database.transaction(self.factory) as session:
            return lifecycle.allocate(session, self.keys, actor, request.id, serial, VERIFY_URL, self.now)

    def allocated(self, form: Form = Form.CHIP, person_id: uuid.UUID | None = None, kind: Kind = Kind.NEW) -> Card:
        if form is Form.CHIP:
            self.blank()
        return self.allocate(self.approve(self.request(person_id, form=form, kind=kind)))

    def move(self, card: Card, event: Event, actor: Actor = ENCODER) -> Card:
        with database.transaction(self.factory) as session:
            return lifecycle.move(session, self.keys, actor, card.id, event, self.now)

    def activate(self, card: Card, actor: Actor = ENCODER) -> Card:
        with database.transaction(self.factory) as session:
            return lifecycle.activate(session, self.keys, actor, card.id, self.now)

    def active(self, form: Form = Form.PLASTIC, person_id: uuid.UUID | None = None, kind: Kind = Kind.NEW) -> Card:
        """An active card; one with a chip is marked as read back, since no chip is at hand here."""
        card = self.allocated(form, person_id, kind)
        if form is Form.CHIP:
            self.put(card, credential=b"read back elsewhere", key_hash=card.uuid.bytes)
            self.move(card, Event.ENCODE)
        return self.activate(card)

    def put(self, card: Card, **facts: object) -> Card:
        """Put facts into a card's row, past all guards."""
        with database.transaction(self.factory) as session:
            found = lifecycle.find(session, card.id)
            for name, value in facts.items():
                setattr(found, name, value)
            return found

    def card(self, card: Card) -> Card:
        with database.reading(self.factory) as session:
            found = lifecycle.find(session, card.id)
            session.expunge(found)
            return found

    def state(self, card: Card) -> CardState:
        return CardState(self.card(card).state)

    def status(self, card: Card) -> int:
        with database.reading(self.factory) as session:
            return int(status.value_of(session, card.id))

    def audited(self, subject: object) -> list[str]:
        with database.reading(self.factory) as session:
            query = select(AuditRow.action).where(AuditRow.subject == str(subject)).order_by(AuditRow.n)
            return list(session.scalars(query))

    def pass_by(self, time_span: timedelta) -> None:
        self.now += time_span


def open_register(folder: Path, url: str | None = None, *, is_fresh: bool = False) -> Register:
    """A filled database with all keys made. On SQLite it is a copy, with the same keys each time but for `is_fresh`."""
    path = folder / "centre.db"
    if url is None and not is_fresh:
        database_file, keys = _template()
        path.write_bytes(database_file)
        made = LocalKeys()
        made.made = dict(keys)
        return Register(database.session_factory(database.engine_at(f"sqlite:///{path}")), made)
    return _made_register(url or f"sqlite:///{path}")


@lru_cache(maxsize=1)
def _template() -> tuple[bytes, dict[str, MadeKey]]:
    """Making all tables and keys takes longer than most tests that need them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "centre.db"
        register = _made_register(f"sqlite:///{path}")
        register.factory.kw["bind"].dispose()  # the last connection takes the write-ahead log into the file
        return path.read_bytes(), register.keys.made


def _made_register(url: str) -> Register:
    engine = database.engine_at(url)
    issuer.tables.metadata.create_all(engine)
    register = Register(database.session_factory(engine), LocalKeys())
    with database.transaction(register.factory) as session:
        for code, name in ((HOME, "Ủy ban nhân dân tỉnh Thử"), (OTHER, "Bộ Thử nghiệm")):
            session.add(Agency(code=code, name=name, short_name=name, kind="province", scheme=1))
        session.add(Position(code="01.003", name="Chuyên viên", level="chuyên viên", colour="#1f6feb", shape="bar"))
        session.add(Photo(sha256=PHOTO, source_sha256=PHOTO, jpeg=b"\xff\xd8", width=300, height=400, stored=NOW))
    names = [AgencyName(HOME, "Ủy ban nhân dân tỉnh Thử"), AgencyName(OTHER, "Bộ Thử nghiệm")]
    installation = AgencyName(HOME, "Trung tâm thẻ")
    setup.init(register.factory, register.keys, ADMIN, installation, names, Roots(), 10, NOW, lambda label: None)
    return register
