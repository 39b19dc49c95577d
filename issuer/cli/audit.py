"""`issuer audit`: read the log and check it."""

import json
from typing import Annotated

import typer

from issuer import database, policy
from issuer.audit import log
from issuer.audit.log import Broken
from issuer.cli.common import desk_of, print_table
from issuer.errors import Refused
from issuer.policy import Action

app = typer.Typer(help="cli.group.audit", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="audit")


@app.command(help="cli.audit.verify")
def verify(context: typer.Context) -> None:
    """Check the whole chain; exit 1 and the row's number if one is not as it was written."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    with database.reading(desk.factory) as session:
        found = log.verify(session)
    if isinstance(found, Broken):
        raise Refused(f"audit.broken_{found.how}", n=found.n)
    desk.say("cli.audit.intact", rows=found.rows, head=found.head.hex())


@app.command("list", help="cli.audit.list")
def list_rows(
    context: typer.Context,
    action: Annotated[str | None, typer.Option(help="cli.audit.action")] = None,
    subject: Annotated[str | None, typer.Option(help="cli.audit.subject")] = None,
    before: Annotated[int | None, typer.Option(help="cli.audit.before")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="cli.audit.limit")] = 30,
) -> None:
    """Show the newest rows."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    with database.reading(desk.factory) as session:
        rows = log.entries(session, before=before, action=action, subject=subject, limit=limit)
    print_table(
        [desk.text(f"cli.audit.{name}") for name in ("n", "at", "actor", "action", "subject", "facts")],
        [
            (row.n, row.at, row.actor, row.action, row.subject, json.dumps(row.facts, ensure_ascii=False))
            for row in rows
        ],
    )
