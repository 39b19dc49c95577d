"""`issuer cards`: from the request to the card in hand, Khóa thẻ, and the end of a card."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from sqlalchemy.orm import Session

from cardlink.errors import LinkLost
from cardlink.transport.connection import Connection
from cardlink.transport.pcsc import Reader, find_reader
from issuer import database, outbox
from issuer.audit import refusals
from issuer.cards import blocking, lifecycle, personalise, profiles, queries
from issuer.cards.blocking import AwaitsSecondPerson, BlockReason
from issuer.cards.face import draw_faces
from issuer.cards.face_data import face_data
from issuer.cards.makers import read_makers
from issuer.cards.personalise import Spoiled
from issuer.cards.profiles import CardProfile
from issuer.cards.queries import Filter
from issuer.cards.run import Progress, Report, run
from issuer.cards.states import CardState, Form, Kind
from issuer.cards.tables import Card, CardRequest
from issuer.cli.common import Desk, desk_of, print_table
from issuer.errors import Forbidden, NotFound, Refused
from issuer.registry import freshness, people
from issuer.registry.tables import Person
from issuer.trust.connect import allocator, connect

app = typer.Typer(help="cli.group.cards", no_args_is_help=True)

CardName = Annotated[str, typer.Argument(help="cli.cards.card")]
CardNames = Annotated[list[str], typer.Argument(help="cli.cards.card")]
RequestId = Annotated[uuid.UUID, typer.Argument(help="cli.cards.request_id")]
Why = Annotated[str, typer.Option("--reason", help="cli.cards.reason")]
AgencyCode = Annotated[str | None, typer.Option(help="cli.cards.agency")]


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="cards")


@app.command(help="cli.cards.request")
def request(
    context: typer.Context,
    number: Annotated[str | None, typer.Argument(help="cli.cards.number")] = None,
    agency: AgencyCode = None,
    form: Annotated[Form, typer.Option(help="cli.cards.form")] = Form.CHIP,
    kind: Annotated[Kind, typer.Option(help="cli.cards.kind")] = Kind.NEW,
    reason: Why = "",
) -> None:
    """Ask for a card: for one person, or for everybody of an agency who may get one and has none."""
    desk = desk_of(context)
    if (number is None) == (agency is None):
        raise Refused("cards.one_or_agency")
    if number is not None:
        with _use_case(desk) as session:
            person = people.by_number(session, desk.actor, number)
            made = lifecycle.request_card(session, desk.actor, person.id, form, desk.now(), kind=kind, reason=reason)
        print(made.id)
        return
    with database.reading(desk.factory) as session:
        everybody = people.keys(session, desk.actor, agency)
        held = queries.current_cards(session, everybody)
        fit = [person.id for person, found in freshness.findings_of(session, everybody, desk.now()) if not found]

    def ask(session: Session, person_id: uuid.UUID) -> uuid.UUID:
        return lifecycle.request_card(session, desk.actor, person_id, form, desk.now(), kind=kind, reason=reason).id

    each(desk, "cli.cards.requesting", [one for one in fit if one not in held], ask)


@app.command(help="cli.cards.approve")
def approve(
    context: typer.Context,
    request_id: Annotated[uuid.UUID | None, typer.Argument(help="cli.cards.request_id")] = None,
    agency: AgencyCode = None,
    reason: Why = "",
) -> None:
    """Approve one request, or all that wait in an agency."""
    desk = desk_of(context)
    if (request_id is None) == (agency is None):
        raise Refused("cards.one_or_agency")

    def decide(session: Session, one: uuid.UUID) -> uuid.UUID:
        return lifecycle.approve(session, desk.actor, one, desk.now(), reason).id

    waiting = [request_id] if request_id is not None else _waiting(desk, CardState.REQUESTED, agency)
    each(desk, "cli.cards.approving", waiting, decide)


@app.command(help="cli.cards.reject")
def reject(context: typer.Context, request_id: RequestId, reason: Why) -> None:
    """Turn a request down."""
    desk = desk_of(context)
    with _use_case(desk) as session:
        lifecycle.reject(session, desk.actor, request_id, reason, desk.now())
    desk.say("cli.cards.rejected", request=request_id)


@app.command(help="cli.cards.cancel")
def cancel(context: typer.Context, request_id: RequestId, reason: Why = "") -> None:
    """Take a request back."""
    desk = desk_of(context)
    with _use_case(desk) as session:
        lifecycle.cancel(session, desk.actor, request_id, reason, desk.now())
    desk.say("cli.cards.cancelled", request=request_id)


@app.command(help="cli.cards.allocate")
def allocate(
    context: typer.Context,
    request_id: Annotated[uuid.UUID | None, typer.Argument(help="cli.cards.request_id")] = None,
    agency: AgencyCode = None,
    serial: Annotated[str | None, typer.Option(help="cli.cards.serial")] = None,
) -> None:
    """Make a card of an approved request, or of all in an agency: UUID, status, QR, and a blank for a chip."""
    desk = desk_of(context)
    if (request_id is None) == (agency is None):
        raise Refused("cards.one_or_agency")
    hsm, jobs = connect(desk.config), allocator(desk.config)

    def make(session: Session, one: uuid.UUID) -> uuid.UUID:
        blank = None if serial is None else serial.upper()
        url = desk.config.verify_url
        return lifecycle.allocate(session, hsm, desk.actor, one, blank, url, desk.now(), jobs).uuid

    waiting = [request_id] if request_id is not None else _waiting(desk, CardState.APPROVED, agency)
    each(desk, "cli.cards.allocating", waiting, make)
    outbox.poke(desk.config)


@app.command(help="cli.cards.encode")
def encode(
    context: typer.Context,
    card: CardName,
    reader: Annotated[str, typer.Option(help="cli.cards.reader")],
    product: Annotated[str | None, typer.Option(help="cli.cards.product")] = None,
) -> None:
    """Encode the blank in a reader; a torn one goes on where it stopped."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        found = queries.named(session, desk.actor, card)
        begun = personalise.begun_as(session, found.id)
    profile = profiles.named(product or begun or desk.config.card_product)
    try:
        with Reader(find_reader(reader)) as opened, opened.connect() as connection, connection.transaction():
            report = _encode(desk, found, profile, connection)
    except LinkLost as lost:
        raise Refused("cards.torn", card=str(found.uuid), why=lost.why) from lost
    outbox.poke(desk.config)
    if isinstance(report.outcome, Spoiled):
        raise Refused("cards.spoiled", card=str(found.uuid), why=report.outcome.reason)
    tally = report.tally
    desk.say(
        "cli.cards.encoded",
        card=found.uuid,
        exchanges=tally.exchanges,
        sent=tally.bytes_sent,
        received=tally.bytes_received,
    )


@app.command("allow-pin", help="cli.cards.allow_pin")
def allow_pin(context: typer.Context, cards: CardNames) -> None:
    """Let the PINs of these cards be printed within a quarter of an hour, where the allocator's PIN is at hand."""
    desk = desk_of(context)
    jobs = allocator(desk.config)
    if jobs is None:
        raise Refused("cards.no_allocator")
    for card in cards:
        with _use_case(desk) as session:
            found = queries.named(session, desk.actor, card)
            personalise.allow_pin(session, jobs, desk.actor, found.id, desk.now())
        desk.say("cli.cards.pin_allowed", card=found.uuid)


@app.command(help="cli.cards.pin")
def pin(context: typer.Context, card: CardName) -> None:
    """Print the PIN of an encoded card, once, for its letter."""
    desk = desk_of(context)
    hsm, jobs = connect(desk.config), allocator(desk.config)
    with _use_case(desk) as session:
        found = queries.named(session, desk.actor, card)
        print(personalise.reveal_pin(session, hsm, desk.actor, found.id, desk.now(), jobs))


@app.command(help="cli.cards.faces")
def faces(
    context: typer.Context,
    cards: CardNames,
    out: Annotated[Path, typer.Option(help="cli.cards.faces_out")] = Path(),
) -> None:
    """Draw both faces of each card as PNG files of printer resolution."""
    desk = desk_of(context)
    out.mkdir(parents=True, exist_ok=True)
    for card in cards:
        with database.reading(desk.factory) as session:
            found = queries.named(session, desk.actor, card)
            drawn = draw_faces(face_data(session, found.id))
        for side in ("front", "back"):
            file = out / f"{found.uuid}-{side}.png"
            file.write_bytes(drawn.png(side))
            print(file)


@app.command(help="cli.cards.activate")
def activate(context: typer.Context, cards: CardNames) -> None:
    """Note that cards were printed, checked and handed over, one after the other; from now on they count."""
    desk = desk_of(context)
    hsm = connect(desk.config)
    for card in cards:
        with _use_case(desk) as session:
            found = queries.named(session, desk.actor, card)
            lifecycle.activate(session, hsm, desk.actor, found.id, desk.now())
        outbox.poke(desk.config)
        desk.say("cli.cards.activated", card=found.uuid)


@app.command(help="cli.cards.block")
def block(
    context: typer.Context,
    card: CardName,
    reason: Annotated[BlockReason, typer.Option(help="cli.cards.block_reason")],
    note: Annotated[str, typer.Option(help="cli.cards.note")] = "",
) -> None:
    """Khóa thẻ: stop a card at every door, at once."""
    desk = desk_of(context)
    with _use_case(desk) as session:
        found = queries.named(session, desk.actor, card)
        hsm = connect(desk.config)
        changed = blocking.block(session, hsm, desk.actor, found.id, reason, desk.now(), note)
    outbox.poke(desk.config)
    desk.say("cli.cards.blocked", card=found.uuid, seq=changed.position.seq)


@app.command(help="cli.cards.unblock")
def unblock(context: typer.Context, card: CardName) -> None:
    """Take a block back: alone within ten minutes of one's own, later with a second person."""
    desk = desk_of(context)
    with _use_case(desk) as session:
        found = queries.named(session, desk.actor, card)
        answer = blocking.unblock(session, connect(desk.config), desk.actor, found.id, desk.now())
    if isinstance(answer, AwaitsSecondPerson):
        desk.say("cli.cards.awaits_second", card=found.uuid)
        return
    outbox.poke(desk.config)
    desk.say("cli.cards.unblocked", card=found.uuid, seq=answer.position.seq)


@app.command(help="cli.cards.revoke")
def revoke(context: typer.Context, card: CardName, reason: Why) -> None:
    """End a card for good."""
    desk = desk_of(context)
    with _use_case(desk) as session:
        found = queries.named(session, desk.actor, card)
        changed = blocking.revoke(session, connect(desk.config), desk.actor, found.id, reason, desk.now())
    outbox.poke(desk.config)
    desk.say("cli.cards.revoked", card=found.uuid, seq=changed.position.seq)


@app.command("list", help="cli.cards.list")
def list_cards(
    context: typer.Context,
    state: Annotated[CardState | None, typer.Option(help="cli.option.only_state")] = None,
    agency: AgencyCode = None,
    requests: Annotated[bool, typer.Option("--requests", help="cli.cards.requests")] = False,
) -> None:
    """Show cards, or requests, newest first."""
    desk = desk_of(context)
    wanted = Filter(state=state, agency=agency)
    rows: list[tuple[Card | CardRequest, Person, uuid.UUID, object]] = []
    with database.reading(desk.factory) as session:
        if requests:
            kind, last, states = "request", "requested_at", "page.request.state"
            asked = queries.requests(session, desk.actor, wanted).rows
            rows += [(one, who, one.id, one.requested_at) for one, who in asked]
        else:
            kind, last, states = "card", "expires_on", "card.state"
            made = queries.cards(session, desk.actor, wanted).rows
            rows += [(one, who, one.uuid, one.expires_on) for one, who in made]
    names = (kind, "person", "agency", "form", "state", last)
    print_table(
        [desk.text(f"cli.cards.column.{name}") for name in names],
        [
            (
                key,
                who.full_name,
                one.agency_code,
                desk.text(f"page.card.form.{one.form}"),
                desk.text(f"{states}.{one.state}"),
                day,
            )
            for one, who, key, day in rows
        ],
    )


@app.command(help="cli.cards.show")
def show(context: typer.Context, card: CardName) -> None:
    """Show one card."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        found, person = queries.card(session, desk.actor, queries.named(session, desk.actor, card).id)
        rows = [
            ("card", found.uuid),
            ("person", person.full_name),
            ("identifier", found.identifier),
            ("form", desk.text(f"page.card.form.{found.form}")),
            ("state", desk.text(f"card.state.{found.state}")),
            ("state_reason", found.state_reason),
            ("serial", found.stock_serial),
            ("product", personalise.begun_as(session, found.id)),
            ("attested", personalise.attested_by(session, found.id)),
            ("status", f"{found.status_list} / {found.status_idx}"),
            ("issued_on", found.issued_on),
            ("expires_on", found.expires_on),
            ("key_hash", found.key_hash.hex() if found.key_hash else None),
        ]
    print_table(["", ""], [(desk.text(f"cli.cards.column.{name}"), value) for name, value in rows])


def _encode(desk: Desk, card: Card, profile: CardProfile, connection: Connection) -> Report:
    """Run a job with a bar on the terminal: the step's name, its number, exchanges and bytes."""
    hsm, makers = connect(desk.config), read_makers(desk.config.card_makers_file)
    with noting(desk):
        job = personalise.start(desk.factory, hsm, desk.actor, card.id, desk.now, profile, makers)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(desk.text("cli.cards.encoding"), total=len(job.plan.steps))

        def tell(progress: Progress) -> None:
            said = desk.text(
                "cli.cards.encoding_step",
                step=desk.text(f"card.step.{progress.act}"),
                exchanges=progress.tally.exchanges,
                bytes=progress.tally.bytes_sent + progress.tally.bytes_received,
            )
            bar.update(task, description=said, completed=progress.number)

        return run(connection, job, tell)


@contextmanager
def _use_case(desk: Desk) -> Iterator[Session]:
    """One transaction; what the actor may not do is rolled back and noted."""
    with noting(desk), database.transaction(desk.factory) as session:
        yield session


@contextmanager
def noting(desk: Desk) -> Iterator[None]:
    """Note what the actor tried and may not do."""
    try:
        yield
    except Forbidden as error:
        refusals.note(desk.factory, desk.actor, error, desk.now())
        raise


def _waiting(desk: Desk, state: CardState, agency: str | None) -> Sequence[uuid.UUID]:
    with database.reading(desk.factory) as session:
        found = queries.request_ids(session, desk.actor, state, agency)
    if not found:
        raise NotFound("cards.none_waiting", agency=agency or "*")
    return found


def each(desk: Desk, code: str, keys: Sequence[uuid.UUID], act: Callable[[Session, uuid.UUID], uuid.UUID]) -> None:
    """Do one transaction for each; what is refused is said and the others go on, unless there is only one."""
    refused = 0
    with desk.progress(code) as progress:
        for done, key in enumerate(keys, start=1):
            try:
                with _use_case(desk) as session:
                    print(act(session, key))
            except Refused as error:
                if len(keys) == 1:
                    raise
                refused += 1
                print(f"{key}: {desk.text(error.code, **error.facts)}", file=sys.stderr)
            progress(done, len(keys))
    if refused:
        raise Refused("cards.some_refused", count=refused, of=len(keys))
