"""A person with a card, another one, and a door that lets both in: the place of most door tests."""

from collections.abc import Callable
from pathlib import Path

from door_cards import Issued, Key, make_card
from door_world import Machine, Running, World

from cardlink.piv.tables import CARD_CREDENTIAL
from cardlink.statements.record import Kind, decode_record
from cardlink.statements.refusal import Reason, Refused
from cardos.card import Card
from cardos.vpcd import Answering


class Place:
    """People, cards and their door; `restart` opens the door anew on its disk."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "door"
        self.world = World()
        self.card = self.world.issue()
        self.other = self.world.issue()
        self.bundle = self.world.everybody(self.card, self.other)
        self.door = self.world.ready_door(self.path, self.bundle)

    def tap(self, card: Issued | Answering) -> str:
        return self.door.tap(card).said

    def records(self) -> list[tuple[str, str | None]]:
        rows = self.door.daemon.database.rows("SELECT record FROM records ORDER BY boot, seq")
        records = [decode_record(row[0]) for row in rows if isinstance(row[0], bytes)]
        return [(one.kind, one.reason) for one in records if one.kind == Kind.TAP]

    def restart(self, machine: Machine | None = None, change: Callable[[], None] | None = None) -> Running:
        self.door.close()
        if change is not None:
            change()
        self.door = self.world.open_door(self.door.config, machine if machine is not None else self.door.machine)
        return self.door


def carrying(key: Key, raw: bytes) -> Card:
    """A card with this key and this credential."""
    return make_card(key, {CARD_CREDENTIAL.tag: raw})


def why(refusal: Refused | None) -> Reason:
    """The reason of what must have been refused."""
    assert refusal is not None
    return refusal.reason
