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
OfficerName = Annotated[str, typer.Option("--officer", help="cli.keys.officer")]


@contextmanager
def key_room(desk: Desk, officer: str, pin_fd: int | None, pin_file: Path | None) -> Iterator[CeremonyHsm]:
    """The HSM with this officer present. What takes more persons is told on stderr, and waited for."""

    def told(waiting: Waiting) -> None:
        said = desk.text(
            "cli.keys.waits",
            what=waiting.what,
            needed=waiting.needed,
            proposal=waiting.proposal,
            digest=waiting.digest,
        )
        print(said, file=sys.stderr, flush=True)

    with ceremony(desk.config, read_secret(pin_fd, pin_file), officer, told) as opened:
        yield opened
