"""`issuer stock`: blank cards, taken in by batch."""

from pathlib import Path
from typing import Annotated

import typer

from issuer import database
from issuer.cards import stock
from issuer.cards.stock import StockState
from issuer.cli.common import desk_of, print_table
from issuer.errors import Refused

app = typer.Typer(help="cli.group.stock", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="stock")


@app.command(help="cli.stock.add")
def add(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="cli.stock.batch")],
    transport: Annotated[str, typer.Option(help="cli.stock.transport")],
    file: Annotated[Path | None, typer.Option(help="cli.stock.file")] = None,
    serial: Annotated[list[str] | None, typer.Option(help="cli.stock.serial")] = None,
) -> None:
    """Take a batch in, from the maker's list or one by one."""
    desk = desk_of(context)
    serials = [*(stock.read_serials(file) if file is not None else ()), *(one.upper() for one in serial or ())]
    if not serials:
        raise Refused("stock.empty_batch", batch=batch)
    with database.transaction(desk.factory) as session:
        done = stock.add_batch(session, desk.actor, batch, serials, transport, desk.now())
    desk.say("cli.stock.added", batch=batch, added=done.added, known=done.known)


@app.command("list", help="cli.stock.list")
def list_stock(
    context: typer.Context,
    state: Annotated[StockState | None, typer.Option(help="cli.option.only_state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="cli.option.limit")] = 100,
) -> None:
    """Show blanks, and how many are in each state."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        rows = stock.items(session, desk.actor, state, limit)
        counted = stock.counts(session)
    print_table(
        [desk.text(f"cli.stock.column.{name}") for name in ("serial", "batch", "state", "changed", "reason")],
        [(row.serial, row.batch, desk.text(f"stock.state.{row.state}"), row.changed, row.reason) for row in rows],
    )
    desk.say("cli.stock.counts", **{one.value: count for one, count in counted.items()})
