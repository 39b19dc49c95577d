"""The message catalogue: every code that the code can say exists in both languages, with the same blanks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardlink.language.catalogue import Language
from issuer.messages import catalogue
from issuer.messages.catalogue import hint, text
from issuer.registry.freshness import Reason
from issuer.registry.tables import RecordState

ROOT = Path(__file__).resolve().parent.parent.parent
RAISED = {"Refused", "Forbidden", "NotFound", "Conflict", "ConfigError", "IssuerError"}
SAID = {"text", "say", "progress"}
CODED = {"Problem": 0, "TurnedAway": 0, "require_other": 2, "_wrong": 0}
IS_CODE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+")


def said_in(path: Path) -> Iterator[tuple[str, int]]:
    """The literal codes that a module raises, says, or names as a command's help."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        place = 0 if name in RAISED | SAID else CODED.get(name)
        if place is not None and place < len(node.args):
            code = node.args[place]
            if isinstance(code, ast.Constant) and isinstance(code.value, str) and IS_CODE.fullmatch(code.value):
                yield code.value, node.lineno
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "help" and isinstance(value, ast.Constant) and IS_CODE.fullmatch(str(value.value)):
                yield str(value.value), node.lineno


@pytest.mark.parametrize("lang", list(Language))
def test_every_code_that_is_said_has_a_text(lang: str) -> None:
    known = catalogue.catalogue(lang)
    missing = [
        f"{path.relative_to(ROOT)}:{line} {code}"
        for path in sorted([*(ROOT / "issuer").rglob("*.py"), ROOT / "web" / "__main__.py"])
        for code, line in said_in(path)
        if code not in known
    ]
    assert missing == []


def test_both_languages_say_the_same_with_the_same_blanks() -> None:
    blanks = {
        lang: {code: set(re.findall(r"\{(\w+)\}", said)) for code, said in catalogue.catalogue(lang).items()}
        for lang in Language
    }
    assert sorted(blanks["vi"].keys() ^ blanks["en"].keys()) == []
    ours = {code: found for code, found in blanks["vi"].items() if not code.startswith("typer.")}
    assert [code for code, found in ours.items() if found != blanks["en"][code]] == []


def test_every_hint_belongs_to_a_text() -> None:
    known = catalogue.catalogue("vi")
    assert [code for code in known if code.startswith("hint.") and code.removeprefix("hint.") not in known] == []


@pytest.mark.parametrize("lang", list(Language))
def test_every_reason_and_state_has_a_text(lang: str) -> None:
    for reason in Reason:
        assert catalogue.knows(f"freshness.{reason}", lang)
    for state in RecordState:
        assert catalogue.knows(f"state.{state}", lang)


def test_facts_fill_the_blanks() -> None:
    assert text("people.unknown_number", "vi", number="010") == "không có hồ sơ mang số định danh cá nhân 010"
    assert text("people.unknown_number", "en") == "there is no record with the citizen number ?"


def test_a_fact_with_braces_is_shown_as_it_is() -> None:
    assert "{0.__class__}" in text("people.unknown_number", "vi", number="{0.__class__}")


def test_an_unknown_code_is_said_as_itself(caplog: pytest.LogCaptureFixture) -> None:
    assert text("no.such_code", "vi", why="x") == "no.such_code (why: x)"
    assert "no.such_code" in caplog.text


def test_a_hint_is_there_or_not() -> None:
    assert hint("database.not_ready", "vi") == "chạy: issuer db upgrade"
    assert hint("people.unknown", "vi") is None
