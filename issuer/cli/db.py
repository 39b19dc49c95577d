"""`issuer init`, `issuer config`, `issuer db`: an installation's folder, settings and database."""

from dataclasses import fields
from typing import Annotated

import typer

from issuer import database
from issuer.accounts.form_key import form_key
from issuer.audit import tree
from issuer.audit.log import Broken
from issuer.cli.common import Desk, desk_of, print_table
from issuer.errors import Refused
from issuer.migrations import schema
from issuer.registry import agencies, positions

app = typer.Typer(help="cli.group.db", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.command("init", help="cli.init.init")(init)
    parent.command("config", help="cli.config")(show_config)
    parent.add_typer(app, name="db")


def init(
    context: typer.Context,
    empty: Annotated[bool, typer.Option("--empty", help="cli.init.empty")] = False,
) -> None:
    """Make the data folder, the console's secret, the database, and fill in the shipped lists. Again: nothing lost."""
    desk = desk_of(context)
    config = desk.config
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    form_key(config.data_dir)
    _upgrade(desk)
    if empty:
        return
    with database.transaction(desk.factory) as session:
        loaded = agencies.load(session, desk.actor, agencies.shipped_rows(), desk.now())
        agencies.load_places(session)
        added = positions.load_shipped(session)
    desk.say("cli.init.loaded", agencies=loaded.new, positions=added)


def show_config(context: typer.Context) -> None:
    """Show the settings as they are in effect, with the names they have in the file."""
    config = desk_of(context).config
    for field in fields(config):
        print(f"{field.name} = {getattr(config, field.name)}")


@app.command(help="cli.db.upgrade")
def upgrade(context: typer.Context) -> None:
    """Bring the database's tables to this version's form."""
    desk = desk_of(context)
    desk.config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _upgrade(desk)


def _upgrade(desk: Desk) -> None:
    """The tables, then what is derived from their rows: the tree over the audit log."""
    desk.say("cli.db.upgraded", revision=schema.upgrade(database.engine(desk.config)))
    found = tree.grow(desk.factory)
    if isinstance(found, Broken):
        raise Refused(f"audit.broken_{found.how}", n=found.n)


@app.command(help="cli.db.status")
def status(context: typer.Context) -> None:
    """Say which form the tables have and which this version wants; exit 1 if they differ."""
    desk = desk_of(context)
    opened = database.engine(desk.config)
    has, wants = schema.current(opened), schema.head()
    print_table(
        [desk.text("cli.db.has"), desk.text("cli.db.wants"), desk.text("cli.db.kind")],
        [(has, wants, opened.dialect.name)],
    )
    if has != wants:
        raise Refused("database.not_ready")
