"""The command `issuer`: assembles the commands of the parts, sets logging up.

Exit 0 done, 1 failed or refused, 2 wrong usage or settings.
"""

import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cardlink.language.catalogue import Language, chosen_language
from issuer.cli import usage
from issuer.cli.common import Desk

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)

PARTS = {
    "init": "db", "config": "db", "db": "db", "users": "accounts", "agencies": "agencies", "positions": "agencies",
    "people": "people", "keys": "keys", "stock": "stock", "cards": "card_updates", "doors": "doors", "feed": "feed",
    "audit": "audit", "hsm": "hsm",
}  # fmt: skip
"""Each command below `issuer` and its module in issuer.cli. Only what a call names is imported: all take a second."""


def assemble(arguments: Sequence[str]) -> typer.Typer:
    """The command with the part that these arguments name, or with all of them when they name none (--help)."""
    made = typer.Typer(name="issuer", help="cli.issuer", no_args_is_help=True, add_completion=False)
    made.callback()(settle)
    named = _command_word(arguments)
    for part in [PARTS[named]] if named in PARTS else dict.fromkeys(PARTS.values()):
        importlib.import_module(f"issuer.cli.{part}").attach(made)
    return made


def settle(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="cli.option.config", envvar="THEMO_CONFIG")] = None,
    lang: Annotated[Language, typer.Option(help="cli.option.lang", envvar="THEMO_LANG")] = Language.VI,
    login: Annotated[str | None, typer.Option("--as", help="cli.option.as", envvar="THEMO_AS")] = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="cli.option.verbose")] = 0,
) -> None:
    """What stands before every command."""
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    context.obj = Desk(config_path=config, environ=os.environ, lang=lang, login=login)


def _command_word(arguments: Sequence[str]) -> str:
    """The first word that is neither an option nor the value of one; empty when there is none."""
    takes_value = ("--config", "--lang", "--as")
    for previous, word in zip(("", *arguments), arguments, strict=False):
        if not word.startswith("-") and previous not in takes_value:
            return word
    return ""


def main() -> int:
    """Run one command with the process's arguments.

    Python's end takes every loaded module apart: a third of a short command's time. Here what the command left is
    closed, and what was loaded ends with the process.
    """
    gc.freeze()
    try:
        return run(sys.argv[1:])
    finally:
        gc.collect()
        gc.freeze()


def run(arguments: Sequence[str]) -> int:
    """Run one command; answers its exit code."""
    return usage.run("issuer", assemble(arguments), arguments, chosen_language(arguments, os.environ))


if __name__ == "__main__":
    sys.exit(main())
