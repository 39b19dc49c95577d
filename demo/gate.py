"""The door of the story: cards are held to it, and what it says must be what the story says."""

import json
import time
from collections.abc import Callable
from typing import Any

from demo.display import Display, expect
from demo.office import Office
from demo.slots import CardFile, Slots
from demo.supervisor import Supervisor, command

WAIT_S = 15.0


class Gate:
    """One door, however it is reached."""

    def __init__(self, display: Display, office: Office, supervisor: Supervisor, slots: Slots) -> None:
        self._display = display
        self._config = office.place.door_config
        self._feed_url = office.feed_url
        self._supervisor = supervisor
        self._slots = slots
        self.taps = 0

    def start(self) -> None:
        """Bring the door up."""
        self._slots.start_door(self._config, self._feed_url)

    def tap(self, card: CardFile) -> dict[str, Any]:
        """Hold a card to the door; answers its words."""
        self.taps += 1
        return self._slots.tap(card)

    def must_open(self, name: str, agency: str, card: CardFile) -> None:
        """The door opens, or the story ends here."""
        answer = self.tap(card)
        expect(answer["decision"] == "granted" and answer["opened"] is True, f"the door said {answer}")
        self._display.done(
            "door.opened",
            name=name,
            agency=agency,
            exchanges=answer["exchanges"],
            bytes=answer["bytes_out"] + answer["bytes_in"],
            card=answer["card_ms"],
            total=answer["total_ms"],
        )

    def must_refuse(self, card: CardFile, who: str, *reasons: str) -> None:
        """The door refuses for one of these reasons, or the story ends here."""
        answer = self.tap(card)
        is_refused = answer["decision"] == "refused" and answer["opened"] is False
        expect(is_refused and answer["reason"] in reasons, f"{who}: the door said {answer}")
        why = answer[f"text_{self._display.lang}"]
        self._display.refused("door.refused", who=who, why=why, reason=answer["reason"])

    def status(self) -> dict[str, Any]:
        """What the door has on disk, as its own command tells it."""
        argv = [command("reader-daemon"), "status", "--json", "--config", str(self._config)]
        told: dict[str, Any] = json.loads(self._supervisor.run(argv))
        return told

    def log_words(self) -> str:
        """The last words of the command that checks the door's log."""
        argv = [command("reader-daemon"), "verify-log", "--lang", self._display.lang, "--config", str(self._config)]
        return self._supervisor.run(argv).strip().splitlines()[-1]


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what comes by itself. Raises NotAsItShouldBe after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        expect(time.monotonic() < deadline, what)
        time.sleep(0.005)
