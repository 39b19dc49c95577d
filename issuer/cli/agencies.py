"""`issuer agencies`, `issuer positions`: the code lists that an office keeps."""

from pathlib import Path
from typing import Annotated

import typer

from issuer import database
from issuer.cli.common import desk_of, print_table, read_day
from issuer.registry import agencies, positions

agency_app = typer.Typer(help="cli.group.agencies", no_args_is_help=True)
position_app = typer.Typer(help="cli.group.positions", no_args_is_help=True)

Code = Annotated[str, typer.Argument(help="cli.agencies.code")]
PositionCode = Annotated[str, typer.Argument(help="cli.positions.code")]


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(agency_app, name="agencies")
    parent.add_typer(position_app, name="positions")


@agency_app.command("list", help="cli.agencies.list")
def list_agencies(context: typer.Context) -> None:
    """Show every code with its interval and successor."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        rows = [
            (agency.code, agency.name, agency.kind, agency.valid_to, agency.successor, agency.scheme)
            for agency in agencies.all_agencies(session)
        ]
    names = ("code", "name", "kind", "closed_on", "successor", "scheme")
    print_table([desk.text(f"cli.agencies.{name}") for name in names], rows)


@agency_app.command("load", help="cli.agencies.load")
def load(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="cli.agencies.file")] = None,
) -> None:
    """Load a list of agencies, or the shipped one."""
    desk = desk_of(context)
    rows = agencies.shipped_rows() if file is None else agencies.read_rows(file)
    with database.transaction(desk.factory) as session:
        done = agencies.load(session, desk.actor, rows, desk.now())
    desk.say("cli.agencies.loaded", new=done.new, changed=done.changed, unchanged=done.unchanged)


@agency_app.command("add", help="cli.agencies.add")
def add(
    context: typer.Context,
    code: Code,
    name: Annotated[str, typer.Option(help="cli.agencies.name")],
    kind: Annotated[str, typer.Option(help="cli.agencies.kind")] = "unit",
) -> None:
    """Add one body or unit."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        agency = agencies.add(session, desk.actor, code, name, kind, desk.now())
    desk.say("cli.agencies.added", code=agency.code, name=agency.name)


@agency_app.command("scheme", help="cli.agencies.set_scheme")
def scheme(
    context: typer.Context, code: Code, number: Annotated[int, typer.Argument(help="cli.agencies.scheme")]
) -> None:
    """Set the scheme of identifiers of an agency's new cards."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        agencies.set_scheme(session, desk.actor, code, number, desk.now())
    desk.say("cli.agencies.scheme_set", code=code, scheme=number)


@agency_app.command("close", help="cli.agencies.close")
def close(
    context: typer.Context,
    code: Code,
    on: Annotated[str, typer.Option(help="cli.agencies.closed_on")],
    successor: Annotated[str | None, typer.Option(help="cli.agencies.successor")] = None,
) -> None:
    """Close a code from a day on."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        agencies.close(session, desk.actor, code, read_day(on), successor, desk.now())
    desk.say("cli.agencies.closed", code=code, successor=successor or "-")


@position_app.command("list", help="cli.positions.list")
def list_positions(context: typer.Context) -> None:
    """Show positions with their colours and shapes."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        rows = [(row.code, row.name, row.level, row.colour, row.shape) for row in positions.all_positions(session)]
    names = ("code", "name", "level", "colour", "shape")
    print_table([desk.text(f"cli.positions.{name}") for name in names], rows)


@position_app.command("put", help="cli.positions.put")
def put(
    context: typer.Context,
    code: PositionCode,
    name: Annotated[str, typer.Option(help="cli.positions.name")],
    level: Annotated[str, typer.Option(help="cli.positions.level")],
    colour: Annotated[str, typer.Option(help="cli.positions.colour")],
    shape: Annotated[str, typer.Option(help="cli.positions.shape")],
) -> None:
    """Add a position or change it."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        positions.put(session, desk.actor, code, name, level, colour, shape, desk.now())
    desk.say("cli.positions.done", code=code, name=name)
