"""The command `issuer`: assembles the commands of the parts, sets logging up, turns refusals into exit codes.

Exit 0 done, 1 failed or refused, 2 wrong usage or settings.
"""

import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError
from typer.exceptions import Abort, TyperException

from issuer.cli.common import Desk, translate
from issuer.errors import ConfigError, IssuerError
from issuer.messages.catalogue import Language, hint, text

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
NO_TABLE = ("no such table", "does not exist", "no such column")

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
    """Run one command with the process's arguments."""
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Run one command; answers its exit code."""
    lang = _language(arguments, os.environ)
    command = typer.main.get_command(assemble(arguments))
    translate(command, lang)
    try:
        answer = command.main(args=list(arguments), prog_name="issuer", standalone_mode=False)
    except IssuerError as error:
        return _complain(error, lang)
    except TyperException as error:
        said = error.format_message()
        if said:
            _write("error", said[0].lower() + said[1:].rstrip("."))
        return 2
    except DBAPIError as error:
        why = str(error.orig).strip().splitlines()[0]
        code = "database.not_ready" if any(sign in why for sign in NO_TABLE) else "database.unreachable"
        logging.getLogger(__name__).debug("database error", exc_info=error)
        return _complain(ConfigError(code, why=why), lang, exit_code=1)
    except (Abort, KeyboardInterrupt):
        return 130
    return answer if isinstance(answer, int) else 0


def _complain(error: IssuerError, lang: str, exit_code: int | None = None) -> int:
    _write("error", text(error.code, lang, **error.facts))
    findings = error.facts.get("findings")
    for finding in findings if isinstance(findings, tuple) else ():
        _write("error", "  " + text(finding.code, lang, **finding.facts))
    advice = hint(error.code, lang, **error.facts)
    if advice is not None:
        _write("hint", advice)
    if exit_code is not None:
        return exit_code
    return 2 if isinstance(error, ConfigError) else 1


def _write(kind: str, what: str) -> None:
    print(f"issuer: {kind}: {what}", file=sys.stderr)


def _language(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The language before the arguments are parsed: help and usage errors need it too."""
    told = environ.get("THEMO_LANG", "")
    for place, argument in enumerate(arguments):
        if argument == "--lang" and place + 1 < len(arguments):
            told = arguments[place + 1]
        elif argument.startswith("--lang="):
            told = argument.removeprefix("--lang=")
    return Language(told) if told in set(Language) else Language.VI


if __name__ == "__main__":
    sys.exit(main())
