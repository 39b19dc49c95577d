"""(command, state, interface) -> status word: each line of `commands.txt` said to a card."""

import pytest
from card_world import prepared
from notation import Row, fits, read_table

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
