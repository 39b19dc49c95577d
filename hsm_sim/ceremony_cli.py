"""`hsm-sim ceremony` and `hsm-sim ceremony-verify`: the commands of the key ceremony."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from hsm_sim import texts, transcript
from hsm_sim.ceremony import Ceremony, fingerprint
from hsm_sim.ceremony_plan import read_plan
from hsm_sim.ceremony_texts import SAID
from hsm_sim.errors import BadRequest

FONTS = Path("/usr/share/fonts/truetype/dejavu")


@dataclass(frozen=True, slots=True)
class Console:
    """The terminal of the ceremony's machine; where stdin is a pipe, lines come from there."""

    lang: str

    def say(self, code: str, /, **facts: object) -> None:
        """Show a text."""
        print(texts.text(SAID, code, self.lang).format(**facts), flush=True)

    def ask(self, code: str, /, **facts: object) -> str:
        """Ask for a line."""
        print(texts.text(SAID, code, self.lang).format(**facts), end="", flush=True)
        return self._line()

    def ask_secret(self, code: str, /, **facts: object) -> str:
        """Ask for a line that is not shown."""
        if sys.stdin.isatty():
            return getpass(texts.text(SAID, code, self.lang).format(**facts))
        return self.ask(code, **facts)

    def _line(self) -> str:
        line = sys.stdin.readline()
        if not line:
            raise BadRequest("nobody types any more; run it again, it goes on here", "ceremony.left")
        return line.rstrip("\n")


def add_to(parsers: Any, help_of: Callable[[str], str], lang: str) -> None:
    """Add the parsers of these commands."""
    ceremony = parsers.add_parser("ceremony", help=help_of("ceremony"), description=help_of("ceremony"))
    ceremony.add_argument("--plan", type=Path, required=True, help=help_of("plan"))
    folder = help_of("FOLDER")
    ceremony.add_argument("--folder", type=Path, required=True, metavar=folder, help=help_of("ceremony-folder"))
    ceremony.add_argument("--hand-out", type=Path, required=True, metavar=folder, help=help_of("hand-out"))
    ceremony.add_argument("--fonts", type=Path, default=FONTS, metavar=folder, help=help_of("fonts"))
    ceremony.set_defaults(run=_ceremony, lang=lang)
    verify = parsers.add_parser(
        "ceremony-verify", help=help_of("ceremony-verify"), description=help_of("ceremony-verify")
    )
    verify.add_argument("transcript", type=Path, metavar=help_of("FILE"), help=help_of("transcript"))
    verify.add_argument("--key", metavar="HEX", help=help_of("transcript-key"))
    verify.set_defaults(run=_verify, lang=lang)


def _ceremony(args: argparse.Namespace) -> int:
    plan = read_plan(args.plan)
    args.folder.mkdir(mode=0o700, exist_ok=True)
    console = Console(args.lang)
    ceremony = Ceremony(plan, args.folder, args.hand_out, console, time.time)
    text, pdf = args.folder / transcript.TEXT, args.folder / transcript.PDF
    try:
        ceremony.run()
        if not text.exists():
            text, pdf = transcript.write(ceremony.book, args.folder, ceremony.sign, args.fonts)
    finally:
        ceremony.shut()
    console.say("finished", text=text, pdf=pdf)
    return 0


def _verify(args: argparse.Namespace) -> int:
    key = transcript.verify(args.transcript, args.key)
    shown = fingerprint(bytes.fromhex(key))
    print(texts.text(SAID, "good-key" if args.key else "good", args.lang).format(fingerprint=shown))
    return 0
