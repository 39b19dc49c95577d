"""A key room to rehearse in: real HSM, feed and door, a chip card or two, and the commands as persons type them."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from card_office import ADMIN, HOME, OTHER, TRANSPORT_KEYS, TRANSPORT_LABEL, Blank, Centre, fill
from feed_centre import FeedProcess
from hsm_process import PINS, SECRET, HsmProcess
from ports import free_port
from typed import typed

import issuer.tables
from cardlink.statements.trust import Trust, accept_trust_list
from hsm_sim.client import Client, Denied, Role
from issuer import database, outbox
from issuer.access import bundles, doors, rules
from issuer.access.doors import DoorPlan
from issuer.access.enrolment import fingerprint
from issuer.access.rules import Effect, RulePlan
from issuer.cards.tables import Card
from issuer.trust import trust_list
from issuer.trust.sim import Ceremony, Sim
from reader_daemon.config import load
from reader_daemon.daemon import Daemon
from reader_daemon.door import LogLock

OFFICERS = {"Lan": "mat-khau-lan", "Minh": "mat-khau-minh"}
COMMAND_WAIT_S = 60.0


def right_now() -> datetime:
    return datetime.now(UTC)


def within(seconds: float, what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def agree_to_all(client: Client, done: threading.Event) -> None:
    """An officer who agrees to whatever is proposed, until told to go home."""
    with client:
        while not done.wait(0.03):
            for proposal in client.proposals():
                if proposal.persons and len(proposal.persons) < proposal.needed:
                    try:
                        client.approve(proposal)
                    except Denied:
                        continue  # carried out meanwhile


@dataclass
class KeyRoom:
    """Everything a drill needs."""

    folder: Path
    hsm_process: HsmProcess
    centre: Centre
    config: Path
    port: int
    feed: FeedProcess | None = None
    held: list[Daemon] = field(default_factory=list)

    # --- what persons type

    def words(self, *words: str, officer: str | None = "Lan") -> list[str]:
        given = ["--config", str(self.config), "--lang", "en", *words]
        if officer is not None:
            given += ["--officer", officer, "--officer-pin-file", str(self.folder / f"{officer}.pin")]
        return given

    def argv(self, *words: str, officer: str | None = "Lan") -> list[str]:
        return [sys.executable, "-W", "error", "-m", "issuer", *self.words(*words, officer=officer)]

    def type(self, *words: str, officer: str | None = "Lan", code: int = 0) -> str:
        done = typed("issuer", self.words(*words, officer=officer), timeout_s=COMMAND_WAIT_S)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def hsm_sim(self, name: str, *words: str) -> str:
        command = [sys.executable, "-W", "error", "-m", "hsm_sim", "--lang", "en", words[0]]
        command += ["--socket", str(self.hsm_process.socket), "--as", name]
        command += ["--pin-file", str(self.folder / f"{name}.pin"), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_WAIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- what is so

    def state_of(self, label: str) -> str:
        return self.centre.hsm.info(label).state

    def list_in_force(self) -> Trust:
        with database.reading(self.centre.factory) as session:
            trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), right_now())
        assert isinstance(trust, Trust), trust
        return trust

    def list_number(self) -> int:
        return self.list_in_force().content.number

    # --- cards and doors

    def active_card(self) -> tuple[Card, Blank]:
        return self.centre.active()

    def door(self, owner: str = HOME) -> Daemon:
        """A door that lets everybody of HOME in, enrolled by its command, following the feed."""
        with database.transaction(self.centre.factory) as session:
            door = doors.add(session, ADMIN, DoorPlan("Cửa", "Tầng 1", "Sảnh", 0, owner, {}), right_now())
            code = doors.new_code(session, ADMIN, door.id, right_now())
            rules.add(session, ADMIN, door.id, RulePlan(Effect.ALLOW, agencies=(HOME,)), right_now())
            bundles.publish(session, self.centre.hsm, door.id, right_now())
            shown = fingerprint(trust_list.roots(session))
        self.poke()
        folder = self.folder / str(uuid.uuid4())
        folder.mkdir()
        config = folder / "door.toml"
        url = f"http://127.0.0.1:{self.port}"
        config.write_text(f'data_dir = "{folder / "data"}"\nfeed_url = "{url}"\n', encoding="utf-8")
        command = [sys.executable, "-m", "reader_daemon", "enrol", "--config", str(config), "--fingerprint", shown]
        subprocess.run(command, input=code + "\n", text=True, check=True, capture_output=True, timeout=60)
        daemon = Daemon.open(load(config, {}), lock=LogLock())
        self.held.append(daemon)
        daemon.start_feed(url)
        within(20, lambda: daemon.state.view.rules is not None and daemon.state.view.status is not None)
        within(20, lambda: daemon.state.stale_s() is not None)
        return daemon

    def poke(self) -> None:
        outbox.poke_at(self.folder / "feed.sock")

    def follows(self, door: Daemon) -> None:
        """Wait until a door has the list in force and everything that goes with it."""
        number = self.list_number()

        def is_there() -> bool:
            view = door.state.view
            trust = view.trust
            ready = view.status is not None and view.rules is not None
            return trust is not None and trust.content.number == number and ready and not door.state.is_disk_behind

        within(20, is_there)

    def start_feed(self) -> None:
        self.feed = FeedProcess(self.config, self.port)
        self.feed.start()


def tap(door: Daemon, blank: Blank) -> str:
    """Lay a card on a door: `granted`, or why not."""
    result = door.loop.tap(blank.connect(), "test")
    assert result.opened is (result.reason is None)
    return "granted" if result.reason is None else str(result.reason)


@contextmanager
def open_key_room(
    folder: Path,
    persons: int = 1,
    roots: tuple[int, int] = (1, 1),
    allocator_pin: str | None = None,
    init_words: Sequence[str] = (),
) -> Iterator[KeyRoom]:
    """Start an HSM, make every key by `issuer keys init`, with a second officer who agrees where it takes two."""
    port = free_port()
    pins = PINS | ({"allocator": allocator_pin} if allocator_pin is not None else {})
    given = SECRET | {"pins": pins, "officers": OFFICERS}
    hsm = HsmProcess(folder).start("--init", "--persons-needed", str(persons), secret=given)
    engine = database.engine_at(f"sqlite:///{folder / 'centre.db'}")
    room: KeyRoom | None = None
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        try:
            issuer.tables.metadata.create_all(engine)
            factory = database.session_factory(engine)
            with database.transaction(factory) as session:
                fill(session)
            for name, pin in ({str(role): pin for role, pin in PINS.items()} | OFFICERS).items():
                (folder / f"{name}.pin").write_text(pin + "\n")
            config = folder / "centre.toml"
            config.write_text(_settings(folder, port, hsm), encoding="utf-8")
            user, officer = (stack.enter_context(hsm.client(role)) for role in (Role.USER, Role.SO))
            user.status()  # it is up
            centre = Centre(factory, hsm, Sim(user), Ceremony(user, officer), right_now)  # type: ignore[arg-type]  # another process class with the same client
            room = KeyRoom(folder, hsm, centre, config, port)
            with agreeing(room):
                room.type(
                    *("keys", "init", "--agency", HOME, "--agency", OTHER),
                    *("--roots", str(roots[0]), "--threshold", str(roots[1])),
                    *init_words,
                )
            centre.ceremony.load_transport(TRANSPORT_LABEL, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
            yield room
        finally:
            if room is not None:
                for daemon in room.held:
                    daemon.close()
                if room.feed is not None and room.feed.process is not None:
                    room.feed.stop()
            hsm.kill()


@contextmanager
def agreeing(room: KeyRoom) -> Iterator[None]:
    """Meanwhile Minh sits at another terminal and agrees to everything."""
    done = threading.Event()
    client = Client(room.hsm_process.socket, "Minh", OFFICERS["Minh"])
    person = threading.Thread(target=agree_to_all, args=(client, done))
    person.start()
    try:
        yield
    finally:
        done.set()
        person.join(20)


def _settings(folder: Path, port: int, hsm: HsmProcess) -> str:
    return f"""
[centre]
data_dir = "{folder}"
database_url = "sqlite:///{folder / "centre.db"}"
installation = "{HOME}"
[hsm]
socket = "{hsm.socket}"
pin_file = "{folder / "user.pin"}"
[feed]
listen = "127.0.0.1:{port}"
"""
