"""How the demo's cards reach the issuer and the door: through pcscd and the virtual reader, or in this process.

Both ways do the same: encode the blank of a card, tap a card at the door, take it away. Only where pcscd is missing or
namespaces are refused the second one is used.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cardlink.errors import LinkLost
from cardlink.piv.tables import Interface
from cardlink.transport.connection import Connection, Torn
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.image import FileStore
from demo.display import NotAsItShouldBe
from demo.pcscd import CONTACT_READER, CONTACTLESS_READER, VirtualReader
from demo.supervisor import ProcessFailed, Program, Supervisor, command
from issuer import config as centre_config
from issuer import database
from issuer.accounts import users
from issuer.cards import personalise, queries
from issuer.cards.personalise import Spoiled
from issuer.cards.run import run
from issuer.trust.connect import connect
from reader_daemon import config as door_config
from reader_daemon.daemon import Daemon
from reader_daemon.report import tap_line

TAP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class CardFile:
    """A virtual card: its image, beside it the file with the secret that seals it."""

    name: str
    image: Path
    serial: str

    @property
    def secret(self) -> bytes:
        """The secret that seals the image."""
        return bytes.fromhex(self.image.with_name(self.image.name + ".key").read_text(encoding="ascii").strip())


class Slots(Protocol):
    """Where cards are put."""

    def encode(self, card: CardFile, card_uuid: str, tear_at: int | None = None) -> str:
        """Encode the blank for a card of the register; answers the command's words. Raises ProcessFailed."""

    def start_door(self, config: Path, feed_url: str) -> None:
        """Bring the door up."""

    def tap(self, card: CardFile) -> dict[str, Any]:
        """Hold a card to the door and answer what the door says of it."""

    def release(self, card: CardFile) -> None:
        """Let go of a card's image, so that something else can open it."""

    def end(self) -> None:
        """Take all cards away and end the door."""


class PcscSlots:
    """Cards are processes in the virtual reader's network namespace; issuer and door reach them through pcscd."""

    def __init__(self, supervisor: Supervisor, reader: VirtualReader, folder: Path) -> None:
        self._supervisor = supervisor
        self._reader = reader
        self._folder = folder
        self._controls: dict[str, Path] = {}

    def encode(self, card: CardFile, card_uuid: str, tear_at: int | None = None) -> str:
        self._serve(card, tear_at)
        self._tell(card, "insert contact")
        try:
            return self._supervisor.run(
                [command("issuer"), "cards", "encode", card_uuid, "--reader", CONTACT_READER],
                self._reader.environ({"THEMO_AS": "cap.the", "THEMO_HSM_PIN_FD": "{fd:user-pin}"}),
            )
        finally:
            if tear_at is None:
                self._tell(card, "remove")
            else:
                self._quit(card)

    def start_door(self, config: Path, feed_url: str) -> None:
        self._supervisor.start(
            Program(
                "door",
                [command("reader-daemon"), "run", "--config", str(config), "--events-stdout"],
                lambda: '"started"' in self._supervisor.output("door").read_text(encoding="utf-8", errors="replace"),
                self._reader.environ({"THEMO_DOOR_READERS": CONTACTLESS_READER, "THEMO_DOOR_FEED_URL": feed_url}),
            )
        )

    def tap(self, card: CardFile) -> dict[str, Any]:
        before = len(self._taps())
        self._serve(card, None)
        self._tell(card, "insert contactless")
        deadline = time.monotonic() + TAP_TIMEOUT_S
        try:
            while time.monotonic() < deadline:
                taps = self._taps()
                if len(taps) > before:
                    return taps[before]
                time.sleep(0.005)
        finally:
            self._tell(card, "remove")
            # pcscd looks for removals every 400 ms; a card put in sooner would not be a new one to the door.
            time.sleep(0.6)
        raise NotAsItShouldBe(f"the door said nothing of the card {card.name} within {TAP_TIMEOUT_S:.0f} s")

    def release(self, card: CardFile) -> None:
        if card.name in self._controls:
            self._quit(card)

    def end(self) -> None:
        for name in list(self._controls):
            self._supervisor.stop(f"card-{name}")
        self._controls.clear()

    def serve_in_contact_slot(self, card: CardFile) -> None:
        """Leave a card in the contact slot, for foreign programs to read."""
        self._serve(card, None)
        self._tell(card, "insert contact")

    def _taps(self) -> list[dict[str, Any]]:
        text = self._supervisor.output("door").read_text(encoding="utf-8", errors="replace")
        told = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [one for one in told if one.get("event") == "tap"]

    def _serve(self, card: CardFile, tear_at: int | None) -> None:
        if card.name in self._controls:
            return
        control = self._folder / f"{card.name}.control"
        control.unlink(missing_ok=True)
        argv = [*self._reader.enter, command("cardos"), "serve", "--image", str(card.image), "--interface", "none"]
        argv += ["--control", str(control)]
        if tear_at is not None:
            argv += ["--tear-at", str(tear_at), "--tear-after"]
        self._supervisor.start(Program(f"card-{card.name}", argv, control.exists))
        self._controls[card.name] = control

    def _quit(self, card: CardFile) -> None:
        self._supervisor.stop(f"card-{card.name}")
        del self._controls[card.name]
        time.sleep(1.0)  # until pcscd has seen that the card is gone

    def _tell(self, card: CardFile, line: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(self._controls[card.name]))
            client.sendall(line.encode() + b"\n")
            answer = client.makefile("r").readline().strip()
        if not answer.startswith("ok"):
            raise NotAsItShouldBe(f"card {card.name}: {line}: {answer}")


class InProcessSlots:
    """Cards, encoding and door in this process: the carrier of machines without pcscd or without namespaces."""

    def __init__(self, centre: Path, pin_of_user: Callable[[], int], environ: Mapping[str, str]) -> None:
        self._centre = centre
        self._pin_of_user = pin_of_user
        self._environ = environ
        self._held = ExitStack()
        self._cards: dict[str, Card] = {}
        self._stores: dict[str, FileStore] = {}
        self._door: Daemon | None = None

    def encode(self, card: CardFile, card_uuid: str, tear_at: int | None = None) -> str:
        settings = centre_config.load(self._centre, {**self._environ, "THEMO_HSM_PIN_FD": str(self._pin_of_user())})
        factory = database.session_factory(database.engine(settings))
        with database.reading(factory) as session:
            actor = users.actor_for(session, users.by_login(session, "cap.the"))
            found = queries.named(session, actor, card_uuid)
        hsm = connect(settings)
        job = personalise.start(factory, hsm, actor, found.id, lambda: datetime.now(UTC))
        plain: Connection = Loopback(lambda apdu: self._card(card).transmit(apdu, Interface.CONTACT))
        carrier = plain if tear_at is None else Torn(plain, tear_at, after_card=True)
        self._card(card).reset()
        try:
            report = run(carrier, job, lambda _: None)
        except LinkLost as lost:
            raise ProcessFailed(f"torn: {lost.why}") from lost
        if isinstance(report.outcome, Spoiled):
            raise ProcessFailed(f"spoiled: {report.outcome.reason}")
        tally = report.tally
        return f"{tally.exchanges} APDU, {tally.bytes_sent} + {tally.bytes_received} byte"

    def start_door(self, config: Path, feed_url: str) -> None:
        settings = door_config.load(config, {"THEMO_DOOR_FEED_URL": feed_url})
        self._door = self._held.enter_context(Daemon.open(settings))
        self._door.start_feed(feed_url)

    def tap(self, card: CardFile) -> dict[str, Any]:
        if self._door is None:
            raise NotAsItShouldBe("the door is not up")
        self._card(card).reset()
        connection = Loopback(lambda apdu: self._card(card).transmit(apdu, Interface.CONTACTLESS))
        told: dict[str, Any] = json.loads(tap_line(self._door.loop.tap(connection, "in-process")))
        return told

    def release(self, card: CardFile) -> None:
        if card.name in self._stores:
            del self._cards[card.name]
            self._stores.pop(card.name).close()

    def end(self) -> None:
        self._held.close()
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def _card(self, card: CardFile) -> Card:
        if card.name not in self._cards:
            store = FileStore(card.image, card.secret)
            self._stores[card.name] = store
            self._cards[card.name] = Card(store)
        return self._cards[card.name]
