"""A whole small installation for tests of the console: HSM, database, a register of an office, cards, a feed, a door,
and `themo-web serve`; each process real, people made up.
"""

import http.client
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from card_office import BATCH, TRANSPORT_KEYS, TRANSPORT_LABEL, Blank, HsmProcess, silent
from feed_centre import DoorKey, FeedProcess
from ports import free_port

import issuer.tables
from cardlink.piv.tables import Interface
from cardlink.statements.trust import Roots as PinnedRoots
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from cardos.factory import make_blank
from cardos.store import MemoryStore
from demo.register import make_register, write_photos, write_sheet
from hsm_sim.client import Role
from issuer import database, outbox
from issuer.access import bundles, doors, rules
from issuer.access.doors import DoorPlan
from issuer.access.enrolment import fingerprint
from issuer.access.rules import Effect, RulePlan
from issuer.accounts import invitations, users
from issuer.accounts.users import Grant
from issuer.cards import lifecycle, personalise, stock
from issuer.cards.run import run
from issuer.cards.states import Form
from issuer.cards.tables import Card, CardRequest
from issuer.database import SessionFactory
from issuer.days import local_day
from issuer.policy import Actor
from issuer.registry import agencies, freshness, importer, intake, people, photos, positions, workflow
from issuer.registry.tables import Person
from issuer.registry.workflow import Step
from issuer.trust import setup, status, trust_list
from issuer.trust.setup import AgencyName, Roots
from issuer.trust.sim import Ceremony, Sim
from reader_daemon.config import load
from reader_daemon.daemon import Daemon
from reader_daemon.door import LogLock
from reader_daemon.loop import TapResult

HOME, OTHER = "H38", "G09"
PEOPLE = 70
LIST_BITS = 12
START_WITHIN_S = 60.0
SETUP = users.local_administrator("root")
PASSWORD = "mật khẩu thử nghiệm"  # made up, for tests alone
OFFICERS = {
    "hoa": ("Trần Thị Hoa", (f"hr@{HOME}", f"hr@{OTHER}")),
    "lan": ("Lê Ngọc Lan", (f"hr@{HOME}", f"hr@{OTHER}")),
    "son": ("Phạm Đức Sơn", (f"approver@{HOME}", f"approver@{OTHER}", f"hr@{HOME}")),
    "the": ("Vũ Văn Thể", (f"card_office@{HOME}",)),
    "quan": ("Hồ Công Quản", ("admin@*", f"approver@{HOME}")),
}


def now() -> datetime:
    return datetime.now(UTC)


def within(seconds: float, what: Callable[[], bool]) -> float:
    """Wait until it is so; answers how long it took."""
    started_s = time.perf_counter()
    while not what():
        assert time.perf_counter() - started_s < seconds
        time.sleep(0.01)
    return time.perf_counter() - started_s


@dataclass
class WebProcess:
    """`themo-web serve` as a process of its own."""

    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.config.parent / "web.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "web", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
            )
        try:
            within(START_WITHIN_S, self.answers)
        except AssertionError:
            self.stop()
            raise

    def answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(self.log.read_text())
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/v")
            answer = connection.getresponse()
            answer.read()
            connection.close()
        except OSError:
            return False
        return answer.status == 200

    def kill(self) -> None:
        """What a power cut does, to the worker too."""
        assert self.process is not None
        workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        for worker in workers:
            os.kill(int(worker), 9)
        self.process.wait(15)
        self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(15)
        self.process = None
        return code


@dataclass
class Held:
    """A card in somebody's hand: its row, and the chip if it has one."""

    id: uuid.UUID
    person_id: uuid.UUID
    name: str
    qr: str
    blank: Blank | None

    @property
    def digits(self) -> str:
        return self.qr.partition("#")[2]


@dataclass
class World:
    """The installation."""

    folder: Path
    factory: SessionFactory
    hsm_process: HsmProcess
    hsm: Sim
    ceremony: Ceremony
    feed: FeedProcess
    web: WebProcess
    known: dict[str, Actor] = field(default_factory=dict)
    fit: list[uuid.UUID] = field(default_factory=list)
    door_id: uuid.UUID = field(default_factory=uuid.uuid4)
    door: Daemon | None = None
    blanks: int = 0

    def person(self) -> uuid.UUID:
        """One more person of the home agency whose record is up to date and who has no card yet."""
        return self.fit.pop()

    def request(self, person_id: uuid.UUID | None = None, asked_by: str = "hoa", form: Form = Form.CHIP) -> CardRequest:
        with database.transaction(self.factory) as session:
            return lifecycle.request_card(session, self.known[asked_by], person_id or self.person(), form, now())

    def card(self, form: Form = Form.CHIP) -> Held:
        """A card that went all the way: asked for, approved, made, read back, handed over."""
        request = self.request(form=form)
        blank = self.blank() if form is Form.CHIP else None
        with database.transaction(self.factory) as session:
            lifecycle.approve(session, self.known["son"], request.id, now())
        with database.transaction(self.factory) as session:
            serial = None if blank is None else blank.serial
            verify_url = f"{self.web.url}/v"
            card = lifecycle.allocate(session, self.hsm, self.known["the"], request.id, serial, verify_url, now())
        if blank is not None:
            run(blank.connect(), personalise.start(self.factory, self.hsm, self.known["the"], card.id, now), silent)
        with database.transaction(self.factory) as session:
            lifecycle.activate(session, self.hsm, self.known["the"], card.id, now())
            person = session.get_one(Person, card.person_id)
            held = Held(card.id, person.id, person.full_name, str(card.qr_text), blank)
        self.settle()
        return held

    def blank(self) -> Blank:
        self.blanks += 1
        serial = f"4790000100{self.blanks:06X}0001"
        with database.transaction(self.factory) as session:
            stock.add_batch(session, self.known["the"], BATCH, [serial], TRANSPORT_LABEL, now())
        return Blank(serial, ChipCard(MemoryStore(make_blank(bytes.fromhex(serial), TRANSPORT_KEYS))))

    def settle(self) -> None:
        """Wait until the door knows what the centre knows of all cards."""
        outbox.poke_at(self.folder / "feed.sock")
        with database.reading(self.factory) as session:
            head = status.head(session)

        def has_heard() -> bool:
            held = self.door.state.view.status if self.door is not None else None
            return held is not None and (held.epoch, held.seq) >= head

        within(10, has_heard)

    def let_in(self, *held: Held) -> None:
        """Give the door a rule for these people, and wait until it has it."""
        assert self.door is not None
        with database.transaction(self.factory) as session:
            plan = RulePlan(Effect.ALLOW, people=tuple(one.person_id for one in held))
            rules.add(session, self.known["quan"], self.door_id, plan, now())
            bundles.publish(session, self.hsm, self.door_id, now())
        wanted = sum(one.blank is not None for one in held)
        state = self.door.state
        within(10, lambda: state.view.rules is not None and len(state.view.rules.bundle.holders) >= wanted)

    def tap(self, held: Held) -> TapResult:
        """Hold a card to the door."""
        assert self.door is not None
        assert held.blank is not None
        chip = held.blank.chip
        chip.reset()
        return self.door.loop.tap(Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACTLESS)), "test")

    def state(self, held: Held) -> str:
        with database.reading(self.factory) as session:
            return session.get_one(Card, held.id).state

    def roots(self) -> PinnedRoots:
        with database.reading(self.factory) as session:
            return trust_list.roots(session)


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Start everything; a door is enrolled and connected, a second one is enrolled and never heard of again."""
    with ExitStack() as ending:
        process = HsmProcess(folder)
        ending.callback(process.kill)
        engine = database.engine_at(f"sqlite:///{folder / 'centre.db'}")
        ending.callback(engine.dispose)
        issuer.tables.metadata.create_all(engine)
        user, officer = process.client(Role.USER), process.client(Role.SO)
        ending.callback(user.close)
        ending.callback(officer.close)
        web_port, feed_port = free_port(), free_port()
        config = _settings(folder, process, web_port, feed_port)
        world = World(
            folder,
            database.session_factory(engine),
            process,
            Sim(user),
            Ceremony(user, officer),
            FeedProcess(config, feed_port),
            WebProcess(config, web_port),
        )
        _set_up(world)
        _fill_register(world)
        world.feed.start()
        ending.callback(world.feed.stop)
        world.web.start()
        ending.callback(world.web.stop)
        world.door = ending.enter_context(_open_door(world))
        world.door.start_feed(f"http://127.0.0.1:{feed_port}")
        yield world


def _settings(folder: Path, process: HsmProcess, web_port: int, feed_port: int) -> Path:
    pin = folder / "user.pin"
    pin.write_text(process.pins["user"])
    config = folder / "centre.toml"
    config.write_text(
        f'[centre]\ndata_dir = "{folder}"\ninstallation = "{OTHER}"\n'
        f'[hsm]\nsocket = "{process.socket}"\npin_file = "{pin}"\n'
        f'[feed]\nlisten = "127.0.0.1:{feed_port}"\n[web]\nlisten = "127.0.0.1:{web_port}"\n',
        encoding="utf-8",
    )
    return config


def _set_up(world: World) -> None:
    """Agencies, keys, officers with passwords."""
    with database.transaction(world.factory) as session:
        agencies.load(session, SETUP, agencies.shipped_rows(), now())
        agencies.load_places(session)
        positions.load_shipped(session)
        names = [AgencyName(code, agencies.get(session, code).name) for code in (HOME, OTHER)]
    told = (Roots(), LIST_BITS, now(), lambda label: None, world.web.url)
    setup.init(world.factory, world.ceremony, SETUP, names[1], names, *told)
    world.ceremony.load_transport(TRANSPORT_LABEL, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    links: dict[str, str] = {}
    with database.transaction(world.factory) as session:
        for login, (name, roles) in OFFICERS.items():
            user = users.add(session, SETUP, login, name, [Grant.parse(role) for role in roles], now())
            world.known[login] = users.actor_for(session, user)
            links[login] = invitations.invite(session, SETUP, login, now())
    for link in links.values():
        invitations.accept(world.factory, link, PASSWORD, now())


def _fill_register(world: World) -> None:
    """The sheet of an office, faults and all, taken through its steps."""
    today = local_day(now())
    made = make_register(today, PEOPLE)
    write_sheet(made, world.folder / "people.xlsx")
    write_photos(made, world.folder / "photos", today)
    with database.reading(world.factory) as session:
        known = intake.known(session)
    sheet = intake.read_sheet(world.folder / "people.xlsx", known, today).confirm()
    portraits = photos.list_folder(world.folder / "photos")
    importer.run(world.factory, world.known["hoa"], sheet, portraits, now())
    for agency in (HOME, OTHER):
        for login, step in (("lan", Step.CHECK), ("lan", Step.APPRAISE), ("son", Step.APPROVE)):
            workflow.advance_many(world.factory, world.known[login], step, agency, "Đúng, đủ", now())
    with database.reading(world.factory) as session:
        keys = people.keys(session, world.known["hoa"], HOME)
        world.fit = [person.id for person, found in freshness.findings_of(session, keys, now()) if not found]


@contextmanager
def _open_door(world: World) -> Iterator[Daemon]:
    """A door enrolled by its own command, in this process; and one that is silent ever after."""
    admin = world.known["quan"]
    with database.transaction(world.factory) as session:
        door = doors.add(session, admin, DoorPlan("Cửa chính", "Tầng 1, nhà A", "Sảnh", 0, HOME, {}), now())
        code = doors.new_code(session, admin, door.id, now())
        rules.add(session, admin, door.id, RulePlan(Effect.ALLOW, agencies=(OTHER,)), now())
        bundles.publish(session, world.hsm, door.id, now())
        silent_one = doors.add(session, admin, DoorPlan("Cửa kho", "Tầng 2, nhà A", "Kho", 1, HOME, {}), now())
        silent_code = doors.new_code(session, admin, silent_one.id, now())
        doors.enrol(session, silent_code, DoorKey().public, None, now())
    world.door_id = door.id
    url = f"http://127.0.0.1:{world.feed.port}"
    config = world.folder / "door.toml"
    config.write_text(f'data_dir = "{world.folder / "door"}"\nfeed_url = "{url}"\n', encoding="utf-8")
    command = [sys.executable, "-m", "reader_daemon", "enrol", "--config", str(config)]
    command += ["--fingerprint", fingerprint(world.roots())]
    subprocess.run(command, input=code + "\n", text=True, check=True, capture_output=True, timeout=60)
    with Daemon.open(load(config, {}), lock=LogLock()) as opened:
        yield opened
