"""docs/attacks.md against the tree: a test that the page names exists."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "attacks.md"
PLACES = {
    "door": "link/test_door_", "feed": "link/test_feed_", "kill": "link/test_kill_", "enc": "link/test_personalise_",
    "unit": "unit/test_", "pcscd": "pcscd/test_", "link": "link/test_",
    "card": "conformance/test_conformance_",
}  # fmt: skip
NAMED = re.compile(r"`([a-z]+)/([a-z0-9_]+)::([a-z0-9_]+)`")


def test_every_test_that_the_page_names_exists() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 100
    missing = [
        f"{place}/{file}::{name}"
        for place, file, name in named
        if f"def test_{name}(" not in (TESTS / f"{PLACES[place]}{file}.py").read_text(encoding="utf-8")
    ]
    assert not missing


def test_every_row_names_a_test_or_says_what_is_missing() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    attacks = [row for row in rows if not row.startswith("| Attack or fault")]
    assert not [row for row in attacks if not NAMED.search(row) and "**Not" not in row]
