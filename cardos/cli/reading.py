"""`trace`: an APDU log as people read it, from a file or from a running card."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cardos.cli.parser import Commands
from cardos.cli.remote import place_of
from cardos.control import ask
from cardos.errors import Failed
from cardos.messages.catalogue import Texts
from cardos.timing import parse_timing
from cardos.transcript import Transcript, read_line

LIVE = "live"
_LOOK_EVERY_S = 0.1


def attach(commands: Commands) -> None:
    """Add this command."""
    say = commands.texts
    trace = commands.add("trace", _trace)
    trace.add_argument("source", metavar=say("usage.file-or-live"), help=say("help.trace.source"))
    trace.add_argument("--follow", action="store_true", help=say("help.trace.follow"))
    trace.add_argument("--timing", metavar="CHIP[@KBIT]", help=say("help.trace.timing"))
    commands.control(trace, "help.control")


def _trace(options: argparse.Namespace, texts: Texts) -> int:
    is_live = options.source == LIVE
    path = _live_path(options) if is_live else Path(options.source)
    transcript = Transcript(texts, parse_timing(options.timing) if options.timing else None)
    follow = is_live or options.follow
    if follow:
        print(texts("trace.waiting", path=path), file=sys.stderr)
    try:
        for number, line in enumerate(_lines(path, follow), 1):
            for said in transcript.lines(read_line(line, number, path)):
                print(said, flush=follow)
    except KeyboardInterrupt:
        pass
    print(transcript.total())
    return 0


def _live_path(options: argparse.Namespace) -> Path:
    try:
        answer = ask(place_of(options), "trace")
    except Failed as failed:
        raise failed if failed.code == "control.nobody" else Failed("trace.none") from failed
    return Path(answer[-1].removeprefix("ok "))


def _lines(path: Path, follow: bool) -> Iterator[str]:
    """The lines of a file, and with `follow` those that are still being written; never half a line."""
    rest = ""
    with path.open(encoding="ascii", errors="replace") as file:
        while True:
            part = file.readline()
            if part:
                rest += part
                if rest.endswith("\n"):
                    yield rest
                    rest = ""
            elif follow:
                time.sleep(_LOOK_EVERY_S)
            else:
                if rest:
                    yield rest
                return
