"""docs/pkcs11.md against the tree: what it claims is shown by tests that exist, or is said to be untested."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from issuer.messages.catalogue import hint, knows
from issuer.trust.port import Capabilities

TESTS = Path(__file__).resolve().parent.parent
PAGE = (TESTS.parent / "docs" / "pkcs11.md").read_text(encoding="utf-8")
FILES = {name: TESTS / "link" / f"test_hsm_{name}.py" for name in ("contract", "nss", "softhsm", "trouble")}
FILES |= {"ykcs11": TESTS / "foreign" / "test_foreign_ykcs11.py"}
NAMED = re.compile(rf"`({'|'.join(FILES)})::([a-z0-9_]+)`")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 15
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    assert not [f"{file}::{name}" for file, name in named if f"def test_{name}(" not in texts[file]]


@pytest.mark.parametrize("heading", ["What it is for", "What a person reads"])
def test_every_claim_is_shown_or_said_to_be_untested(heading: str) -> None:
    assert not [row for row in rows(heading) if not NAMED.search(row[-1]) and "**Untested**" not in row[-1]]


def test_every_capability_that_a_device_may_lack_is_told_of() -> None:
    told = set(re.findall(r"`([a-z_]+)`", "".join(row[0] for row in rows("Capability"))))
    lost = {one.name for one in fields(Capabilities)}
    assert told == lost - {"keeps_signing_keys", "keeps_card_masters", "has_ed25519", "has_ml_dsa"}  # the table before


def test_every_trouble_has_a_text_and_a_hint() -> None:
    codes = re.findall(r"`([a-z_]+)`", "".join(row[0] for row in rows("What a person reads")))
    assert len(codes) == 8
    for language in ("vi", "en"):
        assert not [code for code in codes if not knows(f"hsm.{code}", language) or not hint(f"hsm.{code}", language)]
