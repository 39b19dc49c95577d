"""`issuer audit`: read the log and check it, sign checkpoints, hand out proofs and check them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from issuer import database, policy
from issuer.audit import checkpoints, log, proof
from issuer.audit.log import Broken
from issuer.audit.note import NoteKey
from issuer.audit.proof import ProvenRow
from issuer.cli.common import desk_of, print_table, read_text
from issuer.errors import Refused
from issuer.policy import Action
from issuer.trust.connect import connect

Out = Annotated[Path | None, typer.Option(help="cli.audit.out")]

app = typer.Typer(help="cli.group.audit", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="audit")


@app.command(help="cli.audit.verify")
def verify(context: typer.Context) -> None:
    """Check chain, tree and checkpoints; exit 1 and the row's number if one is not as it was written."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    with database.reading(desk.factory) as session:
        found = checkpoints.verify(session)
    if isinstance(found, Broken):
        raise Refused(f"audit.broken_{found.how}", n=found.n)
    desk.say("cli.audit.intact", rows=found.chain.rows, head=found.chain.head.hex())
    desk.say("cli.audit.covered", checkpoints=found.checkpoints, uncovered=found.uncovered)


@app.command("list", help="cli.audit.list")
def list_rows(
    context: typer.Context,
    action: Annotated[str | None, typer.Option(help="cli.audit.action")] = None,
    subject: Annotated[str | None, typer.Option(help="cli.audit.subject")] = None,
    before: Annotated[int | None, typer.Option(help="cli.audit.before")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="cli.option.limit")] = 30,
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


@app.command(help="cli.audit.checkpoint")
def checkpoint(context: typer.Context, out: Out = None) -> None:
    """Sign what the log holds now, for somebody else to keep."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    _give(checkpoints.make(desk.factory, connect(desk.config), desk.now()).note, out)


@app.command(help="cli.audit.key")
def key(context: typer.Context) -> None:
    """Print the keys that checkpoints are checked with, the newest first."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        for one in checkpoints.keys(session):
            print(one)


@app.command(help="cli.audit.prove")
def prove(
    context: typer.Context, n: Annotated[int, typer.Argument(min=1, help="cli.audit.row")], out: Out = None
) -> None:
    """Write the proof that a row stands in the log, under the last checkpoint."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    with database.reading(desk.factory) as session:
        text = checkpoints.prove_row(session, n)
    _give(text, out)


@app.command(help="cli.audit.prove_growth")
def prove_growth(
    context: typer.Context, noted: Annotated[Path, typer.Argument(help="cli.audit.noted")], out: Out = None
) -> None:
    """Write the proof that the log goes on from a checkpoint kept elsewhere."""
    desk = desk_of(context)
    policy.require_anywhere(desk.actor, Action.AUDIT_VIEW)
    with database.reading(desk.factory) as session:
        text = checkpoints.prove_growth(session, read_text(noted))
    _give(text, out)


@app.command(help="cli.audit.check_proof")
def check_proof(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="cli.audit.file")],
    keys: Annotated[list[str], typer.Option("--key", help="cli.audit.of_key")],
    noted: Annotated[Path | None, typer.Option("--noted", help="cli.audit.noted")] = None,
) -> None:
    """Check a proof of either kind, without the database and the settings of any installation."""
    desk = desk_of(context)
    proven = proof.check(read_text(file), [NoteKey.read(one) for one in keys])
    if isinstance(proven, ProvenRow):
        if noted is not None:
            raise Refused("audit.noted_needs_growth")
        print(proven.entry.decode())
        desk.say("cli.audit.row_proven", n=proven.n, origin=proven.checkpoint.origin, size=proven.checkpoint.size)
        return
    if noted is not None and read_text(noted) != proven.old.note:
        raise Refused("audit.other_checkpoint", size=proven.old.size)
    desk.say("cli.audit.growth_proven", old=proven.old.size, new=proven.new.size, origin=proven.new.origin)


def _give(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8", newline="\n")
