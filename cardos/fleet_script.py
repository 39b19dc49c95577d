"""The lines that a fleet understands, one at a time or as a script."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cardos.control import Quit, refusal, refused
from cardos.errors import Failed
from cardos.fleet import Dress, Fleet

WORDS = (
    "make N | load FOLDER | insert CARD SLOT [FAULT] | remove SLOT|CARD | list [inserted] | status | wait SECONDS | "
    "trace | quit"
)
WAIT_S_MAX = 86_400.0


class FleetScript:
    """Obeys lines that move the cards of one fleet.

    `load` takes the cards of a folder in and says how many; `faulty` makes the dress for the name of a fault.
    """

    def __init__(
        self,
        fleet: Fleet,
        transport_keys: tuple[bytes, bytes, bytes],
        load: Callable[[Path], int],
        faulty: Callable[[str], Dress],
        trace: Path | None = None,
    ) -> None:
        self._fleet = fleet
        self._transport_keys = transport_keys
        self._load = load
        self._faulty = faulty
        self._trace = trace

    def obey(self, line: str) -> str:
        """Do what one line says; the answer ends in a line that begins with `ok` or `error`. Raises Quit."""
        try:
            return self._obey(line.split())
        except Failed as failed:
            return refusal(failed)
        except ValueError:
            return "error that is no number"

    def run(self, lines: Iterable[str], say: Callable[[str], None]) -> None:
        """Obey a script: empty lines and those that begin with # are left out.

        Raises Failed at the first error, with the number of its line, and Quit.
        """
        for number, line in enumerate(lines, 1):
            wanted = line.split("#", 1)[0].strip()
            if not wanted:
                continue
            answer = self.obey(wanted)
            if answer.startswith("error"):
                raise Failed("fleet.script", number=number, line=wanted, answer=str(refused(answer)))
            say(answer)

    def _obey(self, words: list[str]) -> str:
        fleet = self._fleet
        match words:
            case ["make", count]:
                return f"ok {len(fleet.make(int(count), self._transport_keys))}"
            case ["load", folder]:
                return f"ok {self._load(Path(folder))}"
            case ["insert", card, slot]:
                return _inserted(fleet.insert(card, slot), slot)
            case ["insert", card, slot, fault]:
                return _inserted(fleet.insert(card, slot, self._faulty(fault)), slot)
            case ["remove", name]:
                place = name if name in fleet.slots else fleet.place_of(name)
                if place is None and name not in fleet:
                    raise Failed("fleet.no-card", card=name)
                if place is not None:
                    fleet.remove(place)
                return "ok removed"
            case ["list"]:
                return self._listed([f"card {name} {fleet.place_of(name) or '-'}" for name in fleet])
            case ["list", "inserted"]:
                return self._listed([f"card {card} {slot}" for slot, card in self._inserted()])
            case ["status"]:
                inserted = " ".join(f"{slot}={card}" for slot, card in self._inserted())
                return f"ok {len(fleet)} cards {inserted}".rstrip()
            case ["wait", seconds]:
                time.sleep(max(0.0, min(float(seconds), WAIT_S_MAX)))
                return "ok"
            case ["trace"]:
                return f"ok {self._trace.absolute()}" if self._trace is not None else "error no trace"
            case ["quit"]:
                raise Quit
        return f"error want: {WORDS}"

    def _inserted(self) -> list[tuple[str, str]]:
        found = [(slot, self._fleet.card_in(slot)) for slot in self._fleet.slots]
        return [(slot, card) for slot, card in found if card is not None]

    @staticmethod
    def _listed(lines: list[str]) -> str:
        return "\n".join([*lines, f"ok {len(lines)}"])


def _inserted(is_taken: bool, slot: str) -> str:
    return f"ok {slot}" if is_taken else f"error no reader for {slot}"
