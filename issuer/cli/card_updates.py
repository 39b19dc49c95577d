"""`issuer cards update` and `issuer cards outdated`: cards that were issued and need something new."""

import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from sqlalchemy.orm import Session

from cardlink.errors import LinkLost
from issuer import database, outbox
from issuer.cards import outdated as outdated_cards
from issuer.cards import queries, update, update_plan
from issuer.cards.at_reader import run_at
from issuer.cards.outdated import Progress
from issuer.cards.personalise import Job
from issuer.cards.run import Progress as Step
from issuer.cards.run import Report
from issuer.cards.tables import Card
from issuer.cards.update_plan import Cause
from issuer.cli import cards
from issuer.cli.cards import AgencyCode, CardName, each, noting
from issuer.cli.common import Desk, desk_of, print_table
from issuer.errors import Refused
from issuer.trust.connect import allocator, connect


def attach(parent: typer.Typer) -> None:
    """Hang these commands, and all others of cards, below `issuer`."""
    cards.attach(parent)


@cards.app.command("update", help="cli.cards.update")
def update_card(
    context: typer.Context,
    card: CardName,
    reader: Annotated[str | None, typer.Option(help="cli.cards.reader")] = None,
    show: Annotated[bool, typer.Option("--show", help="cli.cards.update_show")] = False,
) -> None:
    """Bring the card in a reader up to date; a torn one goes on where it stopped."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        found = queries.named(session, desk.actor, card)
        causes = update_plan.causes_of(session, found, update_plan.keys_at_fault(session, desk.now()))
    for cause in causes:
        print(_due(desk, cause))
    if show or reader is None:
        if not causes:
            raise Refused("updates.up_to_date", card=str(found.uuid))
        return
    try:
        report = _update(desk, found, reader)
    except LinkLost as lost:
        raise Refused("updates.torn", card=str(found.uuid), why=lost.why) from lost
    outbox.poke(desk.config)
    tally = report.tally
    sent, received = tally.bytes_sent, tally.bytes_received
    desk.say("cli.cards.updated", card=found.uuid, exchanges=tally.exchanges, sent=sent, received=received)


@cards.app.command(help="cli.cards.outdated")
def outdated(
    context: typer.Context,
    agency: AgencyCode = None,
    out: Annotated[Path | None, typer.Option(help="cli.cards.outdated_out")] = None,
    open_jobs: Annotated[bool, typer.Option("--open", help="cli.cards.outdated_open")] = False,
) -> None:
    """Show the cards that wait for an update, or write them into a file; and how far it has come."""
    desk = desk_of(context)
    jobs = allocator(desk.config) if open_jobs else None
    if open_jobs and jobs is None:
        raise Refused("cards.no_allocator")
    with database.reading(desk.factory) as session:
        waiting = list(outdated_cards.waiting(session, desk.actor, desk.now(), agency))
        told = outdated_cards.progress(session, desk.actor, desk.now(), agency)
    if out is not None:
        out.write_text("".join(f"{one.card.uuid}\n" for one in waiting), encoding="utf-8")
    elif waiting and not open_jobs:
        names = ("card", "person", "agency", "state", "due")
        print_table(
            [desk.text(f"cli.cards.column.{name}") for name in names],
            [
                (
                    one.card.uuid,
                    one.person.full_name,
                    one.card.agency_code,
                    desk.text(f"card.state.{one.card.state}"),
                    "; ".join(_due(desk, cause) for cause in one.causes),
                )
                for one in waiting
            ],
        )

    def order(session: Session, card_id: uuid.UUID) -> uuid.UUID:
        update.order(session, desk.actor, card_id, desk.now(), jobs)
        return queries.card(session, desk.actor, card_id)[0].uuid

    if open_jobs:
        each(desk, "cli.cards.opening_updates", [one.card.id for one in waiting], order)
    if not waiting:
        desk.say("updates.none_waiting")
    for one in told:
        say_progress(desk, one)


def say_progress(desk: Desk, told: Progress) -> None:
    """Say how far the cards of one key have come."""
    facts = {"label": told.label, "done": told.done, "total": told.total, "waiting": told.waiting}
    desk.say("cli.cards.update_progress", **facts)


def _due(desk: Desk, cause: Cause) -> str:
    what, why = desk.text(f"updates.what.{cause.what}"), desk.text(f"updates.why.{cause.why}")
    return desk.text("cli.cards.update_due", what=what, why=why, label=cause.label)


def _update(desk: Desk, card: Card, reader: str) -> Report:
    """Run an update with a bar on the terminal, as an encoding has it."""

    def start() -> Job:
        with noting(desk):
            return update.start(
                desk.factory, connect(desk.config), desk.actor, card.id, desk.now, allocator(desk.config)
            )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(desk.text("cli.cards.updating"), total=None)

        def tell(step: Step) -> None:
            bar.update(task, description=desk.text(f"card.step.{step.act}"), total=step.steps, completed=step.number)

        return run_at(reader, start, tell)
