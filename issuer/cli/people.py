"""`issuer people`: import a sheet, find people, take records through their steps, say who may get no card and why."""

from pathlib import Path
from typing import Annotated

import typer

from issuer import database
from issuer.cli.common import Desk, desk_of, print_table, read_day
from issuer.days import local_day
from issuer.errors import Refused
from issuer.registry import answer_sheet, freshness, importer, intake, people, photos, record, workflow
from issuer.registry.answer_sheet import Answer
from issuer.registry.importer import Outcome
from issuer.registry.intake import Intake, WrongRow
from issuer.registry.people import Page
from issuer.registry.tables import RecordState
from issuer.registry.workflow import Step

SHOWN_ROWS = 20

app = typer.Typer(help="cli.group.people", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="cli.people.number")]
Agency = Annotated[str, typer.Option(help="cli.people.agency")]
Opinion = Annotated[str, typer.Option(help="cli.people.opinion")]


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="people")


@app.command("import", help="cli.people.import")
def import_sheet(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="cli.people.file")],
    photo_folder: Annotated[Path | None, typer.Option("--photos", help="cli.people.photos")] = None,
    confirm_zeros: Annotated[bool, typer.Option("--confirm-zeros", help="cli.people.confirm_zeros")] = False,
    errors: Annotated[Path | None, typer.Option(help="cli.people.errors")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="cli.people.dry_run")] = False,
) -> None:
    """Import a sheet of people. Rows in doubt and wrong rows go back; exit 1 if there were any."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        known = intake.known(session)
    sheet = intake.read_sheet(file, known, local_day(desk.now()))
    if sheet.header.ignored:
        desk.say("cli.people.ignored", columns=", ".join(sheet.header.ignored))
    _show_doubts(desk, sheet, taken=confirm_zeros)
    if confirm_zeros:
        sheet = sheet.confirm()
    portraits = photos.list_folder(photo_folder) if photo_folder is not None else {}
    with desk.progress("cli.people.importing") as progress:
        done = importer.run(desk.factory, desk.actor, sheet, portraits, desk.now(), dry_run=dry_run, progress=progress)
    back = sorted([*sheet.wrong, *sheet.unconfirmed(), *done.sent_back], key=lambda row: row.line.number)
    _report(desk, sheet, done, back, dry_run=dry_run)
    if errors is not None and (back or done.bad_photos):
        answer_sheet.write(Answer(sheet.header, [*back, *done.bad_photos]), errors, desk.lang)
        desk.say("cli.people.answer", path=errors)
    if back:
        raise Refused("cli.people.sent_back", count=len(back))


@app.command(help="cli.people.search")
def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="cli.people.query")] = "",
    agency: Annotated[str | None, typer.Option(help="cli.people.agency")] = None,
    state: Annotated[RecordState | None, typer.Option(help="cli.people.state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="cli.option.limit")] = 50,
    after: Annotated[str | None, typer.Option(help="cli.people.after")] = None,
) -> None:
    """Find people by name, with or without diacritics, or by the first digits of the citizen number."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        page = people.search(session, desk.actor, query, agency=agency, state=state, after=after, limit=limit)
    _print_people(desk, page)


@app.command(help="cli.people.show")
def show(context: typer.Context, number: Number) -> None:
    """Show one record, its steps, its versions, and whether it may get a card."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        person = people.by_number(session, desk.actor, number)
        facts = record.facts_of(person)
        steps = people.steps(session, person.id)
        versions = record.history(session, person.id)
        false_version = record.first_false_version(session, person.id)
        found = freshness.findings(session, person, desk.now())
    for name, value in facts.as_json().items():
        print(f"{desk.text(f'field.{name}')}: {'-' if value in (None, '') else value}")
    print(f"{desk.text('field.state')}: {desk.text(f'state.{person.state}')}")
    for step in steps:
        print(
            f"  {step.at.astimezone():%d/%m/%Y %H:%M}  {desk.text(f'state.{step.step}')}  {step.actor}  {step.opinion}"
        )
    desk.say("cli.people.versions", count=len(versions))
    if false_version is not None:
        raise Refused("people.false_version", version=false_version)
    if not found:
        desk.say("cli.people.fresh")
    for finding in found:
        print(f"- {desk.text(finding.code, **finding.facts)}")


@app.command(help="cli.people.check")
def check(context: typer.Context, agency: Agency, opinion: Opinion = "") -> None:
    """Check every declared record of an agency (kiểm tra)."""
    _advance(desk_of(context), Step.CHECK, agency, opinion)


@app.command(help="cli.people.appraise")
def appraise(context: typer.Context, agency: Agency, opinion: Opinion = "") -> None:
    """Appraise every checked record of an agency (thẩm định)."""
    _advance(desk_of(context), Step.APPRAISE, agency, opinion)


@app.command(help="cli.people.approve")
def approve(context: typer.Context, agency: Agency, opinion: Opinion = "") -> None:
    """Approve every appraised record of an agency (phê duyệt)."""
    _advance(desk_of(context), Step.APPROVE, agency, opinion)


@app.command("return", help="cli.people.return")
def give_back(context: typer.Context, number: Number, opinion: Opinion) -> None:
    """Give one record back to be declared again."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        person = people.by_number(session, desk.actor, number)
        workflow.give_back(session, desk.actor, person.id, person.version, opinion, desk.now())
    desk.say("cli.people.returned", name=person.full_name)


@app.command(help="cli.people.attest")
def attest(
    context: typer.Context, number: Number, on: Annotated[str | None, typer.Option(help="cli.people.on")] = None
) -> None:
    """Enter that a person attested the record (cam đoan)."""
    desk = desk_of(context)
    day = local_day(desk.now()) if on is None else read_day(on)
    with database.transaction(desk.factory) as session:
        person = people.by_number(session, desk.actor, number)
        people.attest(session, desk.actor, person.id, day, desk.now())
    desk.say("cli.people.attested", name=person.full_name, on=f"{day:%d/%m/%Y}")


@app.command("freshness", help="cli.people.freshness")
def list_unfit(
    context: typer.Context, agency: Annotated[str | None, typer.Option(help="cli.people.agency")] = None
) -> None:
    """List who may get no card, and each reason; the numbers stand at the end."""
    desk = desk_of(context)
    fit = unfit = 0
    rows: list[tuple[object, ...]] = []
    with database.reading(desk.factory) as session:
        keys = people.keys(session, desk.actor, agency)
        for person, found in freshness.findings_of(session, keys, desk.now()):
            if not found:
                fit += 1
                continue
            unfit += 1
            reasons = "; ".join(desk.text(finding.code, **finding.facts) for finding in found)
            rows.append((person.citizen_number, person.full_name, person.agency_code, reasons))
    print_table([desk.text(f"field.{name}") for name in ("citizen_number", "full_name", "agency_code", "why")], rows)
    desk.say("cli.people.fitness", fit=fit, unfit=unfit)


def _advance(desk: Desk, step: Step, agency: str, opinion: str) -> None:
    with desk.progress(f"cli.people.{step}") as progress:
        done = workflow.advance_many(desk.factory, desk.actor, step, agency, opinion, desk.now(), progress)
    desk.say(f"cli.people.{step}_done", count=done.done, agency=agency)
    if done.own:
        desk.say("cli.people.own_left", count=done.own)


def _show_doubts(desk: Desk, sheet: Intake, *, taken: bool) -> None:
    if not sheet.to_confirm:
        return
    desk.say("cli.people.doubts_taken" if taken else "cli.people.doubts", count=len(sheet.to_confirm))
    for item in sheet.to_confirm:
        for doubt in item.doubts:
            print(f"  {item.row.line.number:>6}  {item.row.facts.full_name}: {doubt.as_read} → {doubt.proposed}")


def _report(desk: Desk, sheet: Intake, done: Outcome, back: list[WrongRow], *, dry_run: bool) -> None:
    code = "cli.people.would_import" if dry_run else "cli.people.imported"
    desk.say(
        code, file=sheet.file, new=done.new, changed=done.changed, unchanged=done.unchanged, photos=done.photos_new
    )
    if done.without_photo:
        desk.say("cli.people.without_photo", count=done.without_photo)
    for kind, rows in (("cli.people.back", back), ("cli.people.bad_photos", done.bad_photos)):
        if not rows:
            continue
        desk.say(kind, count=len(rows))
        for row in rows[:SHOWN_ROWS]:
            print(f"  {row.line.number:>6}  {answer_sheet.reasons(row, desk.lang)}")
        if len(rows) > SHOWN_ROWS:
            desk.say("cli.people.more", count=len(rows) - SHOWN_ROWS)


def _print_people(desk: Desk, page: Page) -> None:
    fields = ("citizen_number", "full_name", "birth_date", "agency_code", "title", "state")
    rows = [
        (
            person.citizen_number, person.full_name, person.birth_date, person.agency_code, person.title,
            desk.text(f"state.{person.state}"),
        )
        for person in page.people
    ]  # fmt: skip
    print_table([desk.text(f"field.{name}") for name in fields], rows)
    if page.following is not None:
        desk.say("cli.people.following", cursor=page.following)
