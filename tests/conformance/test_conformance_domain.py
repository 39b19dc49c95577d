"""The security domain: command, life cycle, way -> status word; each cell of `domain.txt` said to a card."""

import pytest
from gp_host import TRANSPORT, begin, blank, open_channel, raw
from notation import Row, parse, read_matrix, read_table

from cardlink.access.door import DOOR_AID
from cardlink.access.pkoc import PKOC_AID, generate_pkoc_key
from cardlink.gp.commands import ISD_AID, delete_key_set, put_key_set, select
from cardlink.gp.inventory import LifeCycle
from cardlink.gp.scp03 import LEVELS, StaticKeys
from cardlink.iso7816.apdu import decode_command
from cardlink.piv.tables import PIV_AID, Interface
from cardos.card import Card
from cardos.gp.keys import counter_of
from cardos.records import KeySet, Life, Owner

OTHER = StaticKeys(bytes.fromhex("11" * 16), bytes.fromhex("22" * 16), bytes.fromhex("33" * 16))
NAMED = {
    "ISD": ISD_AID,
    "PIV": PIV_AID,
    "DOOR": DOOR_AID,
    "PKOC": PKOC_AID,
    "PKOCKEY": generate_pkoc_key().data,
    "REPLACING": put_key_set(OTHER, TRANSPORT.dek, 0x01, 0x30).encode().data,
    "ADDED": put_key_set(OTHER, TRANSPORT.dek, 0x32).encode().data,
}
CELLS = list(read_matrix("domain.txt", 2))
WAYS = {"clear": (None,), "contactless": (None,), "channel": tuple(sorted(LEVELS))}


def card_in(state: LifeCycle) -> Card:
    """A card with two key sets in this state; the state may be one that ends everything."""
    card = Card(blank())
    card.persistent.commit([KeySet(0x31, OTHER), Life(Owner.CARD, state)])
    return card


def _name(row: Row, column: str, level: int | None) -> str:
    return f"{row.line} {column}" if level is None else f"{row.line} {column} {int(level):02X}"


CASES = [
    pytest.param(row, way, state, level, expected, id=_name(row, column, level))
    for row, column, expected in CELLS
    for way, _, state in [column.partition(":")]
    for level in WAYS[way]
]


@pytest.mark.parametrize(("row", "way", "state", "level", "expected"), CASES)
def test_the_domain_gives_the_status_word_of_its_cell(
    row: Row, way: str, state: str, level: int | None, expected: str
) -> None:
    command = decode_command(parse(row.cells[1], NAMED.__getitem__))
    life = LifeCycle[state]
    if level is None:
        card = card_in(life)
        face = Interface.CONTACTLESS if way == "contactless" else Interface.CONTACT
        raw(card, select(), face)
        _, sw = raw(card, command, face)
    else:
        card = card_in(LifeCycle.SECURED if life is LifeCycle.TERMINATED else life)
        host = open_channel(card, level)
        card.persistent.commit([Life(Owner.CARD, life)])
        before = dict(card.persistent.life), dict(card.persistent.key_sets), dict(card.persistent.card_data)
        _, sw = host.say(command)  # checks the R-MAC of what must have one, and that an error has none
        after = dict(card.persistent.life), dict(card.persistent.key_sets), dict(card.persistent.card_data)
        assert sw == 0x9000 or before == after
    assert f"{sw:04X}" == expected, row


def test_every_state_and_way_stands_in_the_table() -> None:
    columns = {column for _, column, _ in CELLS}
    assert columns == {f"{way}:{state.name}" for way in WAYS for state in LifeCycle}


STEPS = {
    LifeCycle.OP_READY: {0x07, 0xFF},
    LifeCycle.INITIALIZED: {0x0F, 0xFF},
    LifeCycle.SECURED: {0x7F, 0xFF},
    LifeCycle.CARD_LOCKED: {0x0F, 0xFF},
    LifeCycle.TERMINATED: set(),
}


@pytest.mark.parametrize("before", LifeCycle)
def test_the_card_takes_exactly_the_steps_of_its_life(before: LifeCycle) -> None:
    taken = set()
    for after in range(256):
        card = card_in(LifeCycle.SECURED)
        host = open_channel(card)
        card.persistent.commit([Life(Owner.CARD, before)])
        _, sw = host.say(decode_command(bytes.fromhex(f"80F080{after:02X}08") + ISD_AID))
        assert card.persistent.life[Owner.CARD] == (after if sw == 0x9000 else before)
        if sw == 0x9000:
            taken.add(after)
    assert taken == STEPS[before]


KEYS_OF = {"A": TRANSPORT, "B": OTHER}


@pytest.mark.parametrize("row", read_table("counters.txt", 3), ids=str)
def test_a_counter_never_goes_back_for_a_key(row: Row) -> None:
    card, sets, told, host, dek = Card(blank(option=0x70)), {0x30: "A"}, [], None, TRANSPORT.dek
    for step in row.cells[1].split("; "):
        match step.split():
            case [("open" | "ask") as how, version]:
                kvn = int(version, 16)
                keys = KEYS_OF[sets[kvn]]
                if how == "open":
                    host, dek = open_channel(card, keys=keys, kvn=kvn), keys.dek
                else:
                    begin(card, keys, kvn)
                told.append(counter_of(card.persistent, kvn))
            case [name, ("in" | "as") as how, version]:
                kvn = int(version, 16)
                command = put_key_set(KEYS_OF[name], dek, kvn, kvn if how == "in" else 0)
                assert host is not None
                assert host.say(command.encode())[1] == 0x9000, step
                sets[kvn] = name
            case ["delete", version]:
                assert host is not None
                assert host.say(delete_key_set(int(version, 16)))[1] == 0x9000, step
                del sets[int(version, 16)]
    assert " ".join(map(str, told)) == row.cells[2]
