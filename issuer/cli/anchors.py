"""`issuer keys anchor`: authorities of others whose PIV cards our doors may take."""

from pathlib import Path
from typing import Annotated

import typer

from issuer import database, outbox
from issuer.cli.common import desk_of, print_table
from issuer.cli.officer import OfficerFd, OfficerFile, OfficerName, key_room
from issuer.errors import Refused
from issuer.policy import Action, require_anywhere
from issuer.trust import foreign_anchors

app = typer.Typer(help="cli.group.anchor", no_args_is_help=True)


@app.command(help="cli.anchor.add")
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="cli.anchor.file", dir_okay=False)],
    name: Annotated[str, typer.Option(help="cli.anchor.name")],
    agency: Annotated[str, typer.Option(help="cli.anchor.agency")],
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Let doors take the cards of an authority by the next trust list."""
    desk = desk_of(context)
    try:
        certificate = foreign_anchors.read(file.read_bytes())
    except OSError as error:
        raise Refused("anchor.cannot_read", path=str(file), why=error.strerror or "") from error
    with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
        done, number = foreign_anchors.add(desk.factory, hsm, desk.actor, name, agency, certificate, desk.now())
    outbox.poke(desk.config)
    desk.say("cli.anchor.added", name=done.name, subject=done.subject, sha256=done.sha256, agency=done.agency)
    if done.is_root:
        desk.say("cli.anchor.is_root")
    desk.say("cli.keys.trust_list", number=number)


@app.command("list", help="cli.anchor.list")
def list_anchors(context: typer.Context) -> None:
    """Show them."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    with database.reading(desk.factory) as session:
        found = foreign_anchors.described(session)
    names = ("name", "agency", "not_after", "subject", "sha256")
    print_table(
        [desk.text(f"cli.anchor.column.{name}") for name in names],
        [(one.name, one.agency, one.not_after, one.subject, one.sha256) for one in found],
    )


@app.command(help="cli.anchor.remove")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="cli.anchor.name")],
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Let doors take its cards no more by the next trust list."""
    desk = desk_of(context)
    with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
        number = foreign_anchors.remove(desk.factory, hsm, desk.actor, name, desk.now())
    outbox.poke(desk.config)
    desk.say("cli.anchor.removed", name=name)
    desk.say("cli.keys.trust_list", number=number)
