"""`hsm-sim`: run the HSM, check its log, look at it. The real clock, randomness, files and sockets are wired here.

Embedded mode is what `serve` does today: the secret that opens the store is handed over by descriptor at each start, by
whoever starts the process. The store's copy alone opens nothing; the starter's memory opens everything. Shares of
several persons will take the starter's place without a change to the store.
"""

import argparse
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from hsm_sim import texts
from hsm_sim.client import Client
from hsm_sim.core import Hsm
from hsm_sim.errors import HsmError
from hsm_sim.keys import Role
from hsm_sim.log import DEFAULT_MAX_BYTES, Head, Log, scan_log
from hsm_sim.ops import SPECS
from hsm_sim.server import Server, SocketTaken
from hsm_sim.store import SECRET_BYTES, Store, read_state

log = logging.getLogger("hsm_sim")

PR_SET_DUMPABLE = 4  # prctl(2)
SECRET_MAX_BYTES = 4096


class BadSecret(Exception):
    """What came in through the secret's descriptor or file is not what is wanted."""


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit 0 done, 1 failed or refused, 2 wrong usage."""
    lang = _language(argv)
    args = _parser(lang).parse_args(argv)
    try:
        return int(args.run(args))
    except HsmError as error:
        return _fail(error.code, error.detail, lang)
    except BadSecret as error:
        return _fail("bad-secret", str(error), lang)
    except SocketTaken as error:
        return _fail("socket-taken", str(error), lang)
    except OSError as error:
        return _fail("no-file", str(error), lang)


def _fail(code: str, detail: str, lang: str) -> int:
    print(f"hsm-sim: error: {texts.text(texts.ERRORS, code, lang)} ({code}: {detail})", file=sys.stderr)
    if code in texts.HINTS:
        print(f"hsm-sim: hint: {texts.text(texts.HINTS, code, lang)}", file=sys.stderr)
    return 1


def _language(argv: list[str] | None) -> str:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--lang", choices=texts.LANGUAGES, default=None)
    chosen = first.parse_known_args(argv)[0].lang or os.environ.get("THEMO_LANG", "")
    return chosen if chosen in texts.LANGUAGES else texts.LANGUAGES[0]


def _parser(lang: str) -> argparse.ArgumentParser:
    def help_of(name: str) -> str:
        return texts.text(texts.HELP, name, lang)

    def option(parser: argparse.ArgumentParser, name: str, **rest: Any) -> None:
        parser.add_argument(f"--{name}", help=help_of(name), **rest)

    top = argparse.ArgumentParser(prog="hsm-sim", description=help_of("about"))
    option(top, "lang", choices=texts.LANGUAGES)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help=help_of("serve"), epilog=help_of("embedded"))
    option(serve, "socket", type=Path, required=True)
    _store_options(serve, option, required=True)
    option(serve, "init", action="store_true")
    option(serve, "set-pins", action="store_true")
    option(serve, "allow-uid", type=int, action="append", metavar="UID")
    option(serve, "log-max-bytes", type=int, default=DEFAULT_MAX_BYTES, metavar="BYTES")
    serve.set_defaults(run=_serve)

    verify = commands.add_parser("verify-log", help=help_of("verify-log"))
    _store_options(verify, option, required=False)
    verify.set_defaults(run=_verify_log, lang=lang)

    for name, run in (("keys", _list_keys), ("status", _show_status)):
        command = commands.add_parser(name, help=help_of(name))
        option(command, "socket", type=Path, required=True)
        option(command, "role", choices=[str(one) for one in Role], default=str(Role.USER))
        pin = command.add_mutually_exclusive_group(required=True)
        pin.add_argument("--pin-fd", type=int, help=help_of("pin-fd"))
        pin.add_argument("--pin-file", type=Path, help=help_of("pin-file"))
        command.set_defaults(run=run)
    return top


def _store_options(parser: argparse.ArgumentParser, option: Any, required: bool) -> None:
    option(parser, "store", type=Path, required=required)
    option(parser, "log", type=Path)
    option(parser, "secret-fd", type=int)
    option(parser, "secret-file", type=Path)


def _read_once(descriptor: int | None, path: Path | None, what: str) -> str:
    """Read one line of a secret from a descriptor or a file."""
    if (descriptor is None) == (path is None):
        raise BadSecret(f"want either --{what}-fd or --{what}-file")
    with open(descriptor if descriptor is not None else str(path), encoding="utf-8") as source:
        return source.readline(SECRET_MAX_BYTES).strip()


def _read_secret(args: argparse.Namespace) -> tuple[bytes, dict[Role, str]]:
    """Read the store's secret and, where they are given, the PINs."""
    try:
        given = json.loads(_read_once(args.secret_fd, args.secret_file, "secret"))
        secret = bytes.fromhex(given["store_secret"])
        pins = {Role(role): str(pin) for role, pin in given.get("pins", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSecret("want JSON with store_secret and, at --init, pins of so, user, auditor") from error
    if len(secret) != SECRET_BYTES:
        raise BadSecret(f"store_secret has {len(secret)} bytes, want {SECRET_BYTES}")
    return secret, pins


def _harden() -> None:
    """No core dump and no reading of this process's memory by others of the same user."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _serve(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _harden()
    secret, pins = _read_secret(args)
    log_path = args.log or args.store.with_name(args.store.name + ".log")
    if args.init and (set(pins) != set(Role) or (log_path.exists() and log_path.stat().st_size)):
        raise BadSecret("--init wants pins of so, user and auditor, and no log of an older store")
    store = Store(args.store, secret, os.urandom, create=args.init)
    operation_log = Log(log_path, store.state.anchor, args.log_max_bytes)
    hsm = Hsm(SPECS, store, operation_log, os.urandom, time.time)
    operation_log.append("hsm", os.getuid(), "start", "ok", "", "embedded")
    if args.init or args.set_pins:
        hsm.set_pins(pins)
    server = Server(hsm, args.socket, args.allow_uid or [os.getuid()], is_shared=bool(args.allow_uid))

    def stop(signum: int, frame: FrameType | None) -> None:
        server.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("hsm ready mode=embedded socket=%s keys=%d", args.socket, len(store.state.keys))
    server.serve()
    hsm.close()
    log.info("hsm stopped")
    return 0


def _verify_log(args: argparse.Namespace) -> int:
    if args.log is None and args.store is None:
        raise BadSecret("want --log, or --store with its secret")
    path = args.log or args.store.with_name(args.store.name + ".log")
    scan = scan_log(path)
    if args.store:
        anchor = read_state(args.store, _read_secret(args)[0]).anchor
        scan_log(path, anchor if anchor.count else Head())
    head = scan.head
    say = texts.LANGUAGES.index(args.lang)
    print(texts.LOG_GOOD[say].format(count=head.count, digest=head.last_hash.hex()))
    if scan.torn_bytes:
        print(texts.LOG_TORN[say].format(bytes=scan.torn_bytes))
    return 0


def _client(args: argparse.Namespace) -> Client:
    return Client(args.socket, args.role, _read_once(args.pin_fd, args.pin_file, "pin"), wait_s=1.0)


def _list_keys(args: argparse.Namespace) -> int:
    with _client(args) as client:
        listed = client.keys()
        for one in listed:
            shown = one.public.hex() if one.public else f"kcv={one.kcv.hex() if one.kcv else ''}"
            print(one.label, one.kind, one.use, ",".join(one.scope) or "-", one.state, shown, sep="\t")
    return 0


def _show_status(args: argparse.Namespace) -> int:
    with _client(args) as client:
        status = client.status()
    print(
        f"started={status.started} keys={status.keys} pending_pins={status.pending_pins} log_lines={status.log_lines}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
