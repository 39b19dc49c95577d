"""`issuer keys crl`: publish revocation lists, show them, write them to files for who has no network."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from asn1crypto import pem

from cardlink.statements.trust import KeyState
from issuer import database
from issuer.cli.common import Desk, desk_of, print_table
from issuer.cli.officer import OfficerFd, OfficerFile, OfficerName, key_room
from issuer.policy import Action, require_anywhere
from issuer.trust import ca, ocsp_responder, paths, revocation
from issuer.trust.connect import connect
from issuer.trust.crl import Kind
from issuer.trust.port import Signing
from issuer.trust.revocation import Published
from issuer.trust.tables import AuthorityRow

app = typer.Typer(help="cli.group.crl", no_args_is_help=True)


@app.command(help="cli.crl.publish")
def publish(
    context: typer.Context,
    label: Annotated[str | None, typer.Argument(help="cli.crl.label")] = None,
    full: Annotated[bool, typer.Option("--full", help="cli.crl.full")] = False,
    root: Annotated[bool, typer.Option("--root", help="cli.crl.root")] = False,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Publish what is due, or the lists of one authority now; the root's list takes the security officer."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    with database.transaction(desk.factory) as session:
        revocation.settle_url(session, desk.config.public_url)
    if root:
        with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
            made = _of_root(desk, hsm, desk.now())
    elif label is None:
        made = publish_due(desk, connect(desk.config), desk.now())
    else:
        kind = Kind.FULL if full else Kind.DELTA
        made = revocation.publish(desk.factory, connect(desk.config), label, kind, desk.now())
    for one in made:
        desk.say("cli.crl.published", label=one.label, kind=one.kind, number=one.number, entries=one.entries)


def publish_due(desk: Desk, hsm: Signing, now: datetime) -> list[Published]:
    """What the feed does by itself while it runs."""
    ocsp_responder.renew(desk.factory, hsm, now)
    return revocation.publish_due(desk.factory, hsm, now)


def _of_root(desk: Desk, hsm: Signing, now: datetime) -> list[Published]:
    """The list of each root that counts: a replaced one goes on with its own until its end."""
    with database.reading(desk.factory) as session:
        labels = [label for label in ca.labels(session) if _signs_as_root(ca.find(session, label), now)]
    return [one for label in labels for one in revocation.publish(desk.factory, hsm, label, Kind.FULL, now)]


def _signs_as_root(row: AuthorityRow, now: datetime) -> bool:
    return row.kind == ca.ROOT and row.state != KeyState.COMPROMISED and now < row.not_after


@app.command("list", help="cli.crl.list")
def list_lists(context: typer.Context) -> None:
    """Show the lists in force, and which are due."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        held = revocation.described(session)
        due = {label for label, _ in revocation.due(session, desk.now())}
    columns = ("label", "kind", "number", "entries", "this_update", "next_update", "due")
    print_table(
        [desk.text(f"cli.crl.column.{name}") for name in columns],
        [
            (
                *(one.label, one.kind, one.number, one.entries, one.this_update, one.next_update),
                desk.text("cli.crl.yes") if one.label in due else None,
            )
            for one in held
        ],
    )
    for label in sorted(due - {one.label for one in held}):
        desk.say("cli.crl.none_yet", label=label)


@app.command(help="cli.crl.check")
def check(
    context: typer.Context, certificate: Annotated[Path, typer.Argument(help="cli.crl.certificate", dir_okay=False)]
) -> None:
    """Judge a certificate (PEM or DER) by its path to a root of ours and by the lists in force."""
    desk = desk_of(context)
    raw = certificate.read_bytes()
    der = pem.unarmor(raw)[2] if pem.detect(raw) else raw
    with database.reading(desk.factory) as session:
        roots, chain = ca.roots(session), ca.chain(session)
        lists = [revocation.find(session, one.label, one.kind).body for one in revocation.described(session)]
    paths.validate([der], chain, roots, desk.now(), lists)
    desk.say("cli.crl.good")


@app.command(help="cli.crl.export")
def export(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="cli.crl.folder", file_okay=False)]
) -> None:
    """Write every list and every authority's certificate into a folder, as /crl serves them."""
    desk = desk_of(context)
    (folder / "delta").mkdir(parents=True, exist_ok=True)
    with database.reading(desk.factory) as session:
        for one in revocation.described(session):
            where = folder if one.kind is Kind.FULL else folder / "delta"
            path = where / f"{one.label}.crl"
            path.write_bytes(revocation.find(session, one.label, one.kind).body)
            print(path)
        for authority in (ca.find(session, label) for label in ca.labels(session)):
            if authority.kind == ca.ROOT and authority.state == KeyState.COMPROMISED:
                continue
            path = folder / f"{authority.label}.cer"
            path.write_bytes(authority.certificate)
            print(path)
        for row in ca.others(session):
            path = folder / f"{row.label}.by-{row.issuer_label}.cer"
            path.write_bytes(row.certificate)
            print(path)
