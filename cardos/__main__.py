"""`cardos`: make a blank virtual card, put it into a virtual reader, look at it."""

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from cardlink.errors import Malformed
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.control import obey, run_control
from cardos.errors import ImageError, StoreFailed
from cardos.factory import make_blank
from cardos.faults import PROFILES, clone, torn_at_exchange
from cardos.image import SECRET_BYTES_MIN, FileStore
from cardos.maker_file import FILE_NAME, open_maker
from cardos.picture import picture
from cardos.state import Persistent
from cardos.trace import TRAFFIC, traced
from cardos.vpcd import CONTACT_PORT, CONTACTLESS_PORT, LOOPBACK, Answering, Slots

SECRET_BYTES = 32


class Failed(Exception):
    """The command can't be done: why, and what to do about it."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why, hint)
        self.why = why
        self.hint = hint


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    options = _parser().parse_args(argv)
    level = (logging.WARNING, logging.DEBUG, TRAFFIC)[min(options.verbose, 2)]
    logging.addLevelName(TRAFFIC, "TRAFFIC")
    logging.basicConfig(level=level, stream=sys.stderr)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except Failed as failed:
        why, hint = failed.why, failed.hint
    except ImageError as error:
        why, hint = str(error), error.hint
    except FileNotFoundError as error:
        why, hint = f"{error.filename}: no such file", "make a card with: cardos blank --image FILE ..."
    except FileExistsError as error:
        why, hint = f"{error.filename} exists already", "a card is never overwritten; name another file"
    except (OSError, Malformed, StoreFailed) as error:
        why, hint = str(error), "see cardos --help"
    print(f"cardos: error: {why}\ncardos: hint: {hint}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cardos", description="A virtual PIV card in one file.")
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="log what happens, on stderr; twice: each APDU, secrets masked",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    image = argparse.ArgumentParser(add_help=False)
    image.add_argument("--image", type=Path, required=True, help="the card's file")
    secret = image.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-fd", type=int, metavar="N", help="read the secret that seals the file from here, in hex"
    )
    secret.add_argument("--secret-file", type=Path, metavar="F", help="the same from a file (default: IMAGE.key)")

    blank = commands.add_parser("blank", parents=[image], help="make a blank card as its maker delivers it")
    blank.add_argument("--serial", required=True, metavar="HEX", help="key diversification data, 10 bytes in hex")
    keys = blank.add_mutually_exclusive_group(required=True)
    keys.add_argument("--transport-keys-fd", type=int, metavar="N", help="read ENC MAC DEK, three hex words, from here")
    keys.add_argument("--transport-keys-file", type=Path, metavar="F", help="the same from a file")
    blank.add_argument("--maker", type=Path, metavar="FILE", help=f"the card maker (default: {FILE_NAME} beside IMAGE)")
    blank.set_defaults(command=_blank)

    maker = commands.add_parser("maker", help="print the certificates that attestations of a batch lead to, in PEM")
    maker.add_argument("--maker", type=Path, metavar="FILE", required=True, help="the card maker")
    maker.add_argument("--batch", required=True, metavar="HEX", help="the last two bytes of the cards' serial")
    maker.set_defaults(command=_maker)

    serve = commands.add_parser("serve", parents=[image], help="put the card into a slot of a virtual reader (vpcd)")
    serve.add_argument(
        "--interface",
        choices=[*(one.value for one in Interface), "none"],
        default="contact",
        help="the slot in which the card lies at first (default: contact)",
    )
    serve.add_argument("--port", type=int, help="the port of that slot")
    serve.add_argument("--contact-port", type=int, default=CONTACT_PORT, help="(default: %(default)s)")
    serve.add_argument("--contactless-port", type=int, default=CONTACTLESS_PORT, help="(default: %(default)s)")
    serve.add_argument("--host", default=LOOPBACK, help="where the virtual reader listens (default: %(default)s)")
    serve.add_argument(
        "--control",
        metavar="SOCKET|-",
        default=None,
        help="take lines 'insert contact', 'insert contactless', 'remove', 'status', 'quit' from a Unix "
        "socket, or from standard input (-), whose end ends the program",
    )
    serve.add_argument("--fault", choices=sorted(PROFILES), help="let the card misbehave, for tests of a door")
    serve.add_argument("--tear-at", type=int, metavar="N", help="let the card leave once, at exchange N counted from 1")
    serve.add_argument("--tear-after", action="store_true", help="... after it has acted and before it answers")
    serve.add_argument("--no-sync", action="store_true", help="do not flush each change to the disk")
    serve.set_defaults(command=_serve)

    look = commands.add_parser("inspect", parents=[image], help="show what is on the card; no secret is printed")
    look.set_defaults(command=_inspect)

    copy = commands.add_parser(
        "clone",
        parents=[image],
        help="copy what anybody can read to a new card with its own key: what a door must refuse",
    )
    copy.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new card's file")
    copy.set_defaults(command=_clone)
    return parser


def _blank(options: argparse.Namespace) -> int:
    serial = _hex(options.serial, "serial")
    words = _read(options.transport_keys_fd, options.transport_keys_file).split()
    if len(words) != 3:
        raise Failed(f"{len(words)} transport keys", "give ENC MAC DEK, three hex words")
    enc, mac, dek = (_hex(word, "transport key") for word in words)
    if options.image.exists():
        raise FileExistsError(errno.EEXIST, "", str(options.image))
    maker = open_maker(options.maker or options.image.with_name(FILE_NAME), datetime.now(UTC))
    records = make_blank(serial, (enc, mac, dek), maker=maker)
    FileStore.create(options.image, _secret(options, options.image, new=True), records).close()
    print(f"{options.image}: blank card, serial {serial.hex().upper()}")
    return 0


def _maker(options: argparse.Namespace) -> int:
    batch = _hex(options.batch, "batch")
    if len(batch) != 2:
        raise Failed(f"a batch of {len(batch)} bytes", "two bytes in hex: how the cards' serial numbers end")
    if not options.maker.exists():
        raise FileNotFoundError(errno.ENOENT, "", str(options.maker))
    maker = open_maker(options.maker, datetime.now(UTC))
    for certificate in (maker.batch(int.from_bytes(batch, "big")), maker.root()):
        sys.stdout.write(certificate.public_bytes(Encoding.PEM).decode("ascii"))
    return 0


def _clone(options: argparse.Namespace) -> int:
    store = FileStore(options.image, _secret(options, options.image))
    records = clone(Card(store))
    store.close()
    FileStore.create(
        options.out, _secret(argparse.Namespace(secret_fd=None, secret_file=None), options.out, new=True), records
    ).close()
    print(f"{options.out}: public data of {options.image}, keys of its own")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    store = FileStore(options.image, _secret(options, options.image))
    sys.stdout.write(picture(Persistent(store)))
    store.close()
    return 0


def _serve(options: argparse.Namespace) -> int:
    ports = {Interface.CONTACT: options.contact_port, Interface.CONTACTLESS: options.contactless_port}
    first = None if options.interface == "none" else Interface(options.interface)
    if options.port is not None:
        if first is None:
            raise Failed("--port without a slot", "name it: --interface contact or contactless")
        ports[first] = options.port
    store = FileStore(options.image, _secret(options, options.image), sync=not options.no_sync)
    card: Answering = Card(store)
    if options.fault:
        card = PROFILES[options.fault](card)
    if options.tear_at is not None:
        card = torn_at_exchange(card, options.tear_at, after_card=options.tear_after)
    if options.verbose > 1:
        card = traced(card)
    slots = Slots(card, ports, options.host)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if first is not None:
            _say(f"inserted {first.value}" if slots.insert(first) else f"waiting for a reader on port {ports[first]}")
        run_control(options.control, lambda line: obey(line, slots, options.image.stem), _say)
    except KeyboardInterrupt:
        pass
    finally:
        slots.remove()
        store.close()
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)


def _read(fd: int | None, path: Path | None) -> str:
    """Text from a descriptor or a file."""
    if fd is None:
        return path.read_text(encoding="ascii") if path is not None else ""
    with os.fdopen(fd, "r", encoding="ascii", closefd=True) as file:
        return file.read()


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text.strip())
    except ValueError as error:
        raise Failed(f"the {what} is not hexadecimal", "two digits 0-9 A-F for each byte") from error


def _secret(options: argparse.Namespace, image: Path, *, new: bool = False) -> bytes:
    """The secret that seals an image: from the descriptor or file named, else from IMAGE.key, made with a new card."""
    if options.secret_fd is not None or options.secret_file is not None:
        secret = _hex(_read(options.secret_fd, options.secret_file), "secret")
    else:
        path = image.with_name(image.name + ".key")
        if new and not image.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(os.urandom(SECRET_BYTES).hex() + "\n")
        secret = _hex(path.read_text(encoding="ascii"), "secret")
    if len(secret) < SECRET_BYTES_MIN:
        raise Failed(f"a secret of {len(secret)} bytes", f"at least {SECRET_BYTES_MIN} bytes, in hex")
    return secret


if __name__ == "__main__":
    sys.exit(main())
