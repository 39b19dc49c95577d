"""The texts of `cardos`: the same codes in both languages, with the same blanks; every code that is said exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cardlink.language.catalogue import Language, read_catalogue
from cardlink.piv.tables import Access, Interface
from cardos.faults import PROFILES
from cardos.messages.catalogue import PACKAGE, Texts

ROOT = Path(__file__).resolve().parent.parent.parent
SAID = {"Failed", "ImageDamaged", "ImageInUse", "WrongSecret", "texts", "say", "_say", "maybe"}
IS_CODE = re.compile(r"[a-z]+(\.[a-zA-Z0-9-]+)+")


def said() -> Iterator[tuple[str, str]]:
    """The literal codes in the sources, each with its place."""
    for path in sorted((ROOT / "cardos").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            for word in node.args[:2] if name in SAID else ():
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and IS_CODE.fullmatch(word.value):
                    yield word.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_both_languages_say_the_same_with_the_same_blanks() -> None:
    blanks = {
        lang: {code: set(re.findall(r"\{(\w+)\}", text)) for code, text in read_catalogue(PACKAGE, lang).items()}
        for lang in Language
    }
    assert sorted(blanks["vi"].keys() ^ blanks["en"].keys()) == []
    assert [code for code, found in blanks["vi"].items() if found != blanks["en"][code]] == []


def test_every_code_that_is_said_has_a_text_and_every_hint_an_error() -> None:
    known = read_catalogue(PACKAGE, Language.VI)
    assert [place for code, place in said() if code not in known] == []
    assert [code for code in known if code.startswith("hint.") and code.removeprefix("hint.") not in known] == []


def test_every_profile_face_and_access_rule_has_its_words() -> None:
    texts = Texts()
    assert all(texts(f"faults.{name}") for name in PROFILES)
    assert all(texts(f"face.{one.value}") for one in Interface)
    assert all(texts(f"access.{one.name}") for one in Access)
