"""The key room as commands open it: the HSM with a security officer, and word of what waits for other persons."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from issuer.cli.common import Desk
from issuer.config import read_secret
from issuer.trust.connect import ceremony
from issuer.trust.port import CeremonyHsm
from issuer.trust.sim import Waiting

OfficerFd = Annotated[int | None, typer.Option("--officer-pin-fd", help="cli.keys.officer_pin_fd")]
OfficerFile = Annotated[Path | None, typer.Option("--officer-pin-file", help="cli.keys.officer_pin_file")]
Exportable = Annotated[bool, typer.Option("--exportable", help="cli.keys.exportable")]
OfficerName = Annotated[str, typer.Option("--officer", help="cli.keys.officer")]


@contextmanager
def key_room(
    desk: Desk, officer: str, pin_fd: int | None, pin_file: Path | None, *, makes_exportable: bool = False
) -> Iterator[CeremonyHsm]:
    """The HSM with this officer present. What takes more persons is told on stderr, and waited for.

    `makes_exportable`: keys that are made in there may leave, enciphered (never root keys).
    """

    def told(waiting: Waiting) -> None:
        said = desk.text(
            "cli.keys.waits",
            what=waiting.what,
            needed=waiting.needed,
            proposal=waiting.proposal,
            digest=waiting.digest,
        )
        print(said, file=sys.stderr, flush=True)

    pin = read_secret(pin_fd, pin_file)
    with ceremony(desk.config, pin, officer, told, makes_exportable=makes_exportable) as opened:
        yield opened
