"""`./run demo`: the main job on one machine, from the first key to the last refusal."""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import FrameType

from demo.books import Books
from demo.display import Display, NotAsItShouldBe
from demo.key_room import chosen as key_room_of
from demo.office import PREFERRED_PORTS, Office, Place, free_port, make_secrets
from demo.options import read_options
from demo.pcscd import CONTACT_READER, NoVirtualReader, VirtualReader, unavailable, virtual_reader
from demo.slots import InProcessSlots, PcscSlots, Slots
from demo.story import Story, file_of
from demo.supervisor import ProcessFailed, Supervisor
from demo.texts import TEXTS

STAGES = 10
LOOK_EVERY_S = 0.5


class Ended(Exception):
    """Ctrl-C or SIGTERM."""


def main() -> int:
    """Run the demo. Exit 0 when all came out as it should (or Ctrl-C ended it), 1 at the first thing that did not."""
    options = read_options(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="themo-demo-"))
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    # Beside the other processes' words, not into the display.
    logging.basicConfig(level=logging.WARNING, filename=folder / "logs" / "demo.log")
    display = Display(options.lang, TEXTS, STAGES)
    try:
        with display:
            _run(options, folder, display)
    except (NotAsItShouldBe, ProcessFailed, NoVirtualReader) as error:
        display.failed("failed", what=error)
        print(f"demo: hint: {display.text('failed.hint', folder=folder / 'logs')}", file=sys.stderr)
        return 1
    except Ended:
        display.closing("ended")
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(options: argparse.Namespace, folder: Path, display: Display) -> None:
    place = Place(folder)
    key_room = key_room_of(options.hsm)
    os.environ.update(key_room.environ(folder))  # the in-process carrier's worker looks for it here
    environ = {**os.environ, "THEMO_CONFIG": str(place.config), "THEMO_LANG": options.lang}
    display.title("title")
    with ExitStack() as stack:
        reader = _reader(stack, display, options.in_process)
        supervisor = stack.enter_context(Supervisor(folder / "logs", make_secrets(), environ))
        web, feed = (free_port(None if options.once else port) for port in PREFERRED_PORTS)
        office = Office(place, supervisor, web, feed, key_room)
        office.write_settings()
        slots = _slots(stack, supervisor, reader, place, environ)

        @cache
        def books() -> Books:
            opened = Books(place.config)
            stack.callback(opened.close)
            return opened

        story = Story(display, office, supervisor, slots, books)
        story.keys()
        story.register()
        story.request()
        story.encode(options.tear, isinstance(slots, PcscSlots))
        story.faces()
        story.door()
        story.strangers()
        story.offline()
        story.block()
        story.books()
        if options.once:
            display.closing("once", seconds=display.elapsed_s)
            return
        if isinstance(slots, PcscSlots) and reader is not None:
            slots.serve_in_contact_slot(file_of(story.issued[1]))
            display.note("running.card")
            display.command(f"PCSCLITE_CSOCK_NAME={reader.socket} opensc-tool -r '{CONTACT_READER}' -n")
        display.closing("running", url=office.console_url, link=office.invite("quan.tri"))
        _watch(supervisor, display)


def _watch(supervisor: Supervisor, display: Display) -> None:
    """Until Ctrl-C: a process that ends by itself is started again, its secrets handed over anew."""
    while True:
        time.sleep(LOOK_EVERY_S)
        for running in supervisor.dead():
            supervisor.restart(running.program.name)
            display.refused("restarted", name=running.program.name)


def _reader(stack: ExitStack, display: Display, in_process: bool) -> VirtualReader | None:
    why = "--in-process" if in_process else unavailable()
    if why is None:
        return stack.enter_context(virtual_reader())
    display.note("no_pcsc", why=why)
    return None


def _slots(
    stack: ExitStack, supervisor: Supervisor, reader: VirtualReader | None, place: Place, environ: dict[str, str]
) -> Slots:
    if reader is not None:
        return PcscSlots(supervisor, reader, place.folder)
    slots = InProcessSlots(place.config, lambda: supervisor.descriptor("user-pin"), environ)
    stack.callback(slots.end)
    return slots


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended


if __name__ == "__main__":
    sys.exit(main())
