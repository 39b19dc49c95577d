"""A command line's grammar in the user's language: argparse with every word of its own taken from the catalogue."""

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from cardlink.language.catalogue import Language, read_catalogue, retold

PACKAGE = "cardlink.language"
_ARGPARSE = "argparse."


def word(code: str, lang: str, /, **facts: object) -> str:
    """A word that frames a command line, such as `usage`."""
    return read_catalogue(PACKAGE, lang)[f"frame.{code}"].format_map(facts)


def said_by_system(why: str, lang: str) -> str:
    """What the operating system says of a file or a connection, in the user's language; anything else as it is."""
    return retold(why, PACKAGE, "system.", lang)


class _Formatter(argparse.HelpFormatter):
    """Help whose framing words are the user's; what takes a file or a number says so."""

    lang = Language.VI

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, f"{word('usage', self.lang)} " if prefix is None else prefix)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type is Path:
            return word("file", self.lang)
        return word("number", self.lang) if action.type is int else super()._get_default_metavar_for_optional(action)


class _EnglishFormatter(_Formatter):
    lang = Language.EN


class Parser(argparse.ArgumentParser):
    """A parser that speaks Vietnamese. Wrong usage ends the program with exit 2, an error and a hint."""

    lang = Language.VI

    def __init__(self, **options: Any) -> None:
        with_help = options.pop("add_help", True)
        options.setdefault("formatter_class", _Formatter if self.lang is Language.VI else _EnglishFormatter)
        super().__init__(add_help=False, **options)
        self._positionals.title = word("arguments", self.lang)
        self._optionals.title = word("options", self.lang)
        if with_help:
            self.add_argument("-h", "--help", action="help", help=word("help", self.lang))

    def add_language(self, **more: Any) -> None:
        """The option --lang. The language itself is chosen before arguments are parsed: help is said in it too."""
        self.add_argument("--lang", choices=[str(one) for one in Language], help=word("lang", self.lang), **more)

    def add_subparsers(self, **options: Any) -> Any:
        """The commands below this one."""
        options.setdefault("metavar", word("command", self.lang))
        options.setdefault("title", word("commands", self.lang))
        return super().add_subparsers(**options)

    def error(self, message: str) -> NoReturn:
        """Wrong usage: exit 2."""
        program = self.prog.removeprefix("./run ").split()[0]
        why = retold(message, PACKAGE, _ARGPARSE, self.lang)
        print(f"{program}: error: {word('wrong', self.lang, message=why)}", file=sys.stderr)
        print(f"{program}: hint: {word('see', self.lang, command=self.prog)}", file=sys.stderr)
        raise SystemExit(2)


class EnglishParser(Parser):
    """The same in English."""

    lang = Language.EN


PARSERS = {Language.VI: Parser, Language.EN: EnglishParser}
