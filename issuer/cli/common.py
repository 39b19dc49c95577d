"""What every command needs: the settings, the database, who asks, in which language, and plain output."""

import getpass
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from issuer import config, database
from issuer.accounts import users
from issuer.config import Config
from issuer.database import SessionFactory
from issuer.errors import Refused
from issuer.messages.catalogue import text
from issuer.policy import Actor


@dataclass
class Desk:
    """One call of the command line: where, in which language, and as whom."""

    config_path: Path | None
    environ: Mapping[str, str]
    lang: str
    login: str | None

    @cached_property
    def config(self) -> Config:
        """The settings. Raises ConfigError."""
        return config.load(self.config_path, self.environ)

    @cached_property
    def factory(self) -> SessionFactory:
        """Sessions on the installation's database."""
        return database.session_factory(database.engine(self.config))

    @cached_property
    def actor(self) -> Actor:
        """The user of --as with the roles of this moment, or the local administrator. Raises NotFound, Refused."""
        if self.login is None:
            return users.local_administrator(getpass.getuser())
        with database.reading(self.factory) as session:
            return users.actor_for(session, users.by_login(session, self.login))

    def now(self) -> datetime:
        """The real time."""
        return datetime.now(UTC)

    def text(self, code: str, /, **facts: object) -> str:
        """A text of the catalogue in the caller's language."""
        return text(code, self.lang, **facts)

    def say(self, code: str, /, **facts: object) -> None:
        """Print a text as a result."""
        print(self.text(code, **facts))

    @contextmanager
    def progress(self, code: str) -> Iterator[Callable[[int, int], None]]:
        """Show (done, total) as a bar on the terminal; nothing where stderr is no terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task(self.text(code), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def desk_of(context: typer.Context) -> Desk:
    """The desk that the main callback put into the context."""
    desk = context.find_object(Desk)
    if desk is None:
        raise RuntimeError("a command without its desk")
    return desk


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns; the header goes to stderr where stdout is read by a program."""
    shown = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *shown, strict=True)]
    print(_line(header, widths), file=sys.stdout if sys.stdout.isatty() else sys.stderr)
    for row in shown:
        print(_line(row, widths))


def read_day(value: str) -> date:
    """Read a day as an office writes it, dd/mm/yyyy, or as ISO. Raises Refused."""
    for form in ("%d/%m/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(value, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    raise Refused("usage.bad_day", value=value)


def read_text(path: Path) -> str:
    """Read a checkpoint or a proof from a file. Raises Refused."""
    try:
        raw = path.read_bytes()
        return raw.decode()
    except OSError as error:
        raise Refused("audit.cannot_read", path=str(path), why=error.strerror or "") from error
    except UnicodeDecodeError as error:
        raise Refused("audit.bad_proof", why="no text") from error


def _plain(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case datetime():
            return f"{cell.astimezone():%d/%m/%Y %H:%M:%S}"
        case date():
            return f"{cell:%d/%m/%Y}"
    return str(cell)


def _width(cell: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
