"""Every error that the door can raise has a text and a hint in both languages."""

import ast
import string
from pathlib import Path

from reader_daemon.messages import ERRORS, TEXTS

PACKAGE = Path(__file__).resolve().parent.parent.parent / "reader_daemon"
CLASSES = {
    "ConfigError",
    "NotEnrolled",
    "EnrolmentRefused",
    "StorageDamaged",
    "NotDurable",
    "LogBroken",
    "FeedError",
    "ZoneMissing",
}


def raised() -> dict[str, set[str]]:
    """Codes raised in the package, each with the names of its facts."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES:
                (code,) = node.args
                assert isinstance(code, ast.Constant), path
                facts = {keyword.arg for keyword in node.keywords if keyword.arg}
                found[str(code.value)] = found.get(str(code.value), facts) & facts
    return found


def test_every_code_has_texts_and_every_text_its_facts() -> None:
    codes = raised()
    assert set(codes) == set(ERRORS)
    for code, facts in codes.items():
        for line in ERRORS[code]:
            wanted = {name for _, name, _, _ in string.Formatter().parse(line) if name}
            assert wanted <= facts, code


def test_both_languages_fill_in_the_same_facts() -> None:
    for vietnamese, english in TEXTS.values():
        names = [{name for _, name, _, _ in string.Formatter().parse(line) if name} for line in (vietnamese, english)]
        assert names[0] == names[1]
