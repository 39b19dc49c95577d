"""`insert`, `remove`, `list`, `faults`: what is said to a running card or fleet, and what can be wished for."""

import argparse
from pathlib import Path

from cardos.cli.parser import Commands
from cardos.control import ask, default_socket
from cardos.faults import PROFILES
from cardos.messages.catalogue import Texts


def attach(commands: Commands) -> None:
    """Add these commands."""
    say = commands.texts
    insert = commands.add("insert", _insert)
    insert.add_argument("card", nargs="?", metavar=say("usage.card"), help=say("help.insert.card"))
    insert.add_argument("slot", metavar=say("usage.slot"), help=say("help.insert.slot"))
    insert.add_argument("--fault", metavar=say("usage.fault"), help=say("help.fault"))
    remove = commands.add("remove", _remove)
    remove.add_argument("name", nargs="?", metavar=say("usage.slot"), help=say("help.remove.name"))
    listed = commands.add("list", _list)
    listed.add_argument("--inserted", action="store_true", help=say("help.list.inserted"))
    for parser in (insert, remove, listed):
        commands.control(parser, "help.control")
    commands.add("faults", _faults)


def place_of(options: argparse.Namespace) -> Path:
    """The socket that is named, or the default one."""
    return Path(options.control) if options.control is not None else default_socket()


def _insert(options: argparse.Namespace, texts: Texts) -> int:
    words = ["insert", *filter(None, (options.card, options.slot, options.fault))]
    ask(place_of(options), " ".join(words))
    print(texts("done.insert", card=options.card or texts("done.the-card"), slot=_slot(texts, options.slot)))
    return 0


def _remove(options: argparse.Namespace, texts: Texts) -> int:
    ask(place_of(options), " ".join(filter(None, ("remove", options.name))))
    print(texts("done.remove"))
    return 0


def _list(options: argparse.Namespace, texts: Texts) -> int:
    answer = ask(place_of(options), "list")
    cards = [line.split()[1:] for line in answer if line.startswith("card ")]
    inserted = [one for one in cards if one[1] != "-"]
    shown = inserted if options.inserted else cards
    width = max((len(name) for name, _ in shown), default=0)
    for name, place in shown:
        print(f"{name:<{width}}  {_slot(texts, place) if place != '-' else '-'}")
    print(texts("done.list", count=len(cards), inserted=len(inserted)))
    return 0


def _faults(options: argparse.Namespace, texts: Texts) -> int:
    width = max(map(len, PROFILES)) + 2
    for name, profile in PROFILES.items():
        parameter = f"  [:{profile.parameter.wants}]" if profile.parameter is not None else ""
        print(f"{name:<{width}}{texts(f'faults.{name}')}{parameter}")
    return 0


def _slot(texts: Texts, slot: str) -> str:
    return texts.maybe(f"face.{slot}") or slot
