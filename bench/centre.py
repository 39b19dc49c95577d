"""The office that a benchmark measures: the demo's processes, and the services of the centre called in this process."""

import secrets
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from bench.software_card import software_card
from cardlink.statements.cose_key import from_public_key
from cardos.card import Card as ChipCard
from cardos.image import FileStore
from demo.office import AGENCIES, BATCH, Office, Place, free_port, make_secrets
from demo.portraits import draw_portrait
from demo.slots import CardFile
from demo.supervisor import Supervisor
from hsm_sim.client import Client, Role
from issuer import config, database, outbox
from issuer.access import bundles, doors, rules
from issuer.access.doors import DoorPlan
from issuer.access.rules import Effect, RulePlan
from issuer.cards import blocking, lifecycle, personalise, statements, stock
from issuer.cards.blocking import BlockReason
from issuer.cards.states import Event, Form
from issuer.cards.tables import Card
from issuer.database import SessionFactory
from issuer.policy import Actor
from issuer.policy import Role as Office_role
from issuer.registry import photos
from issuer.registry.tables import Person, RecordState
from issuer.trust.sim import Allocator, Sim

AGENCY = AGENCIES[0]
VERIFY_URL = "http://127.0.0.1/v"
POSITION = "01.003"  # of the positions that come with the product


def _actor(name: str, role: Office_role) -> Actor:
    return Actor(uuid.uuid5(uuid.NAMESPACE_DNS, name), name, ((role, "*"),))


HR, APPROVER = _actor("hr", Office_role.HR), _actor("approver", Office_role.APPROVER)
ENCODER, ADMIN = _actor("encoder", Office_role.CARD_OFFICE), _actor("admin", Office_role.ADMIN)


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass
class Centre:
    """A running office: HSM and feed are processes, the rest is called here."""

    office: Office
    supervisor: Supervisor
    engine: Engine
    factory: SessionFactory
    client: Client
    hsm: Sim
    jobs: Allocator
    folder: Path
    poke: Path
    people: int = field(default=0)

    def person(self) -> uuid.UUID:
        """One more person whose record is up to date."""
        self.people += 1
        at = now()
        with database.transaction(self.factory) as session:
            photo = photos.store(session, draw_portrait(str(self.people), True, 40), at)
            person = Person(
                id=uuid.uuid4(),
                citizen_number=f"001185{self.people:06d}",
                full_name="Nguyễn Thị Ánh Dương",
                name_fold="nguyen thi anh duong",
                name_sort=f"{self.people:04d}",
                birth_date=date(1985, 5, 17),
                sex=2,
                agency_code=AGENCY,
                unit="Văn phòng",
                position_code=POSITION,
                title="Chuyên viên",
                category="CC",
                photo_sha256=photo,
                attested_on=at.date(),
                state=RecordState.APPROVED,
                source="bench",
                created=at,
                updated=at,
                version=1,
            )
            session.add(person)
        return person.id

    def blank(self) -> CardFile:
        """One more blank card, and its serial in the stock."""
        card = self.office.blank(f"card-{secrets.token_hex(4)}")
        self._take_in(card.serial)
        return card

    def _take_in(self, serial: str) -> None:
        with database.transaction(self.factory) as session:
            stock.add_batch(session, ENCODER, BATCH, [serial.upper()], BATCH, now())

    def allocated(self, serial: str) -> Card:
        """A card for a new person that waits to be encoded on this blank."""
        person_id = self.person()
        with database.transaction(self.factory) as session:
            request = lifecycle.request_card(session, HR, person_id, Form.CHIP, now())
        with database.transaction(self.factory) as session:
            lifecycle.approve(session, APPROVER, request.id, now())
        with database.transaction(self.factory) as session:
            return lifecycle.allocate(
                session, self.hsm, ENCODER, request.id, serial.upper(), VERIFY_URL, now(), self.jobs
            )

    def job(self, card: Card) -> personalise.Job:
        """The personalisation of an allocated card."""
        return personalise.start(self.factory, self.hsm, ENCODER, card.id, now)

    def activate(self, card: Card) -> Card:
        """Hand the card over: from now on it counts."""
        with database.transaction(self.factory) as session:
            return lifecycle.activate(session, self.hsm, ENCODER, card.id, now())

    def software_card(self) -> tuple[Card, ChipCard]:
        """An active card whose key was made here: signed by the real signers, and no chip was encoded for it."""
        serial = secrets.token_hex(10)
        self._take_in(serial)
        card, private = self.allocated(serial), ec.generate_private_key(ec.SECP256R1())
        key = from_public_key(private.public_key())
        with database.transaction(self.factory) as session:
            row = lifecycle.find(session, card.id, locked=True)
            person = session.get_one(Person, row.person_id)
            signed = statements.sign_for_chip(session, self.hsm, row, person, key, bytes(32), now())
            row.key_hash, row.credential, row.encoded_by = key.key_hash(), signed.credential, ENCODER.user_id
            lifecycle.move(session, self.hsm, ENCODER, row.id, Event.ENCODE, now())
        return self.activate(card), software_card(private, signed.credential)

    def block(self, card_id: uuid.UUID) -> None:
        """Khóa thẻ, as the console does it: the service, its commit, the word to the feed."""
        with database.transaction(self.factory) as session:
            blocking.block(session, self.hsm, ADMIN, card_id, BlockReason.LOST, now())
        outbox.poke_at(self.poke)

    def new_door(self) -> str:
        """A door that lets everybody of the agency in; answers its one-time code."""
        with database.transaction(self.factory) as session:
            door = doors.add(session, ADMIN, DoorPlan("Cửa đo", "Tầng 1", "Sảnh", 0, AGENCY, {}), now())
            code = doors.new_code(session, ADMIN, door.id, now())
            rules.add(session, ADMIN, door.id, RulePlan(Effect.ALLOW, agencies=(AGENCY,)), now())
            bundles.publish(session, self.hsm, door.id, now())
        return code


@contextmanager
def open_card(card: CardFile) -> Iterator[ChipCard]:
    """The card of an image, in this process; nobody else can have it meanwhile."""
    store = FileStore(card.image, card.secret)
    try:
        yield ChipCard(store)
    finally:
        store.close()


@contextmanager
def open_centre() -> Iterator[Centre]:
    """Start an HSM, make the keys of the agencies, start the feed; all of it ends with the block."""
    held = make_secrets()
    with tempfile.TemporaryDirectory(prefix="themo-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environ = {"THEMO_CONFIG": str(folder / "centre.toml"), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        with Supervisor(folder / "logs", held, environ) as supervisor:
            office = Office(Place(folder), supervisor, free_port(None), free_port(None))
            office.write_settings()
            office.start_hsm()
            office.make_keys()
            office.start_feed()
            settings = config.load(office.place.config, {})
            engine = database.engine(settings)
            try:
                user, allocator = (
                    Client(settings.hsm_socket, role, held[f"{role}-pin"].decode().strip())
                    for role in (Role.USER, Role.ALLOCATOR)
                )
                with user, allocator:
                    hsm, jobs = Sim(user), Allocator(allocator)
                    factory = database.session_factory(engine)
                    yield Centre(office, supervisor, engine, factory, user, hsm, jobs, folder, settings.feed_poke)
            finally:
                engine.dispose()
