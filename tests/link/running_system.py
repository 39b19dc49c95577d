"""A whole installation in running processes under the demo's supervisor, so that tests can kill each of them.

The HSM, the feed, the console, doors and virtual cards are real processes with their secrets handed over by
descriptor; what an officer does between is called in this process. It runs by the real clock.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from card_office import ADMIN, HOME, SECOND, TRANSPORT_KEYS, Centre, furnish
from card_slot import ServedCard
from ports import free_port
from sqlalchemy import select

from cardlink.statements import record as record_wire
from cardlink.statements.status import Status, read_event, verify_feed_message
from cardlink.statements.trust import Signer, Trust, accept_trust_list
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from cardos.factory import make_blank
from cardos.image import FileStore
from demo.console import ConsoleSession
from demo.office import Office, Place, make_secrets
from demo.pcscd import VirtualReader
from demo.supervisor import Program, Running, Supervisor, command
from hsm_sim.client import Client, Role
from issuer import config, database, outbox
from issuer.access import alarms, bundles, doors, receipts, rules
from issuer.access.doors import DoorPlan
from issuer.access.rules import Effect, RulePlan
from issuer.access.tables import DoorEvent
from issuer.accounts import invitations, users
from issuer.accounts.users import Grant
from issuer.audit import log as audit
from issuer.audit.log import Intact
from issuer.cards import lifecycle
from issuer.cards.states import Form
from issuer.cards.tables import Card
from issuer.outbox import Kind, Outbox
from issuer.policy import Actor
from issuer.trust import status, trust_list
from issuer.trust.sim import Allocator, Ceremony, Sim
from issuer.trust.status import Position
from issuer.trust.status_tables import StatusEntry

WAIT_S = 20.0
LOOK_EVERY_S = 0.01
REMOVAL_S = 0.6
"""pcscd looks for removals every 400 ms; a card put in sooner would not be a new one to the door."""
SETUP = users.local_administrator("root")
CARD_SECRET = bytes(range(32))  # seals the images of these tests' cards


def right_now() -> datetime:
    return datetime.now(UTC)


def within(seconds: float, what: Callable[[], bool], told: Callable[[], str] = lambda: "") -> None:
    """Wait until it is so, for so many seconds of looking: one in which the whole machine stood still does not count.

    `told` is what to show when it never came to be.
    """
    for _ in range(int(seconds / LOOK_EVERY_S)):
        if what():
            return
        time.sleep(LOOK_EVERY_S)
    assert what(), f"not in time\n{told()}"


def answers(path: Path) -> bool:
    """Say whether somebody listens at a Unix socket: the file alone may be a dead process's."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@dataclass(frozen=True)
class SupervisedHsm:
    """The HSM as card_office knows it, its process in the supervisor's hands."""

    supervisor: Supervisor
    socket: Path
    pins: Mapping[str, str]

    def client(self, role: Role) -> Client:
        return Client(self.socket, role, self.pins[str(role)])

    def kill(self) -> None:
        self.supervisor.kill("hsm")

    def restart(self) -> None:
        self.supervisor.restart("hsm")


@dataclass(frozen=True)
class DoorPlace:
    """An enrolled door and where it keeps its data."""

    id: uuid.UUID
    config: Path
    data: Path


@dataclass
class System:
    """The installation: its processes, and the officers' side of it in this process."""

    folder: Path
    supervisor: Supervisor
    office: Office
    centre: Centre
    doors: int = 0
    people: dict[str, Actor] = field(default_factory=dict)

    # --- what officers do

    def poke(self) -> None:
        outbox.poke_at(self.folder / "data" / "feed.sock")

    def plastic_card(self) -> Card:
        """A card that counts, without a chip: quick to make."""
        card = self.centre.allocate(self.centre.approved(form=Form.PLASTIC).id, None)
        return self.activate(card)

    def chip_card(self, reader_folder: Path) -> tuple[Card, Path]:
        """A card that counts, and its image for `cardos serve`."""
        card, image = self.blank_for_a_card(reader_folder)
        store = FileStore(image, CARD_SECRET, sync=False)
        self.centre.encode(card.id, Loopback(ChipCard(store).transmit))
        store.close()
        return self.activate(card), image

    def blank_for_a_card(self, folder: Path) -> tuple[Card, Path]:
        """An allocated card and the image of its blank."""
        serial = self.centre.blank().serial
        card = self.centre.allocate(self.centre.approved().id, serial)
        image = folder / f"{serial}.card"
        FileStore.create(image, CARD_SECRET, make_blank(bytes.fromhex(serial), TRANSPORT_KEYS), sync=False).close()
        image.with_name(image.name + ".key").write_text(CARD_SECRET.hex(), encoding="ascii")
        return card, image

    def activate(self, card: Card) -> Card:
        with database.transaction(self.centre.factory) as session:
            lifecycle.activate(session, self.centre.hsm, SECOND, card.id, right_now())
        return self.centre.card(card.id)

    def user(self, login: str, role: str) -> ConsoleSession:
        """A new user, signed in at the console."""
        with database.transaction(self.centre.factory) as session:
            user = users.add(session, SETUP, login, login, [Grant.parse(role)], right_now())
            token = invitations.invite(session, SETUP, login, right_now())
            self.people[login] = users.actor_for(session, user)
        console = ConsoleSession(self.office.console_url)
        console.accept(f"{self.office.console_url}/invite/{token}", "một câu dài dễ nhớ")
        return console

    # --- doors and cards

    def door(self) -> DoorPlace:
        """A door that lets its agency's people in, enrolled by its command. The feed must run."""
        self.doors += 1
        with database.transaction(self.centre.factory) as session:
            plan = DoorPlan(f"Cửa {self.doors}", "Tầng 1", "Sảnh", 0, HOME, {})
            door = doors.add(session, ADMIN, plan, right_now())
            code = doors.new_code(session, ADMIN, door.id, right_now())
            rules.add(session, ADMIN, door.id, RulePlan(Effect.ALLOW, agencies=(HOME,)), right_now())
            bundles.publish(session, self.centre.hsm, door.id, right_now())
        self.poke()
        folder = self.folder / f"door{self.doors}"
        folder.mkdir()
        place = DoorPlace(door.id, folder / "door.toml", folder / "data")
        place.config.write_text(
            f'data_dir = "{place.data}"\nfeed_url = "{self.office.feed_url}"\ninsert_wait_s = 0.2\n', encoding="utf-8"
        )
        self.supervisor.run([command("reader-daemon"), "enrol", "--config", str(place.config)], stdin=f"{code}\n")
        return place

    def start_door(self, place: DoorPlace, readers: str, environ: Mapping[str, str]) -> None:
        """Start the door's process and wait until it is up."""
        argv = [command("reader-daemon"), "run", "--config", str(place.config), "--events-stdout"]
        program = Program("door", argv, lambda: True, {**environ, "THEMO_DOOR_READERS": readers})
        self._bring_up(lambda: self.supervisor.start(program))

    def restart_door(self) -> None:
        """Start the door's process again and wait until it is up."""
        self._bring_up(lambda: self.supervisor.restart("door"))

    def _bring_up(self, start: Callable[[], Running]) -> None:
        before = len(self.told_by_door("started"))
        process = start().process

        def output() -> str:
            return self.supervisor.output("door").read_text(encoding="utf-8", errors="replace")

        within(WAIT_S, lambda: process.poll() is not None or len(self.told_by_door("started")) > before, output)
        assert process.poll() is None, output()

    def told_by_door(self, event: str) -> list[dict[str, object]]:
        """Every line of this kind of the door's process, over all its lives."""
        output = self.supervisor.output("door")
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.exists() else []
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [one for one in told if one["event"] == event]

    def serve(self, reader: VirtualReader, name: str, image: Path) -> ServedCard:
        """Start `cardos serve` for an image, the card in no slot yet."""
        control = self.folder / f"{name}.control"
        argv = [*reader.enter, command("cardos"), "serve", "--image", str(image), "--interface", "none"]
        argv += ["--control", str(control)]
        running = self.supervisor.start(Program(name, argv, lambda: answers(control)))
        return ServedCard(running.process, control, reader.environ())

    def tap(self, card: ServedCard) -> dict[str, object]:
        """Lay a card on the door's reader, take it away again, and answer what the door said of it."""
        before = len(self.told_by_door("tap"))
        assert card.tell("insert contactless").startswith("ok")
        within(WAIT_S, lambda: len(self.told_by_door("tap")) > before)
        assert card.tell("remove").startswith("ok")
        time.sleep(REMOVAL_S)
        return self.told_by_door("tap")[before]

    # --- what must be so afterwards

    def head(self) -> Position:
        with database.reading(self.centre.factory) as session:
            return status.head(session)

    def assert_feed_is_whole(self) -> None:
        """Every event of the feed is there once, verifies, and all together lead to the values of the register."""
        with database.reading(self.centre.factory) as session:
            at = status.head(session)
            trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), right_now())
            found = status.events_between(session, at.epoch, 0)
            rows = session.scalars(select(StatusEntry)).all()
            told = session.scalars(select(Outbox.key).where(Outbox.kind == Kind.STATUS)).all()
        assert isinstance(trust, Trust)
        assert [seq for seq, _ in found] == list(range(1, at.seq + 1))
        assert len(told) == len(set(told)) == len(found)
        values: dict[tuple[int, int], Status] = {}
        for seq, raw in found:
            event = read_event(raw)
            assert isinstance(verify_feed_message(event, trust, right_now()), Signer)
            assert event.value.seq == seq
            values |= {(one.list_number, one.index): one.status for one in event.value.entries}
        assert {(row.list_n, row.idx): row.value for row in rows} == {
            (row.list_n, row.idx): values.get((row.list_n, row.idx), Status.VALID) for row in rows
        }

    def is_confirmed(self, at: Position) -> bool:
        with database.reading(self.centre.factory) as session:
            told = receipts.confirmations(session, *at)
        return told.confirmed == told.total > 0

    def door_records(self, place: DoorPlace) -> list[record_wire.Record]:
        """The door's log as the centre has it, after a check of its whole chain."""
        with database.reading(self.centre.factory) as session:
            found = select(DoorEvent.record).where(DoorEvent.door_id == place.id).order_by(DoorEvent.id)
            raws = list(session.scalars(found))
        assert isinstance(record_wire.check_chain(raws, record_wire.NO_RECORD, 0, 0), bytes)
        return [record_wire.decode_record(raw) for raw in raws]

    def assert_books_are_whole(self) -> None:
        """The audit log's chain holds, and nothing raised an alarm."""
        with database.reading(self.centre.factory) as session:
            assert isinstance(audit.verify(session), Intact)
            assert [alarm.kind for alarm, _ in alarms.waiting(session, ADMIN)] == []


@contextmanager
def running(folder: Path) -> Iterator[System]:
    """An installation with its HSM running and its keys made; feed, console and doors are started by who needs them."""
    place = Place(folder)
    secrets = make_secrets()
    pins: dict[str, str] = json.loads(secrets["hsm"])["pins"]
    # The keys of card_office belong to H38, so that is the installation here.
    environ = {**os.environ, "THEMO_CONFIG": str(place.config), "THEMO_CENTRE_INSTALLATION": HOME}
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(folder / "logs", secrets, environ))
        office = Office(place, supervisor, free_port(), free_port())
        office.write_settings()
        office.start_hsm()
        hsm = SupervisedHsm(supervisor, folder / "data" / "hsm.sock", pins)
        office.issuer("init", "--empty")
        engine = database.engine(config.load(place.config, environ))
        stack.callback(engine.dispose)
        roles = (Role.USER, Role.SO, Role.ALLOCATOR)
        user, officer, allocator = (stack.enter_context(hsm.client(role)) for role in roles)
        centre = Centre(database.session_factory(engine), hsm, Sim(user), Ceremony(user, officer), right_now)
        centre.jobs = Allocator(allocator)
        furnish(centre)
        yield System(folder, supervisor, office, centre)
