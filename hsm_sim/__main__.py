"""`hsm-sim`: run the HSM, check its log, look at it. The real clock, randomness, files and sockets are wired here.

Two ways to start: with `--shares` the HSM waits, sealed, until enough holders have entered their shares of the secret
that opens the store (`hsm-sim unseal`). In embedded mode whoever starts the process hands that secret over by
descriptor: the store's copy alone opens nothing, but the starter's memory opens everything.
"""

import argparse
import ctypes
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from cardlink.language.catalogue import Language, chosen_language
from cardlink.language.parser import PARSERS, Parser
from hsm_sim import backup, ceremony_cli, commands, texts
from hsm_sim.core import Hsm
from hsm_sim.endings import Ending
from hsm_sim.errors import HsmError, LogBroken, StoreSealed
from hsm_sim.faults import read_faults
from hsm_sim.inputs import BadSecret, Given, read_secret, read_text
from hsm_sim.keys import Role
from hsm_sim.log import DEFAULT_MAX_BYTES, Head, Log, scan_log
from hsm_sim.ops import SPECS
from hsm_sim.reasons import REASONS, of_os_error
from hsm_sim.seals import believed_until, read_heads, read_seal_key
from hsm_sim.server import Server, SocketTaken, listen, signal_wake
from hsm_sim.store import Store, read_state
from hsm_sim.unseal import gather

log = logging.getLogger("hsm_sim")

PR_SET_DUMPABLE = 4  # prctl(2)
LOG_START = b'{"n":1,'
FIRST_PERSONS = frozenset({Role.SO, Role.USER, Role.AUDITOR})


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit 0 done, 1 failed or refused, 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    lang = chosen_language(arguments)
    args = make_parser(lang).parse_args(arguments)
    try:
        return int(args.run(args))
    except HsmError as error:
        return _fail(error.code, error.detail, lang, error.reason)
    except BadSecret as error:
        return _fail("bad-secret", str(error), lang, error.reason)
    except SocketTaken as error:
        return _fail("socket-taken", str(error), lang)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - whoever read the answer has gone
        return 1
    except OSError as error:
        reason, about = of_os_error(error)
        return _fail("no-file", about, lang, reason)
    except EOFError:
        return _fail("bad-request", "end of input", lang, "ceremony.left")
    except KeyboardInterrupt:
        return _fail("stopped", "SIGINT", lang, "stopped")


def _fail(code: str, detail: str, lang: str, reason: str = "") -> int:
    """Say what is wrong, in words of its reason or else of its code, and what to do next."""
    row = REASONS.get(reason) or REASONS.get(code)
    if row is not None:
        text, hint = row.told(lang, detail)
    else:
        text, hint = texts.text(texts.ERRORS, code, lang), texts.text(texts.HINTS, code, lang)
    print(
        f"hsm-sim: error: {text} ({code}: {detail})" if detail else f"hsm-sim: error: {text} ({code})", file=sys.stderr
    )
    print(f"hsm-sim: hint: {hint}", file=sys.stderr)
    return 1


def make_parser(lang: Language) -> Parser:
    """The grammar of the command line."""

    def help_of(name: str) -> str:
        return texts.text(texts.HELP, name, lang)

    def option(parser: argparse.ArgumentParser, name: str, **rest: Any) -> None:
        parser.add_argument(f"--{name}", help=help_of(name), **rest)

    top = PARSERS[lang](prog="hsm-sim", description=help_of("about"))
    top.add_language()
    parsers = top.add_subparsers(required=True)

    serve = parsers.add_parser("serve", help=help_of("serve"), description=help_of("serve"), epilog=help_of("embedded"))
    option(serve, "socket", type=Path, required=True)
    _store_options(serve, option, required=True)
    option(serve, "init", action="store_true")
    option(serve, "set-pins", action="store_true")
    option(serve, "allow-uid", type=int, action="append", metavar="UID")
    option(serve, "log-max-bytes", type=int, default=DEFAULT_MAX_BYTES)
    option(serve, "shares", action="store_true")
    option(serve, "persons-needed", type=int, default=1, metavar="N")
    option(serve, "fault", action="append", default=[], metavar=help_of("NAME=NUMBER"))
    serve.set_defaults(run=_serve)

    verify = parsers.add_parser("verify-log", help=help_of("verify-log"), description=help_of("verify-log"))
    _store_options(verify, option, required=False)
    option(verify, "seal-key", metavar="HEX")
    option(verify, "heads", type=Path)
    option(verify, "doubted-after", type=int, metavar="LINE")
    verify.set_defaults(run=_verify_log, lang=lang)
    commands.add_to(parsers, help_of, lang)
    ceremony_cli.add_to(parsers, help_of, lang)
    return top


def _store_options(parser: argparse.ArgumentParser, option: Any, required: bool) -> None:
    option(parser, "store", type=Path, required=required)
    option(parser, "log", type=Path)
    option(parser, "secret-fd", type=int)
    option(parser, "secret-file", type=Path)


def _harden() -> None:
    """No core dump and no reading of this process's memory by others of the same user."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _check_new(store: Path, log_path: Path, pins: set[Role], shares: bool) -> None:
    """See that a new store can be made. Raises BadSecret, StoreSealed."""
    if shares:
        raise BadSecret("--init does not go with --shares", "init.shares")
    if store.exists():
        raise StoreSealed(f"{store} is there already", "store.exists")
    if log_path.exists() and log_path.stat().st_size:
        raise BadSecret(str(log_path), "init.log")
    if not pins >= FIRST_PERSONS:
        raise BadSecret("--init wants pins of so, user and auditor", "init.pins")


def _serve(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _harden()
    faults = read_faults(args.fault)
    if faults is not None:
        log.warning("hsm runs with faults that were asked for faults=%s", dict(faults.on))
    log_path = args.log or args.store.with_name(args.store.name + ".log")
    if args.shares and args.set_pins:
        raise BadSecret("--set-pins does not go with --shares", "set-pins.shares")
    given = None if args.shares else read_secret(args.secret_fd, args.secret_file)
    pins = given.pins if given is not None else {}
    if args.init:
        _check_new(args.store, log_path, set(pins), bool(args.shares))
    uids = args.allow_uid or [os.getuid()]
    opened: list[Hsm] = []

    def start(secret: bytes) -> None:
        try:
            store = Store(args.store, secret, os.urandom, create=args.init)
            try:
                operation_log = Log(log_path, store.state.anchor, args.log_max_bytes)
                hsm = Hsm(SPECS, store, operation_log, os.urandom, time.time, faults)
            except BaseException:
                store.close()
                raise
        except OSError as error:
            reason, about = of_os_error(error)
            raise StoreSealed(about, reason) from error
        operation_log.append("hsm", os.getuid(), "start", "ok", "", "shares" if args.shares else "embedded")
        opened.append(hsm)

    def begin(given: Given) -> None:
        """Open the store with the secret at hand; of a new one that is not finished nothing is left."""
        try:
            start(given.store_secret)
            if args.init or args.set_pins:
                opened[0].set_pins(pins)
            if args.init:
                commands.add_officers(opened[0], given.officers)
                opened[0].found(args.persons_needed)
        except BaseException:
            if args.init and opened:  # it is this process's own
                backup.remove(args.store)
                log_path.unlink(missing_ok=True)
            raise

    listener = listen(args.socket, 0o666 if args.allow_uid else 0o600)
    server = Server(listener, args.socket, uids)
    if given is not None:
        try:
            begin(given)
        except BaseException:
            server.stop()
            raise

    def stop(signum: int, frame: FrameType | None) -> None:
        server.stop()

    wake = signal_wake()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    mode = "embedded"
    if args.shares:
        mode = "shares"
        log.info("hsm sealed mode=shares socket=%s", args.socket)
        try:
            gather(listener, wake, frozenset(uids), start)
        except OSError:
            log.info("hsm stopped before it was opened")
            return 0
    hsm = opened[0]
    log.info("hsm ready mode=%s socket=%s keys=%d", mode, args.socket, len(hsm.state.keys))
    server.serve(hsm, wake)
    hsm.close()
    log.info("hsm stopped")
    return 0


def _verify_log(args: argparse.Namespace) -> int:
    if args.log is None and args.store is None:
        raise BadSecret("want --log, or --store with its secret", "log.choice")
    path = args.log or args.store.with_name(args.store.name + ".log")
    with path.open("rb") as file:
        if not file.read(len(LOG_START)) == LOG_START:
            raise LogBroken(str(path), "log.none")
    heads = read_heads(read_text(args.heads)) if args.heads else {}
    scan = scan_log(path, seal_key=read_seal_key(args.seal_key) if args.seal_key else None, heads=heads)
    if args.store:
        anchor = read_state(args.store, read_secret(args.secret_fd, args.secret_file).store_secret).anchor
        scan_log(path, anchor if anchor.count else Head())
    head = scan.head
    say = texts.LANGUAGES.index(args.lang)
    print(texts.LOG_GOOD[say].format(count=head.count, digest=head.last_hash.hex()))
    if args.seal_key:
        print(texts.LOG_SEALED[say].format(unsealed=scan.unsealed))
        for one in scan.changes:
            table = texts.LOG_KEY_CHANGED if one.doubted_after is None else texts.LOG_KEY_DOUBTED
            print(table[say].format(line=one.line, key=one.public.hex(), after=one.doubted_after))
    if heads:
        print(texts.LOG_HEADS[say].format(count=len(heads), last=max(heads)))
    for line, how in scan.unended:
        print((texts.LOG_POWER if how is Ending.POWER else texts.LOG_KILLED)[say].format(line=line))
    if scan.torn_bytes:
        print(texts.LOG_TORN[say].format(bytes=scan.torn_bytes))
    believed = believed_until(head.count, scan.changes, max(heads, default=0), args.doubted_after)
    if believed < head.count:
        return _fail("log-doubted", f"line {believed + 1}", args.lang)
    return 0


if __name__ == "__main__":
    sys.exit(main())
