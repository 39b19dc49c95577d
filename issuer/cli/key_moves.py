"""`issuer keys wrap`, `unwrap` and `load-kek`: keys that go to another HSM or come from one, enciphered."""

import errno
import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from issuer.cli.common import Desk, desk_of
from issuer.cli.officer import Exportable, OfficerFd, OfficerFile, OfficerName, key_room
from issuer.config import PKCS11, read_secret
from issuer.errors import Refused
from issuer.trust import moving
from issuer.trust.moving import MovedKey
from issuer.trust.port import CeremonyHsm

COMPONENT_HEX_CHARS = 64
Kek = Annotated[str, typer.Option("--with", help="cli.keys.with_kek")]


def wrap(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="cli.keys.label_of_key")],
    kek: Kek,
    out: Annotated[Path, typer.Option("--out", help="cli.keys.out_new")],
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Encipher a key that was made exportable, into a new file."""
    desk = desk_of(context)
    if out.exists():
        raise Refused("keys.cannot_write", path=out, why=os.strerror(errno.EEXIST))
    with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
        gone = moving.send(desk.factory, hsm, desk.actor, label, kek, desk.now())
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(gone.to_text())
    except OSError as error:
        raise Refused("keys.cannot_write", path=out, why=error.strerror or "") from error
    desk.say("cli.keys.wrapped", label=label, kek=kek, check=_shown(gone.check), file=out)


def unwrap(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="cli.keys.moved_file")],
    kek: Kek,
    label: Annotated[str | None, typer.Option(help="cli.keys.other_label")] = None,
    exportable: Exportable = False,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Take a key in from such a file."""
    desk = desk_of(context)
    moved = MovedKey.from_text(_read(file))
    with key_room(desk, officer, officer_pin_fd, officer_pin_file, makes_exportable=exportable) as hsm:
        info = moving.receive(desk.factory, hsm, desk.actor, moved, kek, label or moved.label, desk.now())
    desk.say(
        "cli.keys.unwrapped",
        label=info.label,
        kind=info.kind,
        use=info.use,
        scope=" ".join(info.scope) or "-",
        check=_shown(moved.check),
    )


def load_kek(
    context: typer.Context,
    label: Annotated[str, typer.Argument(help="cli.keys.label_of_key")],
    of: Annotated[int, typer.Option("--of", min=2, max=3, help="cli.keys.components")] = 2,
    component_file: Annotated[
        list[Path] | None, typer.Option("--component-file", help="cli.keys.component_file")
    ] = None,
    officer: OfficerName = "so",
    officer_pin_fd: OfficerFd = None,
    officer_pin_file: OfficerFile = None,
) -> None:
    """Put a key-encryption key together in a device that knows no persons: they come one after the other."""
    desk = desk_of(context)
    if desk.config.hsm_kind != PKCS11:
        raise Refused("keys.kek_by_officers", label=label)
    files = component_file or []
    if files and len(files) != of:
        raise Refused("keys.components", count=of)
    with key_room(desk, officer, officer_pin_fd, officer_pin_file) as hsm:
        for number in range(1, of + 1):
            _enter(desk, hsm, label, number, of, files[number - 1] if files else None)


def read_set(file: Path) -> bytes:
    """A transport set that a card maker enciphered, as hex: in one piece, or ENC, MAC and DEK one after the other."""
    try:
        return bytes.fromhex("".join(_read(file).split()))
    except ValueError as error:
        raise Refused("keys.bad_wrapped_set", file=file) from error


def _enter(desk: Desk, hsm: CeremonyHsm, label: str, number: int, of: int, file: Path | None) -> None:
    asked = desk.text("cli.keys.component_asked", number=number, count=of)
    typed = read_secret(None, file).text if file is not None else _typed(asked)
    try:
        component = bytes.fromhex(typed)
    except ValueError as error:
        raise Refused("keys.bad_component", chars=COMPONENT_HEX_CHARS) from error
    taken = moving.enter(desk.factory, hsm, desk.actor, label, (number, of), component, desk.now())
    desk.say("cli.keys.component_entered", number=number, count=of, check=_shown(taken.kcv))
    if taken.key_kcv:
        desk.say("cli.keys.kek_made", label=label, check=_shown(taken.key_kcv))


def _read(file: Path) -> str:
    """A text file. What is no text is no file of ours."""
    try:
        return file.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise Refused("keys.cannot_read", path=file, why=error.strerror or "") from error


def _typed(asked: str) -> str:
    """What a custodian types, not shown."""
    return getpass(f"{asked}: ") if sys.stdin.isatty() else sys.stdin.readline()


def _shown(check: bytes) -> str:
    return check.hex().upper()
