"""What officers, holders of shares and auditors type: `hsm-sim keys`, `state`, `cap`, `persons`, `approve`, `unseal`.

Each command is one call over the socket under a person's own PIN. What takes several persons is proposed and waits; the
others see it with `hsm-sim proposals` and agree with `hsm-sim approve`.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cardlink.gp.keys import key_check_value
from hsm_sim import backup, texts
from hsm_sim.client import Client, LogHead, Proposal
from hsm_sim.components import COMPONENT_BYTES
from hsm_sim.components import check as check_component
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, HsmGone, WrongKey, error_from_wire
from hsm_sim.frames import FrameSocket
from hsm_sim.inputs import check_free, read_once, read_secret, read_text, write_private
from hsm_sim.keys import EXPORTABLE, KeyState, Role
from hsm_sim.policy import Op
from hsm_sim.shares import combine, split
from hsm_sim.store import read_state
from hsm_sim.unseal import UNSEAL

SHARE_MAX_CHARS = 1024
ANSWER_WAIT_S = 30.0
PROPOSAL_WAIT_S = 3600.0


def add_officers(hsm: Hsm, officers: Mapping[str, str]) -> None:
    """Let the further officers of a new store log in."""
    peer = Peer(Role.SO, os.getuid())
    for name, pin in officers.items():
        hsm.call(peer, "add_person", [name, str(Role.SO), pin])


def add_to(parsers: Any, help_of: Callable[[str], str], lang: str) -> None:
    """Add the parsers of these commands."""

    def command(
        name: str, run: Callable[[argparse.Namespace], int], role: Role, *words: str
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = parsers.add_parser(name, help=help_of(name), description=help_of(name))
        parser.add_argument("--socket", type=Path, required=True, help=help_of("socket"))
        parser.add_argument(
            "--role", "--as", dest="role", default=str(role), metavar=help_of("NAME"), help=help_of("role")
        )
        pin = parser.add_mutually_exclusive_group(required=True)
        pin.add_argument("--pin-fd", type=int, help=help_of("pin-fd"))
        pin.add_argument("--pin-file", type=Path, help=help_of("pin-file"))
        for word in words:
            parser.add_argument(word, metavar=help_of(word.upper()), help=help_of(word))
        parser.set_defaults(run=run, lang=lang)
        return parser

    command("keys", _keys, Role.USER)
    command("status", _status, Role.USER)
    state = command("state", _state, Role.SO, "label")
    states = [str(one) for one in KeyState if one is not KeyState.DESTROYED]
    state.add_argument("state", choices=states, help=help_of("next-state"))
    command("destroy", _destroy, Role.SO, "label")
    cap = command("cap", _cap, Role.SO, "label")
    cap.add_argument("--per-second", type=int, default=0, help=help_of("per-second"))
    cap.add_argument("--per-day", type=int, default=0, help=help_of("per-day"))
    command("persons", _persons, Role.SO)
    add = command("add-person", _add_person, Role.SO, "name")
    add.add_argument("person_role", choices=[str(one) for one in Role], help=help_of("person-role"))
    add.add_argument("--new-pin-file", type=Path, required=True, help=help_of("new-pin-file"))
    command("remove-person", _remove_person, Role.SO, "name")
    anew = command("set-pin", _set_pin, Role.SO, "name")
    anew.add_argument("--new-pin-file", type=Path, required=True, help=help_of("new-pin-file"))
    needed = command("persons-needed", _persons_needed, Role.SO)
    needed.add_argument("number", type=int, metavar=help_of("NUMBER"), help=help_of("persons-needed"))
    command("proposals", _proposals, Role.SO)
    command("approve", _approve, Role.SO, "proposal")
    component = command("load-component", _load_component, Role.SO, "label")
    component.add_argument("--number", type=int, required=True, metavar="N", help=help_of("number"))
    component.add_argument("--of", type=int, required=True, choices=(2, 3), help=help_of("of"))
    component.add_argument("--kcv", metavar="HEX", help=help_of("kcv"))
    component.add_argument("--component-file", type=Path, help=help_of("component-file"))
    command("log-head", _log_head, Role.AUDITOR)
    rotate = command("rotate-log-key", _rotate_log_key, Role.SO)
    rotate.add_argument("--compromised-after", type=int, metavar="LINE", help=help_of("compromised-after"))

    unseal = parsers.add_parser("unseal", help=help_of("unseal"), description=help_of("unseal"))
    unseal.add_argument("--socket", type=Path, required=True, help=help_of("socket"))
    unseal.add_argument("--share-file", type=Path, help=help_of("share-file"))
    unseal.set_defaults(run=_unseal, lang=lang)
    shares = parsers.add_parser("split", help=help_of("split"), description=help_of("split"))
    _secret_options(shares, help_of)
    _share_options(shares, help_of)
    shares.set_defaults(run=_split, lang=lang)
    copy = parsers.add_parser("backup", help=help_of("backup"), description=help_of("backup"))
    _secret_options(copy, help_of)
    copy.add_argument("--store", type=Path, required=True, help=help_of("store"))
    copy.add_argument("--to", type=Path, required=True, help=help_of("backup-to"))
    _share_options(copy, help_of)
    copy.set_defaults(run=_backup, lang=lang)
    restore = parsers.add_parser("restore", help=help_of("restore"), description=help_of("restore"))
    _secret_options(restore, help_of)
    restore.add_argument("--backup", type=Path, required=True, help=help_of("restore-from"))
    restore.add_argument("--store", type=Path, required=True, help=help_of("store"))
    restore.add_argument("--share-file", type=Path, action="append", required=True, help=help_of("share-in"))
    restore.set_defaults(run=_restore, lang=lang)


def _secret_options(parser: argparse.ArgumentParser, help_of: Callable[[str], str]) -> None:
    parser.add_argument("--secret-fd", type=int, help=help_of("secret-fd"))
    parser.add_argument("--secret-file", type=Path, help=help_of("secret-file"))


def _share_options(parser: argparse.ArgumentParser, help_of: Callable[[str], str]) -> None:
    parser.add_argument("--threshold", type=int, required=True, metavar="M", help=help_of("threshold"))
    parser.add_argument("--share-file", type=Path, action="append", required=True, help=help_of("share-out"))


def _client(args: argparse.Namespace) -> Client:
    return Client(args.socket, args.role, read_once(args.pin_fd, args.pin_file, "pin"), wait_s=1.0)


def _say(args: argparse.Namespace, name: str, **facts: object) -> None:
    print(texts.text(texts.SAID, name, args.lang).format(**facts))


def _keys(args: argparse.Namespace) -> int:
    with _client(args) as client:
        listed = client.keys()
    for one in listed:
        shown = one.public.hex() if one.public else f"kcv={one.kcv.hex() if one.kcv else ''}"
        more = [EXPORTABLE] if one.terms.is_exportable else []
        print(one.label, one.kind, one.use, ",".join(one.scope) or "-", one.state, one.uses, shown, *more, sep="\t")
    return 0


def _status(args: argparse.Namespace) -> int:
    with _client(args) as client:
        status = client.status()
    print(
        f"started={status.started} keys={status.keys} pending_pins={status.pending_pins} log_lines={status.log_lines}"
    )
    return 0


def _agreed(args: argparse.Namespace, op: Op, arguments: list[Any]) -> int:
    """Do what may take several persons."""
    _wait_for(args, op, arguments)
    _say(args, "done")
    return 0


def _wait_for(args: argparse.Namespace, op: Op, arguments: list[Any]) -> Any:
    """Say once what the others must type, then wait for them; the answer of the operation."""
    told: set[bytes] = set()

    def waits(proposal: Proposal) -> None:
        if proposal.nonce not in told:
            told.add(proposal.nonce)
            _say(args, "waits", proposal=proposal.nonce.hex(), digest=proposal.digest.hex(), needed=proposal.needed)
            sys.stdout.flush()

    with _client(args) as client:
        return client.agreed(op, arguments, waits, PROPOSAL_WAIT_S)


def _state(args: argparse.Namespace) -> int:
    with _client(args) as client:
        client.set_state(args.label, args.state)
    _say(args, "done")
    return 0


def _destroy(args: argparse.Namespace) -> int:
    return _agreed(args, Op.DESTROY, [args.label])


def _cap(args: argparse.Namespace) -> int:
    return _agreed(args, Op.SET_CAP, [args.label, args.per_second, args.per_day])


def _persons(args: argparse.Namespace) -> int:
    with _client(args) as client:
        for one in client.persons():
            print(one.name, one.role, one.tries, sep="\t")
    return 0


def _add_person(args: argparse.Namespace) -> int:
    pin = read_once(None, args.new_pin_file, "new-pin")
    return _agreed(args, Op.ADD_PERSON, [args.name, args.person_role, pin])


def _set_pin(args: argparse.Namespace) -> int:
    return _agreed(args, Op.SET_PIN, [args.name, read_once(None, args.new_pin_file, "new-pin")])


def _remove_person(args: argparse.Namespace) -> int:
    return _agreed(args, Op.REMOVE_PERSON, [args.name])


def _persons_needed(args: argparse.Namespace) -> int:
    return _agreed(args, Op.SET_PERSONS_NEEDED, [args.number])


def _proposals(args: argparse.Namespace) -> int:
    with _client(args) as client:
        for one in client.proposals():
            print(one.nonce.hex(), one.op, _shown(one.args), ",".join(one.persons), one.digest.hex(), sep="\t")
    return 0


def _shown(arguments: list[Any]) -> str:
    """Arguments as text; long byte strings by their beginning."""
    return " ".join(one.hex()[:64] if isinstance(one, bytes) else str(one) for one in arguments)


def _approve(args: argparse.Namespace) -> int:
    """Agree to a proposal, after it has been shown."""
    with _client(args) as client:
        found = [one for one in client.proposals() if one.nonce.hex().startswith(args.proposal.lower())]
        if len(found) != 1 or len(args.proposal) < 8:
            raise BadRequest("no such proposal, or more than one begins so", "proposal.none")
        print(found[0].op, _shown(found[0].args), sep="\t")
        after = client.approve(found[0])
    _say(args, "approved", have=len(after.persons), needed=after.needed)
    return 0


def _load_component(args: argparse.Namespace) -> int:
    """Enter one component of a key-encryption key."""
    try:
        value = bytes.fromhex(_read_share(args.component_file))
    except ValueError as error:
        raise BadRequest(f"a component is {2 * COMPONENT_BYTES} hex digits", "component.form") from error
    check_component(args.number, args.of, value)
    if args.kcv is not None and key_check_value(value).hex() != args.kcv.lower():
        raise WrongKey(f"--kcv {args.kcv[:8]}: mistyped, or another component; nothing was sent")
    with _client(args) as client:
        taken = client.load_component(args.label, args.number, args.of, value)
    kcv = taken.kcv.hex().upper()
    _say(args, "component-taken", number=args.number, count=args.of, kcv=kcv, have=taken.have)
    if taken.key_kcv:
        _say(args, "kek-made", label=args.label, kcv=taken.key_kcv.hex().upper())
    return 0


def _log_head(args: argparse.Namespace) -> int:
    with _client(args) as client:
        print(_head_line(client.log_head()))
    return 0


def _head_line(head: LogHead) -> str:
    """A head of the log as auditors keep it; `hsm_sim.seals.read_heads` reads it again."""
    key = head.seal_key.hex() if head.seal_key else "-"
    return f"lines={head.count} bytes={head.size_bytes} last={head.last_hash.hex()} seal-key={key}"


def _rotate_log_key(args: argparse.Namespace) -> int:
    """Let a new key seal the log; its head is told for those who keep it elsewhere."""
    head = LogHead(*_wait_for(args, Op.ROTATE_LOG_KEY, [args.compromised_after]))
    _say(args, "keep-head")
    print(_head_line(head))
    return 0


def _read_share(path: Path | None) -> str:
    """A share from a file, or typed without being shown."""
    if path is not None:
        return read_text(path)[:SHARE_MAX_CHARS]
    if not sys.stdin.isatty():
        return sys.stdin.readline(SHARE_MAX_CHARS)
    from getpass import getpass

    return getpass("> ")


def _unseal(args: argparse.Namespace) -> int:
    share = _read_share(args.share_file)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        connected.settimeout(ANSWER_WAIT_S)
        try:
            connected.connect(str(args.socket))
        except OSError as error:
            raise HsmGone(f"{args.socket}: {error.strerror}") from error
        frames = FrameSocket(connected, is_strict=False)
        frames.send([UNSEAL, share])
        answer = frames.receive()
    if answer[0] is not True:
        refused = error_from_wire(*answer[1:])
        if isinstance(refused, BadRequest) and not refused.reason:  # it wants a login and no share
            refused.reason = "share.not-sealed"
        raise refused
    have, needed = answer[1:]
    _say(args, "opened" if have >= needed else "share-taken", have=have, needed=needed)
    return 0


def _split(args: argparse.Namespace) -> int:
    """Give the store's secret to several holders, each their own file."""
    given = read_secret(args.secret_fd, args.secret_file)
    check_free(*args.share_file)
    _write_shares(args, split(given.store_secret, args.threshold, len(args.share_file)))
    return 0


def _write_shares(args: argparse.Namespace, shares: Sequence[str]) -> None:
    write_private(dict(zip(args.share_file, shares, strict=True)))
    _say(args, "split", count=len(shares), threshold=args.threshold)


def _backup(args: argparse.Namespace) -> int:
    """Copy the store under a key of its own, which is given out in shares and kept nowhere."""
    given = read_secret(args.secret_fd, args.secret_file)
    state = read_state(args.store, given.store_secret)
    check_free(args.to, *args.share_file)
    wrap_key, shares = backup.new_shares(args.threshold, len(args.share_file))
    digest = backup.write(state, wrap_key, args.to)
    try:
        _write_shares(args, shares.words)
    except OSError:
        backup.remove(args.to)  # without its shares nobody opens it
        raise
    _say(args, "backed-up", keys=len(state.keys), path=args.to, digest=digest, split=shares.split)
    return 0


def _restore(args: argparse.Namespace) -> int:
    """Make a new store from a backup, under a secret of its own. Its log begins anew."""
    given = read_secret(args.secret_fd, args.secret_file)
    check_free(args.store)
    wrap_key = combine([_read_share(path) for path in args.share_file])
    state = backup.restore(args.backup, wrap_key, args.store, given.store_secret)
    _say(args, "restored", keys=len(state.keys), path=args.store)
    return 0
