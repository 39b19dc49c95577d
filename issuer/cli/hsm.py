"""`issuer hsm`: which HSM holds the keys and what it does by itself; set the tokens of a PKCS#11 device up."""

from pathlib import Path
from typing import Annotated

import typer

from issuer.cli.common import Desk, desk_of, print_table
from issuer.config import PKCS11, read_secret
from issuer.errors import Refused
from issuer.policy import Action, require_anywhere
from issuer.trust.connect import connect
from issuer.trust.pkcs11_token import set_up
from issuer.trust.port import REVEAL_PIN, CapInForce

app = typer.Typer(help="cli.group.hsm", no_args_is_help=True)


def attach(parent: typer.Typer) -> None:
    """Hang these commands below `issuer`."""
    parent.add_typer(app, name="hsm")


@app.command(help="cli.hsm.status")
def status(context: typer.Context) -> None:
    """Say which HSM this is, and what of its work is done beside it or not at all."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    hsm = connect(desk.config)
    found, can = hsm.status(), hsm.capabilities()
    desk.say("cli.hsm.is", adapter=found.adapter, product=found.product)
    desk.say("cli.hsm.holds", keys=found.keys, pins=found.pending_pins)
    lacking = can.lacking()
    desk.say("cli.hsm.lacking" if lacking else "hsm.whole")
    print_table([desk.text(f"cli.hsm.column.{name}") for name in ("name", "text")], _lines(desk, lacking))
    caps = hsm.caps()
    if caps:
        desk.say("cli.hsm.caps")
        names = ("what", "per_second", "per_day", "today")
        print_table([desk.text(f"cli.hsm.column.{name}") for name in names], [_cap(desk, one) for one in caps])


@app.command("attest", help="cli.hsm.attest")
def attest(context: typer.Context) -> None:
    """Ask the HSM how it holds each key that the everyday login sees."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    hsm = connect(desk.config)
    keys = hsm.keys()
    found = [hsm.attest(one.label) for one in keys if one.state == "active"]
    words = {True: desk.text("cli.hsm.yes"), False: desk.text("cli.hsm.no")}
    print_table(
        [desk.text(f"cli.hsm.column.{name}") for name in ("label", "made", "kept")],
        [(one.label, words[one.is_made_inside], words[one.is_kept]) for one in found],
    )
    if not all(one.is_kept for one in found):
        raise Refused("hsm.key_not_kept")


@app.command("init-tokens", help="cli.hsm.init_tokens")
def init_tokens(
    context: typer.Context,
    so_pin_fd: Annotated[int | None, typer.Option("--so-pin-fd", help="cli.hsm.so_pin")] = None,
    so_pin_file: Annotated[Path | None, typer.Option("--so-pin-file", help="cli.hsm.so_pin")] = None,
    officer_pin_fd: Annotated[int | None, typer.Option("--officer-pin-fd", help="cli.keys.officer_pin_fd")] = None,
    officer_pin_file: Annotated[
        Path | None, typer.Option("--officer-pin-file", help="cli.keys.officer_pin_file")
    ] = None,
) -> None:
    """Set up the two tokens that the settings name, on slots whose token is not in use yet."""
    desk = desk_of(context)
    require_anywhere(desk.actor, Action.KEYS_MANAGE)
    config = desk.config
    if config.hsm_kind != PKCS11 or config.hsm_pkcs11_module is None:
        raise Refused("hsm.not_pkcs11")
    so_pin = read_secret(so_pin_fd, so_pin_file)
    wanted = [(config.hsm_pkcs11_token, read_secret(config.hsm_pin_fd, config.hsm_pin_file))]
    if config.hsm_pkcs11_root_token != config.hsm_pkcs11_token:
        wanted.append((config.hsm_pkcs11_root_token, read_secret(officer_pin_fd, officer_pin_file)))
    for label, pin in wanted:
        set_up(str(config.hsm_pkcs11_module), label, so_pin, pin)
        desk.say("cli.hsm.token_made", label=label)


def _cap(desk: Desk, one: CapInForce) -> tuple[str, str, str, int]:
    what = desk.text("cli.hsm.reveal_pin") if one.label == REVEAL_PIN else one.label
    most = [str(number) if number else desk.text("cli.hsm.no_limit") for number in (one.per_second, one.per_day)]
    return what, most[0], most[1], one.today


def _lines(desk: Desk, names: list[str]) -> list[tuple[str, str]]:
    return [(name, desk.text(f"lacks.{name}")) for name in names]
