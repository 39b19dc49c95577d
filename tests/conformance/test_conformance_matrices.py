"""Objects × state, keys × state, algorithms × slots: each cell of the three matrices asked of a card."""

import pytest
from card_session import Session
from card_world import prepared
from messaging_host import objects
from notation import Row, fits, read_matrix

# How a column's name is made true: card, what is done after SELECT, face.
STATES = {
    "C": ("issued", "-", "contact"),
    "C+pin": ("issued", "pin", "contact"),
    "C+pin,gap": ("issued", "pin gap", "contact"),
    "CL": ("issued", "-", "contactless"),
    "CL~pin": ("issued", "try-pin", "contactless"),
    "SM": ("messaging", "SM", "contactless"),
    "VCI": ("vci", "SM", "contactless"),
    "VCI+pin": ("vci", "SM pin", "contactless"),
    "VCI+pin,gap": ("vci", "SM pin gap", "contactless"),
    "C,SM": ("vci", "SM", "contact"),
    "C,SM+pin": ("vci", "SM pin", "contact"),
    "C+global": ("two_pins", "global", "contact"),
    "VCI+global": ("two_pins", "SM global", "contactless"),
    "none C": ("blank", "-", "contact"),
    "none C+pin": ("blank", "pin", "contact"),
    "none CL": ("blank", "-", "contactless"),
    "48": ("pairing", "SM", "contactless"),
    "48+code": ("pairing", "SM code", "contactless"),
    "48+code+pin": ("pairing", "SM code pin", "contactless"),
}
SIGNATURE = "(7C [82 [] 81 [AB*32]]) 00"
USES = {
    "sign": f"00 87 11 REF {SIGNATURE}",
    "agree": "00 87 11 REF (7C [82 [] 85 [P256]]) 00",
    "admin": "00 87 0A REF (7C [81 []]) 00",
    "status": "00 20 00 REF",
}
RIGHT = {"80": "PIN", "81": "PUK", "00": "GLOBAL", "98": "CODE", "96": "00*6", "97": "00*6"}
WRONG = {"80": "WRONG", "98": "WRONGCODE", "00": "WRONG"}
CHANGED = {"80": "PIN NEWPIN", "81": "PUK NEWPUK", "00": "GLOBAL NEWPIN"}
RSA_EXPONENT = b"\x01\x00\x01"
# what stands in 7F49: modulus and exponent, or a point (Ed25519 and X25519: 32 bytes without a mark in front)
SHAPES = {
    "05": {0x81: 384, 0x82: 3},
    "07": {0x81: 256, 0x82: 3},
    "11": {0x86: 65},
    "14": {0x86: 97},
    "16": {0x81: 512, 0x82: 3},
    "27": {0x86: 65},
    "2E": {0x86: 97},
    "E0": {0x86: 32},
    "E1": {0x86: 32},
}
SLOW_TO_MAKE = ("05", "16")  # RSA-3072 and RSA-4096: seconds


def cells(name: str, described_by: int) -> list[object]:
    """The cells of a matrix as parameters; the first `described_by` columns say what a row is."""
    found = []
    for row, column, cell in read_matrix(name, described_by):
        marks = (
            [pytest.mark.slow] if name == "algorithms.txt" and row.cells[0] in SLOW_TO_MAKE and cell == "yes" else []
        )
        found.append(pytest.param(row, column, cell, id=f"{name}:{row.line} {row.cells[0]} {column}", marks=marks))
    return found


def expected(cell: str) -> str:
    return "ok" if cell == "yes" else cell


@pytest.mark.parametrize(("row", "state", "cell"), cells("objects.txt", 2))
def test_an_object_is_read_as_its_line_says(row: Row, state: str, cell: str) -> None:
    got = prepared(*STATES[state]).say(f"00 CB 3F FF (5C [{row.cells[0]}]) 00")
    assert fits(expected(cell), got), f"{row}\n{state} -> {got.hex().upper()}"


@pytest.mark.parametrize(("row", "state", "cell"), cells("keys.txt", 2))
def test_a_key_reference_is_used_as_its_line_says(row: Row, state: str, cell: str) -> None:
    ref, use = row.cells[:2]
    got = prepared(*STATES[state]).say(command(ref, use))
    assert fits(expected(cell), got), f"{row}\n{state} -> {got.hex().upper()}"


def command(ref: str, use: str) -> str:
    match use:
        case "verify":
            return f"00 20 00 {ref} ({RIGHT[ref]})"
        case "wrong":
            return f"00 20 00 {ref} ({WRONG[ref]})"
        case "change":
            return f"00 24 00 {ref} ({CHANGED[ref]})"
    return USES[use].replace("REF", ref)


@pytest.mark.parametrize(("row", "slot", "cell"), cells("algorithms.txt", 2))
def test_a_key_of_the_algorithm_is_made_in_the_slot_or_refused(row: Row, slot: str, cell: str) -> None:
    session: Session = prepared("blank", "admin", "contact")
    got = session.say(f"chain: 00 47 00 {slot} (AC [80 [{row.cells[0]}]]) 00")
    assert fits(expected(cell), got), f"{row}\n{slot} -> {got[-2:].hex().upper()}"
    if cell == "yes":
        public = objects(objects(got[:-2])[0x7F49])
        assert {tag: len(value) for tag, value in public.items()} == SHAPES[row.cells[0]]
        assert public.get(0x82, RSA_EXPONENT) == RSA_EXPONENT
    # what was refused has left nothing, what was made is there
    there = session.say(f"raw: 00 F7 00 {slot} 00")
    if slot not in ("80", "9B"):
        assert fits("ok" if cell == "yes" else "6A88", there)
