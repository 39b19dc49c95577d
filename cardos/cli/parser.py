"""Makes the parsers of the commands; help texts hang on the command's and the option's name."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cardlink.language.parser import PARSERS, Parser
from cardos.messages.catalogue import Texts

Run = Callable[[argparse.Namespace, Texts], int]
PORT_MAX = 65535


def is_port(text: str) -> bool:
    """Whether this is a TCP port that something can listen at."""
    return text.isascii() and text.isdigit() and 0 < int(text) <= PORT_MAX


class Commands:
    """The program's parser and those of its commands."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.top = PARSERS[texts.lang](prog="cardos", description=texts("help.about"))
        self._common(self.top, {})
        self._commands = self.top.add_subparsers(required=True)

    def add(self, name: str, run: Run) -> Parser:
        """A command; what it runs is found as `options.run`."""
        said = self.texts(f"help.{name}.about")
        parser: Parser = self._commands.add_parser(name, help=said, description=said)
        self._common(parser, {"default": argparse.SUPPRESS})
        parser.set_defaults(run=run)
        return parser

    def _common(self, parser: Parser, more: dict[str, Any]) -> None:
        parser.add_language(**more)
        parser.add_argument(
            "-v", "--verbose", action="count", help=self.texts("help.verbose"), **({"default": 0} | more)
        )

    def image(self, parser: argparse.ArgumentParser) -> None:
        """The options that name a card's file and its secret."""
        parser.add_argument("--image", type=Path, required=True, help=self.texts("help.image"))
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--secret-fd", type=int, metavar="N", help=self.texts("help.secret-fd"))
        secret.add_argument("--secret-file", type=Path, help=self.texts("help.secret-file"))

    def transport_keys(self, parser: argparse.ArgumentParser, *, required: bool) -> None:
        """The options that give the transport keys of a batch."""
        keys = parser.add_mutually_exclusive_group(required=required)
        keys.add_argument("--transport-keys-fd", type=int, metavar="N", help=self.texts("help.transport-keys-fd"))
        keys.add_argument(
            "--transport-keys-file",
            type=Path,
            help=self.texts("help.transport-keys-file"),
        )

    def port(self, parser: argparse.ArgumentParser, name: str, *, default: int | None, help_code: str) -> None:
        """An option that takes a TCP port."""

        def number(text: str) -> int:
            if not is_port(text):
                raise argparse.ArgumentTypeError(self.texts("slot.port", text=text))
            return int(text)

        metavar = self.texts("usage.port")
        parser.add_argument(name, type=number, default=default, metavar=metavar, help=self.texts(help_code))

    def control(self, parser: argparse.ArgumentParser, help_code: str) -> None:
        """Where a running card listens."""
        parser.add_argument("--control", metavar="SOCKET", default=None, help=self.texts(help_code))

    def dress(self, parser: argparse.ArgumentParser) -> None:
        """What is put over served cards."""
        parser.add_argument("--fault", metavar=self.texts("usage.fault"), help=self.texts("help.fault"))
        parser.add_argument("--timing", metavar="CHIP[@KBIT]", help=self.texts("help.timing"))
        parser.add_argument("--trace", type=Path, help=self.texts("help.trace-file"))
