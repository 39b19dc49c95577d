"""`issuer doors`: make doors known, say who may enter when, see what they have confirmed."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from issuer import database, outbox
from issuer.access import alarms, bundles, doors, enrolment, log, receipts, rules
from issuer.access.doors import DoorPlan
from issuer.access.rules import Effect, RulePlan
from issuer.cli.common import Desk, desk_of, print_table, read_day
from issuer.days import LOCAL
from issuer.errors import Refused
from issuer.registry import people
from issuer.trust import status, trust_list
from issuer.trust.connect import connect

app = typer.Typer(help="cli.group.doors", no_args_is_help=True)
rule_app = typer.Typer(help="cli.group.rules", no_args_is_help=True)
app.add_typer(rule_app, name="rule")

DoorName = Annotated[str, typer.Argument(help="cli.doors.door")]
WHOLE_NUMBERS = ("unlock_ms", "budget_ms", "flag_stale_s", "deny_stale_s", "anti_passback")


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="doors")


@app.command(help="cli.doors.add")
def add(
    context: typer.Context,
    name: DoorName,
    owner: Annotated[str, typer.Option(help="cli.doors.owner")],
    place: Annotated[str, typer.Option(help="cli.doors.place")] = "",
    area: Annotated[str, typer.Option(help="cli.doors.area")] = "",
    level: Annotated[int, typer.Option(min=0, max=2, help="cli.doors.level")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="cli.doors.set")] = None,
) -> None:
    """Make a door known and print its one-time enrolment code."""
    desk = desk_of(context)
    plan = DoorPlan(name, place, area, level, owner, dict(_setting(one) for one in setting or ()))
    with database.transaction(desk.factory) as session:
        door = doors.add(session, desk.actor, plan, desk.now())
        code = doors.new_code(session, desk.actor, door.id, desk.now())
        _say_code(desk, door.name, door.id, code, enrolment.fingerprint(trust_list.roots(session)))


@app.command("list", help="cli.doors.list")
def list_doors(context: typer.Context) -> None:
    """Show the doors, whether they are enrolled, and when they were heard of."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        rows = [
            (door.id, door.name, door.place, door.owner_agency, door.level, door.enrolled_at, door.last_seen,
             door.bundle_seq)
            for door in doors.doors(session, desk.actor)
        ]  # fmt: skip
    names = ("id", "name", "place", "owner", "level", "enrolled", "last_seen", "bundle")
    print_table([desk.text(f"cli.doors.column.{name}") for name in names], rows)


@app.command("enrol-code", help="cli.doors.enrol_code")
def enrol_code(context: typer.Context, door: DoorName) -> None:
    """Print a new one-time enrolment code; an older one of this door dies."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        found = doors.named(session, desk.actor, door)
        code = doors.new_code(session, desk.actor, found.id, desk.now())
        _say_code(desk, found.name, found.id, code, enrolment.fingerprint(trust_list.roots(session)))


@app.command(help="cli.doors.retire")
def retire(context: typer.Context, door: DoorName) -> None:
    """Take a door out of service."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        found = doors.named(session, desk.actor, door)
        doors.retire(session, desk.actor, found.id, desk.now())
        desk.say("cli.doors.retired", name=found.name)


@rule_app.command("add", help="cli.doors.rule.add")
def add_rule(
    context: typer.Context,
    door: DoorName,
    person: Annotated[list[str] | None, typer.Option(help="cli.doors.rule.person")] = None,
    agency: Annotated[list[str] | None, typer.Option(help="cli.doors.rule.agency")] = None,
    deny: Annotated[bool, typer.Option("--deny", help="cli.doors.rule.deny")] = False,
    calendar: Annotated[str | None, typer.Option(help="cli.doors.rule.calendar")] = None,
    valid_from: Annotated[str | None, typer.Option("--from", help="cli.doors.rule.from")] = None,
    valid_until: Annotated[str | None, typer.Option("--until", help="cli.doors.rule.until")] = None,
) -> None:
    """Give a door a rule and publish its bundle."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        found = doors.named(session, desk.actor, door)
        plan = RulePlan(
            effect=Effect.DENY if deny else Effect.ALLOW,
            people=tuple(_person(session, desk, one) for one in person or ()),
            agencies=tuple(agency or ()),
            calendar=calendar,
            valid_from=None if valid_from is None else _midnight(read_day(valid_from)),
            valid_until=None if valid_until is None else _midnight(read_day(valid_until) + timedelta(days=1)),
        )
        rule = rules.add(session, desk.actor, found.id, plan, desk.now())
        made = bundles.publish(session, connect(desk.config), found.id, desk.now())
        told = {"rule": rule.id, "name": found.name, "seq": made.seq}
    outbox.poke(desk.config)
    desk.say("cli.doors.rule.added", **told)


@rule_app.command("list", help="cli.doors.rule.list")
def list_rules(context: typer.Context, door: DoorName) -> None:
    """Show the rules of a door."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        found = rules.rules(session, desk.actor, doors.named(session, desk.actor, door).id)
    names = ("rule", "effect", "people", "agencies", "calendar", "from", "until")
    print_table(
        [desk.text(f"cli.doors.column.{name}") for name in names],
        [
            (
                one.id,
                desk.text(f"rule.effect.{one.effect.name.lower()}"),
                ", ".join(name for _, name in one.people),
                ", ".join(one.agencies),
                one.calendar,
                one.valid_from,
                one.valid_until,
            )
            for one in found
        ],
    )


@rule_app.command("remove", help="cli.doors.rule.remove")
def remove_rule(context: typer.Context, rule: Annotated[int, typer.Argument(help="cli.doors.rule.number")]) -> None:
    """Take a rule away and publish the door's bundle."""
    desk = desk_of(context)
    with database.transaction(desk.factory) as session:
        door_id = rules.remove(session, desk.actor, rule, desk.now())
        made = bundles.publish(session, connect(desk.config), door_id, desk.now())
        told = {"rule": rule, "seq": made.seq}
    outbox.poke(desk.config)
    desk.say("cli.doors.rule.removed", **told)


@app.command(help="cli.doors.publish")
def publish(
    context: typer.Context, door: Annotated[str | None, typer.Argument(help="cli.doors.door_or_all")] = None
) -> None:
    """Publish the bundle of one door or of all; what says nothing new is not made again."""
    desk = desk_of(context)
    hsm = connect(desk.config)
    with database.transaction(desk.factory) as session:
        chosen = doors.doors(session, desk.actor) if door is None else [doors.named(session, desk.actor, door)]
        managed = [doors.managed(session, desk.actor, one.id).id for one in chosen]
        made = [bundles.publish(session, hsm, door_id, desk.now()) for door_id in managed]
    outbox.poke(desk.config)
    desk.say("cli.doors.published", new=sum(one.is_new for one in made), total=len(made))


@app.command(help="cli.doors.confirmations")
def confirmations(
    context: typer.Context,
    seq: Annotated[int | None, typer.Option(min=0, help="cli.doors.seq")] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="cli.doors.epoch")] = None,
) -> None:
    """Say which doors have applied the status feed, up to its end or to a number. Exit 1 while one has not."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        head = status.head(session)
        told = receipts.confirmations(session, epoch or head.epoch, head.seq if seq is None else seq)
    names = ("name", "place", "confirmed", "position", "at", "last_seen")
    print_table(
        [desk.text(f"cli.doors.column.{name}") for name in names],
        [
            (
                one.name,
                one.place,
                desk.text("cli.doors.yes" if one.is_confirmed else "cli.doors.no"),
                None if one.position is None else f"{one.position.epoch}.{one.position.seq}",
                one.at,
                one.last_seen,
            )
            for one in told.doors
        ],
    )
    if told.confirmed < told.total:
        raise Refused("door.not_all_confirmed", confirmed=told.confirmed, total=told.total)
    desk.say("cli.doors.confirmed", confirmed=told.confirmed, total=told.total)


@app.command(help="cli.doors.events")
def events(
    context: typer.Context,
    door: Annotated[str | None, typer.Option(help="cli.doors.door")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="cli.doors.limit")] = 30,
) -> None:
    """Show the newest events of the doors."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        wanted = log.EventFilter(None if door is None else doors.named(session, desk.actor, door).id)
        found = log.page(session, desk.actor, wanted, limit=limit)
    names = ("number", "at", "name", "kind", "decision", "reason", "person", "milliseconds")
    print_table(
        [desk.text(f"cli.doors.column.{name}") for name in names],
        [
            (one.id, one.at, one.door_name, one.kind, one.decision, one.reason, one.person_name or one.card_uuid,
             one.elapsed_us // 1000)
            for one in found
        ],
    )  # fmt: skip


@app.command("alarms", help="cli.doors.alarms")
def list_alarms(context: typer.Context) -> None:
    """Show the alarms that nobody has looked at."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        rows = [
            (alarm.id, alarm.at, door.name, desk.text(f"alarm.{alarm.kind}"), alarm.facts)
            for alarm, door in alarms.waiting(session, desk.actor)
        ]
    names = ("number", "at", "name", "alarm", "facts")
    print_table([desk.text(f"cli.doors.column.{name}") for name in names], rows)


def _setting(text: str) -> tuple[str, object]:
    """Read NAME=VALUE; mechanisms are numbers joined by commas."""
    name, equals, value = text.partition("=")
    if not equals:
        raise Refused("door.bad_setting", name=text, value="")
    try:
        if name == "mechanisms":
            return name, [int(one) for one in value.split(",")]
        return name, int(value) if name in WHOLE_NUMBERS else value
    except ValueError as error:
        raise Refused("door.bad_setting", name=name, value=value) from error


def _person(session: Session, desk: Desk, text: str) -> uuid.UUID:
    """A person by UUID or citizen number."""
    try:
        return people.get(session, desk.actor, uuid.UUID(text)).id
    except ValueError:
        return people.by_number(session, desk.actor, text).id


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=LOCAL).astimezone(UTC)


def _say_code(desk: Desk, name: str, door_id: uuid.UUID, code: str, fingerprint: str) -> None:
    days = doors.CODE_LIFE.days
    desk.say("cli.doors.code", name=name, door=door_id, code=code, fingerprint=fingerprint, days=days)
