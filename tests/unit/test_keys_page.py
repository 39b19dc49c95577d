"""docs/keys.md against the tree: every kind of key has its row, every row names tests that exist."""

import re
from pathlib import Path

import pytest

from issuer.cli import key_changes

TESTS = Path(__file__).resolve().parent.parent
PAGE = (TESTS.parent / "docs" / "keys.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Key ")]
FILES = {name: f"test_keys_{name}.py" for name in ("rotation", "compromise", "roots")}
FILES |= {"audit_commands": "test_audit_commands.py", "hsm_officers": "test_hsm_officers.py"}
FILES |= {"hsm_log_key": "../unit/test_hsm_log_key.py"}
FILES |= {"moved": "test_keys_moved.py", "hsm_contract": "test_hsm_contract.py"}
FILES |= {"update": "test_card_update.py", "update_torn": "test_card_update_torn.py"}
NAMED = re.compile(rf"`({'|'.join(FILES)})::([a-z0-9_]+)`")


def test_every_test_that_a_row_names_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 20
    texts = {file: (TESTS / "link" / FILES[file]).read_text(encoding="utf-8") for file, _ in named}
    assert not [f"{file}::{name}" for file, name in named if f"def test_{name}(" not in texts[file]]


@pytest.mark.parametrize("kind", key_changes.KINDS)
def test_every_kind_that_can_be_rotated_has_a_row_with_its_rehearsals(kind: str) -> None:
    rows = [row for row in ROWS if f"| `{kind}` |" in row or row.split("|")[2].strip().startswith(f"`{kind} ")]
    assert len(rows) == 1
    files = {file for file, _ in NAMED.findall(rows[0])}
    assert {"compromise", "roots", "audit_commands"} & files or "**Not built" in rows[0]


def test_a_row_without_tests_says_what_is_missing() -> None:
    assert not [row for row in ROWS if not NAMED.search(row) and "**Not built" not in row]
