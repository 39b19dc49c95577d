"""docs/faults.md against the code: every hostile card by name, at a door that asks by PIV and at one of ours."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from door_cards import Issued, Key, make_card, uuid4
from door_world import Running, World

from cardlink.piv.objects import encode_certificate
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH
from cardlink.statements.bundle import Mechanism
from cardos import faults
from cardos.card import Card
from cardos.vpcd import Answering

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "faults.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)`(?::((?:\\\||[^|])+))? \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = {found[1]: found.groups() for found in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
AT_THE_DOOR = [name for name in faults.PROFILES if "`" in ROWS.get(name, ("", "", "", ""))[3]]
QUICK = {"waiting": "0", "slow": "0.6", "mute": "1"}
BUDGET_MS = 1000


class Gate:
    """Two doors for one person: the first asks by PIV alone, the second by the door application first."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.card, self.other = self.world.issue(), self.world.issue()
        bundle = self.world.everybody(self.card, self.other)
        bundle = replace(bundle, settings=replace(bundle.settings, budget_ms=BUDGET_MS))
        ours = replace(bundle.settings, mechanisms=(Mechanism.DOOR_APPLICATION, Mechanism.CREDENTIAL))
        self.doors = [
            self.world.ready_door(folder / "piv", bundle),
            self.world.ready_door(folder / "ours", replace(bundle, settings=ours)),
        ]

    def close(self) -> None:
        for door in self.doors:
            door.close()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(tmp_path_factory.mktemp("gate"))
    yield made
    made.close()


def variants(name: str, gate: Gate) -> Iterator[Callable[[Answering], Answering]]:
    """The profile with each of the values its parameter can have, or with one that keeps the test short."""
    profile = faults.PROFILES[name]
    parameter = profile.parameter
    if parameter is None:
        yield profile
    elif parameter.is_needed:
        yield lambda card: profile.make(card, gate.other.card)
    elif " | " in parameter.wants:
        for word in parameter.wants.split(" | "):
            yield lambda card, word=word: profile.make(card, word)
    else:
        yield faults.faulty(f"{name}:{QUICK[name]}" if name in QUICK else name)


def taps(door: Running, card: Answering, name: str) -> str:
    """What the door says; a replay is told at the second tap, its first answer being honest."""
    if name == "replayed":
        assert door.tap(card).said == "granted"
    return door.tap(card).said


def test_the_page_names_every_profile_with_its_parameter() -> None:
    assert list(ROWS) == list(faults.PROFILES)
    wanted = {name: one.parameter.wants if one.parameter else None for name, one in faults.PROFILES.items()}
    assert {name: row[1].replace("\\", "") if row[1] else None for name, row in ROWS.items()} == wanted


@pytest.mark.parametrize("name", AT_THE_DOOR)
def test_the_door_answers_every_hostile_card_as_the_page_says(gate: Gate, name: str) -> None:
    said = {taps(door, make(gate.card.card), name) for make in variants(name, gate) for door in gate.doors}
    assert said == set(re.findall(r"`([a-z-]+)`", ROWS[name][3]))
    assert all(door.tap(gate.card).said == "granted" for door in gate.doors)


def test_a_certificate_of_another_card_is_not_its_own(tmp_path: Path) -> None:
    world = World()
    owner, thief = (Key(), Key())
    numbers = uuid4(), uuid4()
    cards = [
        Issued(make_card(key, {CERT_CARD_AUTH.tag: encode_certificate(world.certificate(key, number))}), key,
               replace(world.credential(key), card_uuid=number), b"")
        for key, number in zip((owner, thief), numbers, strict=True)
    ]  # fmt: skip
    bundle = world.everybody(*cards)
    door = world.ready_door(
        tmp_path / "door", replace(bundle, settings=replace(bundle.settings, mechanisms=(Mechanism.PKI_CAK,)))
    )
    assert door.tap(cards[1]).said == "granted"
    swapped = faults.PROFILES["swapped-certificate"].make(cards[1].card, cards[0].card)
    assert door.tap(swapped).said == "bad-signature"
    door.close()


def test_no_profile_changes_the_card_below(gate: Gate) -> None:
    before = gate.card.card.persistent.objects[CARD_CREDENTIAL.tag]
    for name in AT_THE_DOOR:
        for make in variants(name, gate):
            card = make(gate.card.card)
            assert isinstance(card, Card | faults.Faulty)
    assert gate.card.card.persistent.objects[CARD_CREDENTIAL.tag] == before
