"""(command, state, interface) -> status word: each line of `commands.txt` said to a card."""

import re

import pytest
from card_world import prepared
from notation import Row, fits, read_matrix, read_table

from cardlink.iso7816.apdu import Ins
from cardos.dispatch import DOMAIN, DOOR, PIV, PKOC, Application

HEADER = re.compile(r"\b[0-9A-F]{2} ([0-9A-F]{2}) [0-9A-F]{2} [0-9A-F]{2}\b")
FACES = {"both": ("contact", "contactless"), "contact": ("contact",), "contactless": ("contactless",)}
CASES = [
    pytest.param(row, face, id=f"{row.file}:{row.line} {face}")
    for row in read_table("commands.txt", 6)
    for face in FACES[row.cells[3]]
]


@pytest.mark.parametrize(("row", "face"), CASES)
def test_a_command_gets_the_status_word_of_its_line(row: Row, face: str) -> None:
    _, card, before, _, commands, answers = row.cells
    session = prepared(card, before, face)
    expected = answers.split(";")
    said = commands.split(";")
    assert len(said) == len(expected), row
    for one, answer in zip(said, expected, strict=True):
        got = session.say(one.strip())
        assert fits(answer, got), f"{row}\n{one.strip()} -> {got.hex().upper()}, want {answer.strip()}"


def commands_of(*applications: Application) -> set[int]:
    return {Ins.SELECT}.union(*(one.handlers for one in applications), *(one.gp_handlers for one in applications))


def instructions(commands: str) -> set[int]:
    """The instruction byte of each command between semicolons."""
    headers = (HEADER.search(one) for one in commands.split(";"))
    return {int(header[1], 16) for header in headers if header is not None}


@pytest.mark.parametrize("face", ["contact", "contactless"])
def test_no_command_is_missing_in_the_tables(face: str) -> None:
    rows = [row.cells for row in read_table("commands.txt", 6)]
    said = set[int]().union(*(instructions(cells[4]) for cells in rows if face in FACES[cells[3]]))
    assert commands_of(PIV, DOOR, PKOC) | {Ins.GET_RESPONSE} <= said
    ways = {"contact": "clear", "contactless": "contactless"}
    cells = [row.cells[1] for row, column, _ in read_matrix("domain.txt", 2) if column.startswith(f"{ways[face]}:")]
    assert commands_of(DOMAIN) | {Ins.EXTERNAL_AUTHENTICATE} <= set[int]().union(*map(instructions, cells))
