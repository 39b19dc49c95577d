"""`blank`, `clone`, `inspect`, `maker`: cards in their files, and who made them."""

import argparse
import errno
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from cardlink.gp.scp03 import OPTIONS
from cardos.card import Card
from cardos.cli.parser import Commands
from cardos.cli.secrets import given_secret, secret_of, transport_keys_of
from cardos.errors import Failed
from cardos.factory import make_blank
from cardos.faults import clone
from cardos.image import FileStore
from cardos.maker_file import FILE_NAME, open_maker
from cardos.messages.catalogue import Texts
from cardos.picture import as_text, view_of
from cardos.picture_svg import as_html, as_svg
from cardos.records import DEFAULT_OPTION
from cardos.sealing import decode_hex, make_secret, secret_path
from cardos.state import Persistent

BATCH_BYTES = 2
_OPTIONS = " ".join(f"{one:02X}" for one in sorted(OPTIONS))


def attach(commands: Commands) -> None:
    """Add these commands."""
    say = commands.texts
    blank = commands.add("blank", _blank)
    commands.image(blank)
    blank.add_argument("--serial", required=True, metavar="HEX", help=say("help.blank.serial"))
    commands.transport_keys(blank, required=True)
    blank.add_argument("--maker", type=Path, help=say("help.blank.maker", default=FILE_NAME))
    blank.add_argument(
        "--scp03",
        metavar="HEX",
        default=f"{DEFAULT_OPTION:02X}",
        help=say("help.blank.scp03", default=f"{DEFAULT_OPTION:02X}", all=_OPTIONS),
    )
    maker = commands.add("maker", _maker)
    maker.add_argument("--maker", type=Path, required=True, help=say("help.maker.maker"))
    maker.add_argument("--batch", required=True, metavar="HEX", help=say("help.maker.batch"))
    copy = commands.add("clone", _clone)
    commands.image(copy)
    copy.add_argument("--out", type=Path, required=True, help=say("help.clone.out"))
    look = commands.add("inspect", _inspect)
    commands.image(look)
    look.add_argument("--svg", type=Path, help=say("help.inspect.svg"))
    look.add_argument("--html", type=Path, help=say("help.inspect.html"))


def _blank(options: argparse.Namespace, texts: Texts) -> int:
    serial = decode_hex(options.serial, "serial")
    keys = transport_keys_of(options)
    option = decode_hex(options.scp03, "SCP03 option")
    if len(option) != 1 or option[0] not in OPTIONS:
        raise Failed("scp.none", option=options.scp03, all=_OPTIONS)
    if options.image.exists():
        raise FileExistsError(errno.EEXIST, "", str(options.image))
    maker = open_maker(options.maker or options.image.with_name(FILE_NAME), datetime.now(UTC))
    records = make_blank(serial, keys, option[0], maker)
    _create(options.image, given_secret(options), records)
    print(texts("done.blank", image=options.image, serial=serial.hex().upper()))
    return 0


def _maker(options: argparse.Namespace, texts: Texts) -> int:
    batch = decode_hex(options.batch, "batch")
    if len(batch) != BATCH_BYTES:
        raise Failed("maker.batch", bytes=len(batch))
    if not options.maker.exists():
        raise FileNotFoundError(errno.ENOENT, "", str(options.maker))
    maker = open_maker(options.maker, datetime.now(UTC))
    for certificate in (maker.batch(int.from_bytes(batch, "big")), maker.root()):
        sys.stdout.write(certificate.public_bytes(Encoding.PEM).decode("ascii"))
    return 0


def _clone(options: argparse.Namespace, texts: Texts) -> int:
    store = FileStore(options.image, secret_of(options))
    records = clone(Card(store))
    store.close()
    if options.out.exists():
        raise FileExistsError(errno.EEXIST, "", str(options.out))
    _create(options.out, None, records)
    print(texts("done.clone", out=options.out, image=options.image))
    return 0


def _create(image: Path, secret: bytes | None, records: Mapping[bytes, bytes]) -> None:
    """Write a new card, and a secret beside it where none is given; no secret stays without its card."""
    made = make_secret(image) if secret is None else secret
    try:
        FileStore.create(image, made, records).close()
    except OSError:
        if secret is None and not image.exists():
            secret_path(image).unlink()
        raise


def _inspect(options: argparse.Namespace, texts: Texts) -> int:
    store = FileStore(options.image, secret_of(options))
    view = view_of(Persistent(store), options.image.stem, texts, datetime.now(UTC))
    store.close()
    if options.svg is not None:
        options.svg.write_text(as_svg(view, texts), encoding="utf-8")
        print(texts("done.picture", path=options.svg))
    if options.html is not None:
        options.html.write_text(as_html(view, texts), encoding="utf-8")
        print(texts("done.picture", path=options.html))
    if options.svg is None and options.html is None:
        sys.stdout.write(as_text(view, texts))
    return 0
