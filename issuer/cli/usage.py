"""How a typer program talks to a person: its help, wrong usage and refusals in the user's language; its exit codes.

Typer's own help and messages are English. Help is written here from the tree of commands, in the form of every other
program's (`cardlink.language`); what typer says of wrong usage is found again in the catalogue, below `typer.`.
"""

import logging
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

import typer
from sqlalchemy.exc import DBAPIError
from typer.exceptions import Abort, TyperException

from cardlink.language.catalogue import Language, retold
from cardlink.language.parser import PARSERS, Parser, word
from issuer.errors import ConfigError, IssuerError
from issuer.messages.catalogue import PACKAGE, hint, knows, text

NO_TABLE = ("no such table", "does not exist", "no such column")
HELP_OPTIONS = ("-h", "--help")


def run(program: str, made: typer.Typer, arguments: Sequence[str], lang: Language) -> int:
    """Run one command; answers its exit code: 0 done, 1 failed or refused, 2 wrong usage or settings."""
    command = typer.main.get_command(made)
    named, path, wants_help, is_whole = _named(command, program, arguments)
    if wants_help or not is_whole:
        print(parser_of(named, path, lang).format_help(), end="")
        return 0 if wants_help else 2
    for parameter in named.params:
        if parameter.param_type_name == "argument":
            parameter.metavar = _value(parameter, lang)  # typer names it so when it is missing
    try:
        answer = command.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except IssuerError as error:
        return _complain(program, error, lang)
    except TyperException as error:
        why = retold(error.format_message(), PACKAGE, "typer.", lang)
        _write(program, "error", word("wrong", lang, message=why[:1].lower() + why[1:].rstrip(".")))
        _write(program, "hint", word("see", lang, command=path))
        return 2
    except DBAPIError as error:
        why = str(error.orig).strip().splitlines()[0]
        code = "database.not_ready" if any(sign in why for sign in NO_TABLE) else "database.unreachable"
        logging.getLogger(__name__).debug("database error", exc_info=error)
        _complain(program, ConfigError(code, why=why), lang)
        return 1
    except (Abort, KeyboardInterrupt):
        return 130
    return answer if isinstance(answer, int) else 0


def parser_of(command: Any, path: str, lang: Language) -> Parser:
    """A command as a parser that explains it and its options; their texts are codes of the catalogue."""

    def say(code: str | None) -> str:
        return text(code, lang) if code is not None and knows(code, lang) else code or ""

    def about(parameter: Any) -> str:
        said = [say(parameter.help)]
        if parameter.envvar:
            said.append(f"({parameter.envvar})")
        default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
        if default not in (None, "", 0, False) and not parameter.required:
            said.append(word("default", lang, value=default))
        return " ".join(said).replace("%", "%%")

    parser = PARSERS[lang](prog=path, description=say(command.help))
    for parameter in command.params:
        several = parameter.nargs == -1 or getattr(parameter, "multiple", False)
        if parameter.param_type_name == "argument":
            count = "+" if several and parameter.required else "*" if several else None if parameter.required else "?"
            parser.add_argument(parameter.name, nargs=count, metavar=_value(parameter, lang), help=about(parameter))
        elif parameter.is_flag or parameter.count:
            names = [*parameter.opts, *parameter.secondary_opts]
            parser.add_argument(*names, action="store_true", help=about(parameter))
        else:
            required = bool(parameter.required)
            parser.add_argument(
                *parameter.opts, metavar=_value(parameter, lang), required=required, help=about(parameter)
            )
    children = getattr(command, "commands", {})
    if children:
        below = parser.add_subparsers()
        for name, child in children.items():
            below.add_parser(name, help=say(child.help))
    return parser


def _value(parameter: Any, lang: Language) -> str:
    """What stands for the value of an option or argument."""
    own, kind = f"cli.value.{parameter.name}", parameter.type_descriptor
    if parameter.metavar is not None:
        return str(parameter.metavar)
    if kind.choices is not None:
        return "{" + ",".join(str(one.value if isinstance(one, Enum) else one) for one in kind.choices) + "}"
    if knows(own, lang):
        return text(own, lang)
    if kind.is_path:
        return word("file", lang)
    return word("number" if kind.annotation is int else "value", lang)


def _named(command: Any, path: str, arguments: Sequence[str]) -> tuple[Any, str, bool, bool]:
    """The command that arguments name, its whole name, whether its help is asked for, and whether it can be run."""
    words = iter(arguments)
    for one in words:
        children = getattr(command, "commands", {})
        if one in HELP_OPTIONS:
            return command, path, True, True
        if one == "--" or (children and not one.startswith("-") and one not in children):
            return command, path, False, True
        if one in children:
            command, path = children[one], f"{path} {one}"
        elif one.startswith("-"):
            option = next((known for known in command.params if one.split("=")[0] in known.opts), None)
            if option is None:
                return command, path, False, True
            if "=" not in one and not option.is_flag and not option.count:
                next(words, None)
    return command, path, False, not getattr(command, "commands", {})


def _complain(program: str, error: IssuerError, lang: str) -> int:
    _write(program, "error", text(error.code, lang, **error.facts))
    findings = error.facts.get("findings")
    for finding in findings if isinstance(findings, tuple) else ():
        _write(program, "error", "  " + text(finding.code, lang, **finding.facts))
    advice = hint(error.code, lang, **error.facts)
    if advice is not None:
        _write(program, "hint", advice)
    return 2 if isinstance(error, ConfigError) else 1


def _write(program: str, kind: str, what: str) -> None:
    print(f"{program}: {kind}: {what}", file=sys.stderr)
