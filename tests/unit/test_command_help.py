"""What programs say of themselves: every command's help in Vietnamese, no framing word of a library left in English."""

import argparse
import ast
import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import cardos.__main__
import demo.options
import hsm_sim.__main__
import issuer.__main__
import reader_daemon.__main__
import web.__main__
from cardlink.language.catalogue import Language, chosen_language, read_catalogue, retold
from cardlink.language.parser import PACKAGE, PARSERS, said_by_system
from cardos.messages.catalogue import Texts
from issuer.cli import usage

ROOT = Path(__file__).resolve().parent.parent.parent
PARSER_OF: dict[str, Callable[[Language], argparse.ArgumentParser]] = {
    "cardos": lambda lang: cardos.__main__.make_parser(Texts(lang)),
    "hsm-sim": hsm_sim.__main__.make_parser,
    "reader-daemon": reader_daemon.__main__.make_parser,
    "./run demo": demo.options.make_parser,
}
TYPER: dict[str, Callable[[], Any]] = {
    "issuer": lambda: typer.main.get_command(issuer.__main__.assemble([])),
    "themo-web": lambda: typer.main.get_command(web.__main__.app),
}
# What libraries frame help with, and words no Vietnamese text has.
FRAMING = re.compile(
    r"\b(usage|options?|arguments?|positional|commands?|show|help|message|exit|required|default|env|var|path|file|number"
    r"|name|text|the|of|and|is|this|with|for)\b",
    re.IGNORECASE,
)
# Names as they are typed: options, choices, files, environment, a command after its program.
TYPED = re.compile(
    r"--?[\w-]+|\{[^}]*\}|<[^>]*>|\S*[._/=]\S*|THEMO_\w+|\b(cardos|hsm-sim|issuer|serve) [\w-]+", re.ASCII
)
# Argparse's words to the programmer, or to nobody: no user can bring them about.
PROGRAMMERS = re.compile(
    r"conflict|must be|not callable|\.__call__|invalid (argument|option string|conflict)|cannot (merge|have)|dest="
    r"|mode %r|usage: |expected %s argument$|positional arguments|^options$|show this help|%\(prog\)s"
    r"|unexpected option|argument \"-\"|required' is"
)


def pages(program: str, lang: Language) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """The program's help and that of each command below it."""
    waiting = [PARSER_OF[program](lang)] if program in PARSER_OF else list(below(TYPER[program](), program, lang))
    for parser in waiting:
        yield parser.prog, parser.format_help(), parser
        for action in parser._actions if program in PARSER_OF else ():
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


def below(command: Any, path: str, lang: Language) -> Iterator[argparse.ArgumentParser]:
    """A command of typer's and all below it, as what explains them."""
    yield usage.parser_of(command, path, lang)
    for name, child in getattr(command, "commands", {}).items():
        yield from below(child, f"{path} {name}", lang)


@pytest.mark.parametrize("program", [*PARSER_OF, *TYPER])
def test_no_help_has_an_english_word_in_vietnamese(program: str) -> None:
    told = [(prog, page) for prog, page, _ in pages(program, Language.VI)]
    names = {name for prog, _ in told for name in prog.split()} | {"command"}  # the last: a kind of key
    found = {prog: words for prog, page in told if (words := set(FRAMING.findall(TYPED.sub(" ", page))) - names)}
    assert found == {}


@pytest.mark.parametrize("program", [*PARSER_OF, *TYPER])
def test_every_command_and_option_is_explained_in_both_languages(program: str) -> None:
    for (prog, _, vietnamese), (_, _, english) in zip(
        pages(program, Language.VI), pages(program, Language.EN), strict=True
    ):
        assert vietnamese.description, prog
        assert vietnamese.description != english.description, prog
        for ours, theirs in zip(vietnamese._actions, english._actions, strict=True):
            if isinstance(ours, argparse._SubParsersAction):
                continue
            assert ours.help, (prog, ours.dest)
            assert theirs.help, (prog, ours.dest)
            assert not ours.help.isascii(), (prog, ours.dest)
            assert theirs.help.replace("Thẻ Mở", "").isascii(), (prog, ours.dest)


def test_every_message_of_argparse_that_a_user_can_bring_about_is_known() -> None:
    source = ast.parse(Path(argparse.__file__).read_text(encoding="utf-8"))
    said = {
        word.value
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "ngettext")
        for word in node.args
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    }
    messages = sorted(one for one in said if not PROGRAMMERS.search(one) and one != "subcommands")
    assert len(messages) > 14
    filled = [re.sub(r"%(\(\w+\))?[rs]", "2", one.replace("%(type)s", "int")) for one in messages]
    assert [one for one in filled if retold(one, PACKAGE, "argparse.", "vi") == one] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--number", "x"], "--number: 'x' không phải số nguyên"),
        (["--number"], "--number: cần một giá trị"),
        (["--colour", "red"], "--colour: 'red' không dùng được (chọn: 'blue', 'green')"),
        (["--nonsense"], "không hiểu --nonsense"),
        (["--a", "--b"], "--b: không dùng cùng --a"),
        (["--a=1"], "--a: không nhận giá trị '1'"),
        (["--co"], "--co chưa rõ, có thể là --colour, --count"),
        ([], "thiếu --count"),
    ],
)
def test_wrong_usage_is_said_in_the_users_language(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    def refuse(lang: Language) -> str:
        parser = PARSERS[lang](prog="door lock")
        parser.add_argument("--number", type=int)
        parser.add_argument("--colour", choices=["blue", "green"])
        parser.add_argument("--count", required=not arguments)
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--a", action="store_true")
        either.add_argument("--b", action="store_true")
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        assert ended.value.code == 2
        return capsys.readouterr().err

    assert refuse(Language.VI) == f"door: error: cách gọi sai: {said}\ndoor: hint: xem: door lock --help\n"
    english = refuse(Language.EN)
    assert english.startswith("door: error: wrong usage: ")
    assert english.isascii()


@pytest.mark.parametrize(
    "number",
    [
        errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT,
        errno.EFBIG, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.EBADF, errno.EMFILE, errno.EADDRINUSE,
        errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    ],
)  # fmt: skip
def test_what_the_system_says_is_said_in_the_users_language(number: int) -> None:
    said = said_by_system(os.strerror(number), "vi")
    assert not said.isascii()
    assert said_by_system(str(OSError(number, os.strerror(number), "/tệp")), "vi") == said
    assert said_by_system(os.strerror(number), "en") == os.strerror(number)


def test_a_refusal_says_the_systems_words_in_the_users_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert issuer.__main__.run(["--lang", "vi", "--config", "/nosuch/a.toml", "people", "search"]) == 2
    assert capsys.readouterr().err.endswith("/nosuch/a.toml: không có tệp hoặc thư mục này\n")
    assert reader_daemon.__main__.main(["run", "--config", "/nosuch/a.toml"]) == 2
    assert "/nosuch/a.toml: không có tệp hoặc thư mục này\n" in capsys.readouterr().err


def test_what_nobody_foresaw_stays_as_it_is() -> None:
    assert retold("the moon is down", PACKAGE, "argparse.", "vi") == "the moon is down"


def test_the_shared_words_are_the_same_in_both_languages() -> None:
    blanks = [
        {code: set(re.findall(r"\{(\w+)\}", text)) for code, text in read_catalogue(PACKAGE, lang).items()}
        for lang in Language
    ]
    assert blanks[0].keys() == blanks[1].keys()
    assert all(found <= blanks[1][code] for code, found in blanks[0].items())


def test_vietnamese_comes_first_and_an_argument_before_the_environment() -> None:
    assert chosen_language([], {}) == "vi"
    assert chosen_language([], {"THEMO_LANG": "en"}) == "en"
    assert chosen_language(["list", "--lang", "vi"], {"THEMO_LANG": "en"}) == "vi"
    assert chosen_language(["--lang=en"], {}) == "en"
    assert chosen_language([], {"THEMO_LANG": "fr"}) == "vi"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "không có tùy chọn --bogus"),
        (["people", "serch"], "không có lệnh 'serch' (có phải: 'search')"),
        (["people", "bogus"], "không có lệnh 'bogus'"),
        (["people", "search", "--limit", "0"], "'--limit': ít nhất là 1"),
        (["people", "search", "--limit", "1001"], "'--limit': nhiều nhất là 1000"),
        (["people", "search", "--limit", "x"], "'--limit': phải là số nguyên"),
        (["people", "search", "--limit"], "'--limit' cần một giá trị"),
        (["people", "search", "--afte", "x"], "không có tùy chọn --afte (có phải: --after"),
        (["people", "search", "--state", "x"], "'--state': 'x' không dùng được (chọn: 'declared'"),
        (["people", "import", "x", "--dry-run=1"], "'--dry-run' không nhận giá trị"),
        (["people", "show"], "thiếu 'SỐ'"),
        (["people", "show", "1", "2"], "thừa 2"),
        (["people", "check"], "thiếu '--agency'"),
        (["cards", "approve", "no-uuid"], "'ĐỀ_NGHỊ': phải là UUID"),
        (["--lang", "fr", "people", "show", "1"], "'--lang' ('THEMO_LANG'): 'fr' không dùng được (chọn: 'vi', 'en')"),
    ],
)
def test_what_typer_says_of_wrong_usage_is_said_in_the_users_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.delenv("THEMO_LANG", raising=False)
    assert issuer.__main__.run(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"issuer: error: cách gọi sai: {said}")
    assert "\nissuer: hint: xem: issuer" in told
    monkeypatch.setenv("THEMO_LANG", "en")
    assert issuer.__main__.run(arguments) == 2
    assert capsys.readouterr().err.startswith("issuer: error: ")


@pytest.mark.parametrize("arguments", [[], ["people"], ["doors", "rule"]])
def test_a_group_without_a_command_explains_itself_with_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert issuer.__main__.run(arguments) == 2
    assert "các lệnh:" in capsys.readouterr().out
    assert issuer.__main__.run([*arguments, "--help"]) == 0


def test_run_explains_itself_in_both_languages() -> None:
    def told(*arguments: str, lang: str = "") -> subprocess.CompletedProcess[str]:
        environ = {"PATH": os.environ["PATH"], "THEMO_LANG": lang}
        return subprocess.run(["./run", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    vietnamese, english = told("help").stdout, told("help", lang="en").stdout
    assert told("help", "--lang", "en").stdout == english
    named = [set(re.findall(r"(?m)^\./run ([a-z]+)", page)) for page in (vietnamese, english)]
    assert named[0] == named[1]
    assert named[0] >= {"demo", "test", "check", "bench", "exec"}
    assert not re.search(r"(?i)\b(set up|show|the|make|what|inside)\b", vietnamese)
    wrong = told("nonsense")
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (2, "run: error: không có lệnh tên 'nonsense'")
    assert told("soak", "nonsense", lang="en").stderr.startswith("run: error: no soak named 'nonsense'")
