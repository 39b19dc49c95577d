"""The command line's grammar in the user's language: argparse with its own words taken from the catalogue."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from cardos.messages.catalogue import Language, Texts

Run = Callable[[argparse.Namespace, Texts], int]


class _Formatter(argparse.HelpFormatter):
    """Help whose first word is the user's."""

    usage_word = ""

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, self.usage_word if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """A parser that speaks the language of `texts`."""

    texts = Texts()

    def __init__(self, **options: Any) -> None:
        word = f"{self.texts('usage.usage')} "
        formatter: type[argparse.HelpFormatter] = type("Formatter", (_Formatter,), {"usage_word": word})
        with_help = options.pop("add_help", True)
        super().__init__(add_help=False, formatter_class=formatter, **options)
        self._positionals.title = self.texts("usage.arguments")
        self._optionals.title = self.texts("usage.options")
        if with_help:
            self.add_argument("-h", "--help", action="help", help=self.texts("help.help"))

    def error(self, message: str) -> NoReturn:
        """Wrong usage: exit 2."""
        print(f"cardos: error: {self.texts('usage.wrong', message=message)}", file=sys.stderr)
        print(f"cardos: hint: {self.texts('usage.see', command=self.prog)}", file=sys.stderr)
        raise SystemExit(2)


class Commands:
    """Makes the parsers of commands; help texts hang on the command's and the option's name."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.parser_type: type[Parser] = type("TranslatedParser", (Parser,), {"texts": texts})
        self.top = self.parser_type(prog="cardos", description=texts("help.about"))
        self._common(self.top, {})
        self._commands = self.top.add_subparsers(
            required=True, metavar=texts("usage.command"), title=texts("usage.commands"), parser_class=self.parser_type
        )

    def add(self, name: str, run: Run) -> argparse.ArgumentParser:
        """A command; what it runs is found as `options.run`."""
        said = self.texts(f"help.{name}.about")
        parser = self._commands.add_parser(name, help=said, description=said)
        self._common(parser, {"default": argparse.SUPPRESS})
        parser.set_defaults(run=run)
        return parser

    def _common(self, parser: argparse.ArgumentParser, more: dict[str, Any]) -> None:
        parser.add_argument("--lang", choices=[str(one) for one in Language], help=self.texts("help.lang"), **more)
        parser.add_argument(
            "-v", "--verbose", action="count", help=self.texts("help.verbose"), **({"default": 0} | more)
        )

    def image(self, parser: argparse.ArgumentParser) -> None:
        """The options that name a card's file and its secret."""
        parser.add_argument(
            "--image", type=Path, required=True, metavar=self.texts("usage.file"), help=self.texts("help.image")
        )
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--secret-fd", type=int, metavar="N", help=self.texts("help.secret-fd"))
        secret.add_argument(
            "--secret-file", type=Path, metavar=self.texts("usage.file"), help=self.texts("help.secret-file")
        )

    def transport_keys(self, parser: argparse.ArgumentParser, *, required: bool) -> None:
        """The options that give the transport keys of a batch."""
        keys = parser.add_mutually_exclusive_group(required=required)
        keys.add_argument("--transport-keys-fd", type=int, metavar="N", help=self.texts("help.transport-keys-fd"))
        keys.add_argument(
            "--transport-keys-file",
            type=Path,
            metavar=self.texts("usage.file"),
            help=self.texts("help.transport-keys-file"),
        )

    def control(self, parser: argparse.ArgumentParser, help_code: str) -> None:
        """Where a running card listens."""
        parser.add_argument("--control", metavar="SOCKET", default=None, help=self.texts(help_code))

    def dress(self, parser: argparse.ArgumentParser) -> None:
        """What is put over served cards."""
        parser.add_argument("--fault", metavar="NAME[:X]", help=self.texts("help.fault"))
        parser.add_argument("--timing", metavar="CHIP[@KBIT]", help=self.texts("help.timing"))
        parser.add_argument("--trace", type=Path, metavar=self.texts("usage.file"), help=self.texts("help.trace-file"))
