"""`serve` and `fleet`: cards in the slots of a virtual reader, until somebody says quit."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.cli.parser import Commands, is_port
from cardos.cli.secrets import secret_of, transport_keys_of
from cardos.control import NOWHERE, Quit, default_socket, is_taken, obey, run_control
from cardos.errors import Failed
from cardos.faults import faulty, torn_at_exchange
from cardos.fleet import Dress, Fleet, ImageSource, Slot, standard_slots
from cardos.fleet_script import FleetScript
from cardos.image import FileStore
from cardos.messages.catalogue import Texts
from cardos.sealing import SUFFIX, read_secret
from cardos.timing import Timed, Timing, parse_timing
from cardos.trace import Trace, Traced
from cardos.vpcd import CONTACT_PORT, CONTACTLESS_PORT, LOOPBACK, Answering, Slots

# Blanks of a fleet that nobody gave keys for are no secret: they live and die with the process.
_ENDING = (signal.SIGTERM, signal.SIGINT)
FLEET_KEYS = (bytes(range(0x40, 0x50)), bytes(range(0x50, 0x60)), bytes(range(0x60, 0x70)))


def attach(commands: Commands) -> None:
    """Add these commands."""
    say = commands.texts
    serve = commands.add("serve", _serve)
    commands.image(serve)
    serve.add_argument(
        "--interface",
        choices=[*(one.value for one in Interface), "none"],
        default="contact",
        help=say("help.serve.interface"),
    )
    commands.port(serve, "--port", default=None, help_code="help.serve.port")
    commands.port(serve, "--contact-port", default=CONTACT_PORT, help_code="help.default")
    commands.port(serve, "--contactless-port", default=CONTACTLESS_PORT, help_code="help.default")
    serve.add_argument("--host", metavar=say("usage.host"), default=LOOPBACK, help=say("help.serve.host"))
    commands.control(serve, "help.serve.control")
    commands.dress(serve)
    serve.add_argument("--tear-at", type=int, metavar="N", help=say("help.serve.tear-at"))
    serve.add_argument("--tear-after", action="store_true", help=say("help.serve.tear-after"))
    serve.add_argument("--no-sync", action="store_true", help=say("help.serve.no-sync"))

    fleet = commands.add("fleet", _fleet)
    fleet.add_argument("count", type=int, nargs="?", default=0, metavar="N", help=say("help.fleet.count"))
    fleet.add_argument("--images", type=Path, metavar=say("usage.folder"), help=say("help.fleet.images"))
    fleet.add_argument(
        "--slot", action="append", default=[], metavar=say("usage.new-slot"), help=say("help.fleet.slot")
    )
    fleet.add_argument("--host", metavar=say("usage.host"), default=LOOPBACK, help=say("help.serve.host"))
    fleet.add_argument("--script", type=Path, help=say("help.fleet.script"))
    commands.transport_keys(fleet, required=False)
    commands.control(fleet, "help.serve.control")
    commands.dress(fleet)


def _serve(options: argparse.Namespace, texts: Texts) -> int:
    ports = {Interface.CONTACT: options.contact_port, Interface.CONTACTLESS: options.contactless_port}
    first = None if options.interface == "none" else Interface(options.interface)
    if options.port is not None:
        if first is None:
            raise Failed("slot.unnamed")
        ports[first] = options.port
    name = options.image.stem
    with until_told(), ExitStack() as held:
        dress, trace = _dress(options, held)
        store = FileStore(options.image, secret_of(options), sync=not options.no_sync)
        held.callback(store.close)
        card: Answering = Card(store)
        if options.tear_at is not None:
            card = torn_at_exchange(card, options.tear_at, after_card=options.tear_after)
        slots = Slots(dress(name, card), ports, options.host)
        held.callback(slots.remove)

        def obeying(line: str) -> str:
            return obey(line, slots, name, trace)

        def begin() -> None:
            if first is not None:
                is_in = slots.insert(first)
                _say(f"inserted {first.value}" if is_in else f"waiting for a reader on port {ports[first]}")

        _run(options.control, obeying, texts, begin)
    return 0


def _fleet(options: argparse.Namespace, texts: Texts) -> int:
    with until_told(), ExitStack() as held:
        dress, trace = _dress(options, held)
        slots = standard_slots(options.host) | dict(_slot(text, options.host) for text in options.slot)
        fleet = Fleet(slots, dress)
        held.callback(fleet.close)
        given = options.transport_keys_fd is not None or options.transport_keys_file is not None
        keys = transport_keys_of(options) if given else FLEET_KEYS

        def spoiled(fault: str) -> Dress:
            spoil = faulty(fault)
            return lambda name, card: dress(name, spoil(card))

        script = FleetScript(fleet, keys, lambda folder: load_images(fleet, folder), spoiled, trace)

        def begin() -> None:
            fleet.make(options.count, keys)
            if options.images is not None:
                load_images(fleet, options.images)
            print(texts("done.fleet", count=len(fleet)), file=sys.stderr, flush=True)
            if options.script is not None:
                script.run(options.script.read_text(encoding="utf-8").splitlines(), _say)
                if options.control is None:
                    raise Quit

        _run(options.control, script.obey, texts, begin)
    return 0


def load_images(fleet: Fleet, folder: Path) -> int:
    """Take every card image of a folder in, by its name without `.card`. Raises Failed when there is none."""
    images = sorted(folder.glob(f"*{SUFFIX}"))
    if not images:
        raise Failed("fleet.no-image", path=folder)
    for image in images:
        fleet.add_image(image.stem, ImageSource(image, partial(read_secret, image)))
    return len(images)


def _slot(text: str, host: str) -> tuple[str, Slot]:
    """Read NAME=contact:PORT."""
    name, _, rest = text.partition("=")
    face, _, port = rest.partition(":")
    if not name or not is_port(port) or face not in [one.value for one in Interface]:
        raise Failed("slot.unknown-form", text=text)
    return name, Slot(Interface(face), int(port), host)


def _dress(options: argparse.Namespace, held: ExitStack) -> tuple[Dress, Path | None]:
    """What the options put over each card: the fault inside, then its time, then the trace of what came out."""
    spoil = faulty(options.fault) if options.fault else None
    timing: Timing | None = parse_timing(options.timing) if options.timing else None
    trace = Trace(options.trace) if options.trace is not None else None
    if trace is not None:
        held.callback(trace.close)

    def dress(name: str, card: Answering) -> Answering:
        if spoil is not None:
            card = spoil(card)
        if timing is not None:
            card = Timed(card, timing)
        return Traced(card, name, trace) if trace is not None or options.verbose > 1 else card

    return dress, options.trace


def _run(control: str | None, obeying: Callable[[str], str], texts: Texts, begin: Callable[[], None]) -> None:
    """Begin, then obey until told to end."""
    where = control if control is not None else _default_place(texts)
    begin()
    run_control(where, obeying, _say)


@contextmanager
def until_told() -> Iterator[None]:
    """What runs inside ends at TERM, Ctrl-C or `quit`. It closes once: a second signal does not come in between."""
    before = {number: signal.signal(number, _interrupt) for number in _ENDING}
    try:
        yield
    except (KeyboardInterrupt, Quit):
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _default_place(texts: Texts) -> str:
    """The default socket, or none when another card has it: this one is served all the same."""
    try:
        place = default_socket()
    except Failed as failed:
        print(f"cardos: {failed.why(texts)}", file=sys.stderr)
        return NOWHERE
    if is_taken(place):
        print(f"cardos: {texts('control.taken', path=place)}", file=sys.stderr)
        return NOWHERE
    return str(place)


def _interrupt(number: int, frame: object) -> None:
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one write: a log to the same file never comes between
    sys.stdout.flush()
