"""How the tables beside this file are written: one case a line, columns between bars, APDUs in readable hexadecimal.

    00 CB 3F FF (5C [5FC102]) 00

Round brackets put the number of bytes inside in front of them as Lc (one byte), angle brackets as extended Lc (three
bytes), square brackets as BER length. `AB*32` repeats. A word is a value by name: PIN, AID, or one that the session
computes, such as PROOF. Commands of one case stand between semicolons, and so do their answers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its cells, and where it stands."""

    file: str
    line: int
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} " + " | ".join(self.cells)


def read_table(name: str, columns: int) -> list[Row]:
    """The lines of a table. Raises ValueError for one with another number of columns."""
    rows = []
    for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = tuple(cell.strip() for cell in line.split("|"))
        if len(cells) != columns:
            raise ValueError(f"{name}:{number}: {len(cells)} columns, want {columns}")
        rows.append(Row(name, number, cells))
    return rows


def read_matrix(name: str, described_by: int) -> Iterator[tuple[Row, str, str]]:
    """Each cell of a table whose first line names the columns: its row, the column's name and what stands there.

    The first `described_by` columns say what a row is and are left out, as are the cells with a hyphen alone.
    """
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.strip() and not line.startswith("#")]
    columns = [cell.strip() for cell in heads[0].split("|")]
    for row in read_table(name, len(columns))[1:]:
        for column, cell in list(zip(columns, row.cells, strict=True))[described_by:]:
            if cell != "-":
                yield row, column, cell


def parse(text: str, named: Callable[[str], bytes]) -> bytes:
    """The bytes of an APDU or a value in this notation."""
    words = text
    for bracket in "()[]<>":
        words = words.replace(bracket, f" {bracket} ")
    value, rest = _sequence(words.split(), named)
    if rest:
        raise ValueError(f"a bracket too many in {text!r}")
    return value


def _sequence(words: list[str], named: Callable[[str], bytes]) -> tuple[bytes, list[str]]:
    out = b""
    while words:
        word, *words = words
        if word in ")]>":
            return out, [word, *words]
        if word in "([<":
            inside, words = _sequence(words, named)
            if not words or {"(": ")", "[": "]", "<": ">"}[word] != words[0]:
                raise ValueError(f"{word} is not closed")
            words = words[1:]
            out += {"(": _lc, "[": _ber, "<": _extended}[word](len(inside)) + inside
            continue
        word, _, times = word.partition("*")
        try:
            one = bytes.fromhex(word)
        except ValueError:
            one = named(word)
        out += one * int(times or 1)
    return out, []


def _lc(size: int) -> bytes:
    return bytes((size,))


def _extended(size: int) -> bytes:
    return b"\0" + size.to_bytes(2, "big")


def _ber(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def fits(expected: str, answer: bytes) -> bool:
    """Does an answer fit its cell: `63C4`, `61xx`, `ok` (9000 or 61xx), `9000: DATA`, or several between commas."""
    for one in expected.split(","):
        sw, _, data = one.strip().partition(":")
        got = answer[-2:].hex().upper()
        right = got in ("9000",) or got.startswith("61") if sw == "ok" else _matches(sw.strip(), got)
        if right and (not data or answer[:-2] == bytes.fromhex(data)):
            return True
    return False


def _matches(pattern: str, got: str) -> bool:
    return len(pattern) == 4 and all(p in ("x", g) for p, g in zip(pattern, got, strict=True))
