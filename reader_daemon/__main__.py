"""The command `reader-daemon`: run a door, enrol it, see how it stands, verify its log."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from cardlink.language.catalogue import Language, chosen_language
from cardlink.language.parser import PARSERS, Parser
from reader_daemon import config as configuration
from reader_daemon import enrol
from reader_daemon.centre import Centre
from reader_daemon.config import Config
from reader_daemon.daemon import Daemon
from reader_daemon.database import Database
from reader_daemon.errors import ConfigError, DoorError, EnrolmentRefused, StorageDamaged
from reader_daemon.events import last_place, verify_log
from reader_daemon.loop import TapResult
from reader_daemon.messages import TEXTS, error_text
from reader_daemon.readers import Readers
from reader_daemon.report import standing, tap_line
from reader_daemon.state_store import StateStore

log = logging.getLogger("reader_daemon")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answer its exit code: 0 done, 1 failed or refused, 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    lang = chosen_language(arguments)
    options = make_parser(lang).parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=getattr(logging, options.log_level.upper()),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    commands = {"run": _run, "enrol": _enrol, "status": _status, "verify-log": _verify_log}
    try:
        return commands[options.command](options, configuration.load(options.config, os.environ), lang)
    except DoorError as error:
        message, hint = error_text(error, lang)
        print(f"reader-daemon: error: {message}\nreader-daemon: hint: {hint}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


def _run(options: argparse.Namespace, config: Config, lang: str) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    guard = threading.Lock()

    def emit(line: str) -> None:
        if options.events_stdout:
            with guard:
                tell(line)

    def tapped(result: TapResult) -> None:
        emit(tap_line(result))

    with Daemon.open(config) as daemon:
        if config.feed_url is not None:
            daemon.start_feed(config.feed_url)
        started = {
            "event": "started",
            "door": str(UUID(bytes=daemon.enrolment.door)),
            "name": daemon.enrolment.name,
            "boot": daemon.events.boot,
        }
        emit(json.dumps(started, ensure_ascii=False))
        readers = Readers(daemon.loop, tapped, stop, config.readers, config.insert_wait_s, daemon.threads)
        return 0 if readers.run() else 1


def tell(line: str) -> None:
    """Put one line out, in one write: what logs to the same file comes before it or after it, never between."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _enrol(options: argparse.Namespace, config: Config, lang: str) -> int:
    url = options.url or config.feed_url
    if url is None:
        raise ConfigError("config-missing", key="feed_url", env=configuration.ENV_PREFIX + "FEED_URL")
    if config.enrolment_path.exists():
        raise EnrolmentRefused("already-enrolled", path=config.enrolment_path)
    code = sys.stdin.readline().strip()  # a secret, if only for once: never an argument
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = enrol.make_key(config.key_path)
        door = UUID(options.door).bytes if options.door is not None else None
        enrolment, trust = enrol.enrol(Centre(url), code, key, datetime.now(UTC), door, options.fingerprint)
        database = Database(config.database_path)
        StateStore(database).keep_trust(trust.raw, trust.content.number, trust.content.issued_s)
        database.close()
        enrol.write_private(config.enrolment_path, enrolment.encode())
    except OSError as error:
        raise StorageDamaged("data-unusable", path=config.data_dir, why=error) from error
    print(
        TEXTS["enrolled"][lang == "en"].format(
            name=enrolment.name,
            door=UUID(bytes=enrolment.door),
            owner=enrolment.owner,
            fingerprint=enrol.fingerprint(enrolment.roots),
        )
    )
    return 0


def _status(options: argparse.Namespace, config: Config, lang: str) -> int:
    enrolment = enrol.load(config.enrolment_path)
    database = Database(config.database_path, is_read_only=True)
    fields = standing(enrolment, StateStore(database), last_place(database))
    database.close()
    if options.json:
        print(json.dumps(fields, ensure_ascii=False))
        return 0
    for name, value in fields.items():
        print(f"{TEXTS[f'status.{name}'][lang == 'en']}: {value if value is not None else '-'}")
    return 0


def _verify_log(options: argparse.Namespace, config: Config, lang: str) -> int:
    enrolment = enrol.load(config.enrolment_path)
    key = enrol.load_key(config.key_path)
    database = Database(config.database_path, is_read_only=True)
    end = verify_log(database, enrolment.door, key.public)
    database.close()
    print(TEXTS["log-whole"][lang == "en"].format(boot=end.boot, seq=end.seq, digest=end.record_hash.hex()))
    return 0


def make_parser(lang: Language) -> Parser:
    """The grammar of the command line."""

    def say(code: str) -> str:
        return TEXTS[code][lang == "en"]

    parser = PARSERS[lang](prog="reader-daemon", description=say("help"))
    parser.add_language()
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str) -> Parser:
        summary = say(f"help.{name}")
        made: Parser = commands.add_parser(name, help=summary, description=summary)
        made.add_argument("--config", type=Path, metavar="door.toml", help=say("help.config"))
        made.add_language(default=argparse.SUPPRESS)
        made.add_argument(
            "--log-level", choices=("debug", "info", "warning", "error"), default="info", help=say("help.log-level")
        )
        return made

    add("run").add_argument("--events-stdout", action="store_true", help=say("help.events-stdout"))
    enrolling = add("enrol")
    enrolling.add_argument("--url", metavar="URL", help=say("help.url"))
    enrolling.add_argument("--door", metavar="UUID", help=say("help.door"))
    enrolling.add_argument("--fingerprint", metavar="HEX", help=say("help.fingerprint"))
    add("status").add_argument("--json", action="store_true", help=say("help.json"))
    add("verify-log")
    return parser


if __name__ == "__main__":
    sys.exit(main())
