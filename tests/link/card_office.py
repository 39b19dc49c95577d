"""A small centre for tests of cards: a real HSM process, a database, two agencies, people with photos, officers."""

import io
import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL import Image
from sqlalchemy.orm import Session

import issuer.tables
from cardlink.gp.scp03 import StaticKeys
from cardlink.transport.connection import Connection
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from cardos.factory import make_blank
from cardos.maker import Maker
from cardos.records import DEFAULT_OPTION
from cardos.store import MemoryStore
from hsm_sim.client import Client, Role
from issuer import database
from issuer.cards import lifecycle, personalise, stock
from issuer.cards.personalise import Job
from issuer.cards.run import Progress, Report, run
from issuer.cards.states import Form, Kind
from issuer.cards.tables import Card, CardRequest
from issuer.database import SessionFactory
from issuer.policy import Actor
from issuer.policy import Role as Office
from issuer.registry import photos
from issuer.registry.tables import Agency, Person, Position, RecordState
from issuer.trust import setup
from issuer.trust.port import Allocating, CeremonyHsm, Hsm
from issuer.trust.setup import AgencyName, Roots
from issuer.trust.sim import Ceremony, Sim

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOME, OTHER = "H38", "G09"
VERIFY_URL = "http://the.example/v"
BATCH, TRANSPORT_LABEL = "batch-1", "transport-batch-1"
TRANSPORT_KEYS = StaticKeys(*(bytes([0x40 + n] * 16) for n in range(3)))  # made up, for tests alone
LIST_BITS = 12
START_WITHIN_S = 60.0


def officer(name: str, role: Office, prefix: str = HOME) -> Actor:
    return Actor(uuid.uuid5(uuid.NAMESPACE_DNS, name), name, ((role, prefix),))


HR = officer("cán bộ tổ chức", Office.HR)
APPROVER = officer("người duyệt", Office.APPROVER)
ENCODER = officer("người ghi thẻ", Office.CARD_OFFICE)
SECOND = officer("người thứ hai", Office.CARD_OFFICE)
ADMIN = officer("quản trị", Office.ADMIN, "*")


@dataclass
class Clock:
    """A clock that the test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, time_span: timedelta) -> None:
        self.now += time_span


@dataclass
class Blank:
    """A card as the maker delivers it, in this process."""

    serial: str
    chip: ChipCard

    def connect(self) -> Connection:
        self.chip.reset()
        return Loopback(self.chip.transmit)


class HsmProcess:
    """A real hsm-sim on a socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "hsm.sock"
        self._store = folder / "hsm.store"
        self.pins = {role: secrets.token_hex(8) for role in ("so", "user", "auditor")}
        self._secret = secrets.token_hex(32)
        self._process: subprocess.Popen[bytes] | None = None
        self.start(is_new=True)

    def start(self, *, is_new: bool = False) -> None:
        given = {"store_secret": self._secret, **({"pins": self.pins} if is_new else {})}
        read, write = os.pipe()
        os.write(write, json.dumps(given).encode() + b"\n")
        os.close(write)
        command = [sys.executable, "-m", "hsm_sim", "serve", "--socket", str(self.socket), "--store", str(self._store)]
        command += ["--secret-fd", str(read), *(["--init"] if is_new else [])]
        self._process = subprocess.Popen(command, pass_fds=[read], stderr=subprocess.DEVNULL)
        os.close(read)
        deadline = time.monotonic() + START_WITHIN_S
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("hsm-sim does not start")
            time.sleep(0.01)

    def restart(self) -> None:
        """Kill it hard and start it again on its store."""
        self.kill()
        self.start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)

    def client(self, role: Role) -> Client:
        return Client(self.socket, role, self.pins[str(role)])


@dataclass
class Centre:
    """Everything a test of cards needs."""

    factory: SessionFactory
    process: HsmProcess | None
    hsm: Hsm
    ceremony: CeremonyHsm
    clock: Clock = field(default_factory=Clock)
    people: int = 0
    blanks: int = 0
    jobs: Allocating | None = None

    def person(self, agency: str = HOME) -> uuid.UUID:
        """One more person whose record is up to date."""
        self.people += 1
        name = f"Nguyễn Thị Ánh {chr(ord('A') + self.people % 26)}"
        with database.transaction(self.factory) as session:
            photo = photos.store(session, portrait(self.people), self.clock())
            person = Person(
                id=uuid.uuid4(),
                citizen_number=f"001185{self.people:06d}",
                full_name=name,
                name_fold="nguyen thi anh",
                name_sort=f"{self.people:04d}",
                birth_date=date(1985, 5, 17),
                sex=2,
                agency_code=agency,
                unit="",
                position_code="01.003",
                title="Chuyên viên",
                category="CC",
                photo_sha256=photo,
                attested_on=(self.clock() - timedelta(days=46)).date(),
                state=RecordState.APPROVED,
                source="test",
                created=self.clock(),
                updated=self.clock(),
                version=1,
            )
            session.add(person)
        return person.id

    def blank(self, channel_option: int = DEFAULT_OPTION, maker: Maker | None = None) -> Blank:
        """One more blank in the stock, and the card itself; `channel_option` is what its SCP03 can do."""
        self.blanks += 1
        serial = f"4790000100{self.blanks:06X}0001"
        with database.transaction(self.factory) as session:
            stock.add_batch(session, ENCODER, BATCH, [serial], TRANSPORT_LABEL, self.clock())
        records = make_blank(bytes.fromhex(serial), TRANSPORT_KEYS, channel_option, maker)
        return Blank(serial, ChipCard(MemoryStore(records)))

    def requested(
        self, person_id: uuid.UUID | None = None, form: Form = Form.CHIP, kind: Kind = Kind.NEW
    ) -> CardRequest:
        """A request that waits for somebody to approve it."""
        with database.transaction(self.factory) as session:
            return lifecycle.request_card(session, HR, person_id or self.person(), form, self.clock(), kind=kind)

    def approved(
        self, person_id: uuid.UUID | None = None, form: Form = Form.CHIP, kind: Kind = Kind.NEW
    ) -> CardRequest:
        """A request that another person has approved."""
        request = self.requested(person_id, form, kind)
        with database.transaction(self.factory) as session:
            return lifecycle.approve(session, APPROVER, request.id, self.clock())

    def allocate(self, request_id: uuid.UUID, serial: str | None) -> Card:
        with database.transaction(self.factory) as session:
            return lifecycle.allocate(
                session, self.hsm, ENCODER, request_id, serial, VERIFY_URL, self.clock(), self.jobs
            )

    def allocated(self) -> tuple[Card, Blank]:
        """A card that waits to be encoded, and its blank."""
        blank = self.blank()
        return self.allocate(self.approved().id, blank.serial), blank

    def job(self, card_id: uuid.UUID) -> Job:
        return personalise.start(self.factory, self.hsm, ENCODER, card_id, self.clock)

    def encode(self, card_id: uuid.UUID, connection: Connection) -> Report:
        return run(connection, self.job(card_id), silent)

    def encoded(self) -> tuple[Card, Blank]:
        card, blank = self.allocated()
        self.encode(card.id, blank.connect())
        return self.card(card.id), blank

    def active(self) -> tuple[Card, Blank]:
        card, blank = self.encoded()
        with database.transaction(self.factory) as session:
            lifecycle.activate(session, self.hsm, ENCODER, card.id, self.clock())
        return self.card(card.id), blank

    def card(self, card_id: uuid.UUID) -> Card:
        with database.reading(self.factory) as session:
            card = lifecycle.find(session, card_id)
            session.expunge(card)
            return card


def silent(progress: Progress) -> None:
    """A progress display for nobody."""


def portrait(number: int) -> bytes:
    """A made-up portrait: a gradient, different for each number."""
    picture = Image.linear_gradient("L").resize((300, 400)).convert("RGB")
    picture.putpixel((number % 300, number % 400), (255, 0, 0))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()


@contextmanager
def open_centre(folder: Path, url: str | None = None) -> Iterator[Centre]:
    """Start an HSM, make the keys, fill the register."""
    process = HsmProcess(folder)
    engine = database.engine_at(url or f"sqlite:///{folder / 'centre.db'}")
    try:
        issuer.tables.metadata.create_all(engine)
        factory = database.session_factory(engine)
        with process.client(Role.USER) as user, process.client(Role.SO) as so:
            centre = Centre(factory, process, Sim(user), Ceremony(user, so))
            furnish(centre)
            yield centre
    finally:
        process.kill()
        engine.dispose()


def furnish(centre: Centre) -> None:
    """Make the agencies and the keys of an empty centre."""
    with database.transaction(centre.factory) as session:
        fill(session)
    agencies = [AgencyName(HOME, "Ủy ban nhân dân tỉnh Thử"), AgencyName(OTHER, "Bộ Thử nghiệm")]
    installation, told = AgencyName(HOME, "Trung tâm thẻ thử"), (LIST_BITS, centre.clock(), lambda label: None)
    setup.init(centre.factory, centre.ceremony, ADMIN, installation, agencies, Roots(), *told)
    centre.ceremony.load_transport(TRANSPORT_LABEL, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)


def fill(session: Session) -> None:
    """Two agencies and a position."""
    for code, name in ((HOME, "Ủy ban nhân dân tỉnh Thử"), (OTHER, "Bộ Thử nghiệm")):
        session.add(Agency(code=code, name=name, short_name=name, kind="province", scheme=1))
    session.add(Position(code="01.003", name="Chuyên viên", level="chuyên viên", colour="#1f6feb", shape="bar"))
