"""`issuer feed`: run the process that carries signed statements to the doors."""

import asyncio
import logging
import sys
from typing import Annotated

import typer

from issuer.cli.common import Desk, desk_of
from issuer.errors import Refused
from issuer.feed import server
from issuer.trust.connect import connect

app = typer.Typer(help="cli.group.feed", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="feed")


@app.callback()
def settle() -> None:
    """Keeps `serve` a command of its own while it is the only one."""


@app.command(help="cli.feed.serve")
def serve(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="cli.feed.quiet")] = False,
) -> None:
    """Serve the doors until SIGTERM or Ctrl-C."""
    desk = desk_of(context)
    if not quiet:
        logging.getLogger("issuer").setLevel(logging.INFO)
    config, hsm = desk.config, connect(desk.config)
    try:
        asyncio.run(server.serve(config, hsm, lambda address: _ready(desk, address)))
    except OSError as error:
        raise Refused("feed.cannot_listen", address=config.feed_listen, why=error.strerror or str(error)) from error


def _ready(desk: Desk, address: str) -> None:
    desk.say("cli.feed.ready", address=address)
    sys.stdout.flush()
