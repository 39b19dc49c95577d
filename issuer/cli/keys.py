"""`issuer keys`: make the keys of an installation, show them, publish the trust list, export the roots."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from issuer import database, outbox
from issuer.cli import anchors, crl, key_changes, key_moves
from issuer.cli.common import desk_of, print_table
from issuer.cli.officer import Exportable, OfficerFd, OfficerFile, OfficerName, key_room
from issuer.config import read_secret
from issuer.errors import Refused
from issuer.policy import Action, require_anywhere
from issuer.trust import ca, key_labels, moving, publication, revocation, rotation, setup, status, trust_list
from issuer.trust.connect import connect
from issuer.trust.port import Signing
from issuer.trust.setup import Roots

KEY_HEX_CHARS = (32, 48, 64)

app = typer.Typer(help="cli.group.keys", no_args_is_help=True)
app.command(help="cli.keys.rotate")(key_changes.rotate)
app.command(help="cli.keys.compromised")(key_changes.compromised)
app.command(help="cli.keys.wrap")(key_moves.wrap)
app.command(help="cli.keys.unwrap")(key_moves.unwrap)
app.command("load-kek", help="cli.keys.load_kek")(key_moves.load_kek)
app.add_typer(crl.app, name="crl")
app.add_typer(anchors.app, name="anchor")

Out = Annotated[Path | None, typer.Option(help="cli.keys.out")]


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="keys")


@app.command(help="cli.keys.init")
def init(
    context: typer.Context,
    agency: Annotated[list[str], typer.Option(help="cli.keys.agency")],
    roots: Annotated[int | None, typer.Option(min=1, max=16, help="cli.keys.roots")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, max=16, help="cli.keys.threshold")] = None,
    exportable: Exportable = False,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Make what is missing of all keys and publish a trust list."""
    desk = desk_of(context)
    made: list[str] = []
    wished = Roots(roots or 1, threshold or 1) if roots is not None or threshold is not None else None
    expected = setup.count_keys(roots or 1, len(agency))
    with (
        desk.progress("cli.keys.making") as progress,
        key_room(desk, officer, officer_pin_fd, officer_pin_file, makes_exportable=exportable) as ceremony,
    ):

        def on_key(label: str) -> None:
            made.append(label)
            progress(len(made), expected)

        setup.require_kinds(desk.factory, ceremony.capabilities())
        number = setup.init(
            desk.factory,
            ceremony,
            desk.actor,
            key_changes.agency_named(desk, desk.config.installation),
            [key_changes.agency_named(desk, code) for code in agency],
            wished,
            desk.config.status_list_bits,
            desk.now(),
            on_key,
            desk.config.public_url,
        )
        for kind in (ca.ROOT, ca.ISSUING):
            revocation.publish_due(desk.factory, ceremony, desk.now(), kind)
    outbox.poke(desk.config)
    for label in made:
        print(label)
    desk.say("cli.keys.trust_list", number=number)
    with database.reading(desk.factory) as session:
        has_one_root = len(trust_list.roots(session).keys) == 1
    if has_one_root:
        desk.say("cli.keys.one_root")


@app.command("list", help="cli.keys.list")
def list_keys(context: typer.Context) -> None:
    """Show every key of the HSM; no value leaves it."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    keys = connect(desk.config).keys()
    print_table(
        [desk.text(f"cli.keys.column.{name}") for name in ("label", "kind", "use", "scope", "state")],
        [(one.label, one.kind, one.use, " ".join(one.scope), one.state) for one in keys],
    )


@app.command("status", help="cli.keys.status")
def show_status(context: typer.Context) -> None:
    """Show the keys that a command which broke off has left, those that should sign no more, and what to type."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    hsm = connect(desk.config)
    with database.reading(desk.factory) as session:
        unused = key_labels.unused(session, hsm)
        over = rotation.over(session, desk.now())
        is_due = trust_list.is_due(session, desk.now())
        roots = [label for label, _ in revocation.due(session, desk.now()) if ca.find(session, label).kind == ca.ROOT]
    states = {one.label: one for one in hsm.keys()}  # noqa: SIM118 - a call, not a mapping
    working = [states[label] for label in over if label in states and states[label].state == key_labels.ACTIVE]
    rows = [(one, "cli.keys.unused") for one in unused] + [(one, "cli.keys.still_signs") for one in working]
    print_table(
        [desk.text(f"cli.keys.column.{name}") for name in ("label", "use", "what")],
        [(one.label, one.use, desk.text(code, label=one.label)) for one, code in rows],
    )
    if is_due:
        desk.say("cli.keys.due")
    for label in roots:
        desk.say("cli.keys.root_list_due", label=label)
    if not rows:
        desk.say("cli.keys.in_order")


@app.command("trust-list", help="cli.keys.trust_list_help")
def show_trust_list(
    context: typer.Context,
    publish: Annotated[bool, typer.Option("--publish", help="cli.keys.publish")] = False,
    new_status_list: Annotated[bool, typer.Option("--new-status-list", help="cli.keys.new_status_list")] = False,
    out: Out = None,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Say which trust list is in force; sign the next one with --publish."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    if publish or new_status_list:
        now = desk.now()

        def change(session: Session, hsm: Signing) -> None:
            if new_status_list:
                status.create_list(session, desk.config.status_list_bits, now)

        with key_room(desk, officer, officer_pin_fd, officer_pin_file) as ceremony:
            publication.publish(desk.factory, ceremony, now, change)
            ended = rotation.sweep(desk.factory, ceremony, now)
        if ended:
            desk.say("cli.keys.swept", labels=" ".join(ended))
        outbox.poke(desk.config)
    with database.reading(desk.factory) as session:
        number, body = trust_list.current_number(session), trust_list.current(session)
        is_due = trust_list.is_due(session, desk.now())
    if out is not None:
        out.write_bytes(body)
    desk.say("cli.keys.trust_list", number=number)
    if is_due:
        desk.say("cli.keys.due")


@app.command("export-root", help="cli.keys.export_root")
def export_root(
    context: typer.Context, out: Out = None, links: Annotated[bool, typer.Option(help="cli.keys.links")] = False
) -> None:
    """Print the root certificate (PEM), for the trust stores of others; with --links what leads to it from others."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        pem = ca.root_pem(session, desk.now()) + (ca.links_pem(session) if links else b"")
    if out is None:
        print(pem.decode("ascii"), end="")
    else:
        out.write_bytes(pem)


@app.command("export-chain", help="cli.keys.export_chain")
def export_chain(
    context: typer.Context, agency: Annotated[str, typer.Argument(help="cli.keys.agency")], out: Out = None
) -> None:
    """Print the issuing authority of an agency and the root (PEM)."""
    desk = desk_of(context)
    with database.reading(desk.factory) as session:
        pem = ca.chain_pem(session, agency, desk.now())
    if out is None:
        print(pem.decode("ascii"), end="")
    else:
        out.write_bytes(pem)


@app.command("load-transport", help="cli.keys.load_transport")
def load_transport(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="cli.keys.label")],
    keys_fd: Annotated[int | None, typer.Option("--keys-fd", help="cli.keys.keys_fd")] = None,
    keys_file: Annotated[Path | None, typer.Option("--keys-file", help="cli.keys.keys_file")] = None,
    wrapped: Annotated[Path | None, typer.Option("--wrapped", help="cli.keys.wrapped_set")] = None,
    kek: Annotated[str | None, typer.Option("--with", help="cli.keys.with_kek")] = None,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Load the transport keys of a delivery of blanks: a line of hex, ENC MAC DEK, or as the maker enciphered them."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    if wrapped is not None or kek is not None:
        if wrapped is None or kek is None or keys_fd is not None or keys_file is not None:
            raise Refused("keys.wrapped_with")
        enciphered = key_moves.read_set(wrapped)
        with key_room(desk, officer, officer_pin_fd, officer_pin_file) as ceremony:
            moving.receive_transport(desk.factory, ceremony, desk.actor, enciphered, kek, label, desk.now())
        desk.say("cli.keys.transport_loaded", label=label)
        return
    words = read_secret(keys_fd, keys_file).text.split()
    if len(words) != 3 or len({len(word) for word in words}) != 1 or len(words[0]) not in KEY_HEX_CHARS:
        raise Refused("keys.bad_transport")
    try:
        enc, mac, dek = (bytes.fromhex(word) for word in words)
    except ValueError as error:
        raise Refused("keys.bad_transport") from error
    with (
        key_room(desk, officer, officer_pin_fd, officer_pin_file) as ceremony,
        database.transaction(desk.factory) as session,
    ):
        setup.load_transport(session, ceremony, desk.actor, label, (enc, mac, dek), desk.now())
    desk.say("cli.keys.transport_loaded", label=label)
