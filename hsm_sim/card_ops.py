"""Operations on cards: SCP03 sessions, and loading of what nobody outside may see.

PUT KEY, PINs, PUK and the 9B key are put together and wrapped in here; what comes out is cipher text for one card.
"""

import hmac
from collections.abc import Callable
from typing import Any

from cardlink.gp.commands import decode_initialize_update, put_key_set
from cardlink.gp.host_channel import HostChannel, check_is_plain
from cardlink.gp.keys import derive_card_keys_by, derive_card_secrets_by, key_check_value
from cardlink.gp.loading import (
    FACTORY_PIN,
    FACTORY_PUK,
    PIV_PIN,
    PIV_PUK,
    change_reference,
    set_admin_key,
    verify_pin,
)
from cardlink.gp.scp03 import Level, StaticKeys
from cardlink.iso7816.apdu import decode_command
from cardlink.iso7816.sw import SUCCESS_BYTES
from hsm_sim.core import Hsm, Peer, Spec, Target, by_label, by_session
from hsm_sim.errors import BadRequest, Denied, NoSuchKey, SessionLost, WrongAnswer
from hsm_sim.job_ops import JOB_MAX_CHARS, JOB_SPECS, bind_job, check_claim, pin_of
from hsm_sim.keys import Key, KeyState, Use
from hsm_sim.policy import Op
from hsm_sim.sessions import CardSession

SESSIONS_MAX = 32
CHAIN_MAX_BLOCKS = 256
CARDS_AT_ONCE = 4096
CARD_KEY_BITS = (128, 192, 256)
USE_OF_KEY_SET = {"transport": Use.TRANSPORT, "card": Use.CARD_MASTER}
_ENDED = (KeyState.DEACTIVATED, KeyState.COMPROMISED)


def _open_session(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    job, key_set, _, kdd, kvn, host_challenge, raw_answer, level, key_bits = args
    if not 1 <= len(job) <= JOB_MAX_CHARS or USE_OF_KEY_SET.get(key_set) is not target.use or target.key is None:
        raise BadRequest(f"{target.subject} gives no key set of kind {key_set[:16]}")
    for number in [number for number, one in peer.sessions.items() if one.channel.is_closed]:
        del peer.sessions[number]
    if len(peer.sessions) >= SESSIONS_MAX:
        raise Denied(f"{SESSIONS_MAX} sessions are open on this connection")
    check_claim(hsm, job, kdd)
    answer = decode_initialize_update(raw_answer.removesuffix(SUCCESS_BYTES) if _has_status(raw_answer) else raw_answer)
    if answer.kdd != kdd or (kvn and answer.kvn != kvn):
        raise BadRequest("the card is not the one named")
    if target.use is Use.TRANSPORT:
        keys = target.key.scp03_set()
    else:
        keys = _card_keys(target.key, kdd, answer.kvn, key_bits)
    channel = HostChannel.of_keys(keys, host_challenge, answer, level)
    bind_job(hsm, job, kdd)
    session = int.from_bytes(hsm.random(6), "big") or 1
    label = target.key.info.label
    peer.sessions[session] = CardSession(channel, job, label, USE_OF_KEY_SET[key_set], kdd, answer.kvn, keys.dek)
    return [session, channel.authentication]


def _has_status(raw_answer: bytes) -> bool:
    """An INITIALIZE UPDATE answer of these lengths ends in its status word; those without one are 29, 32, 45 or 48."""
    return len(raw_answer) in (31, 34, 47, 50)


def _card_keys(master: Key, kdd: bytes, kvn: int, key_bits: int) -> StaticKeys:
    if key_bits not in CARD_KEY_BITS or not 0 <= kvn <= 0xFF:
        raise BadRequest("want a key version of one byte and 128, 192 or 256 bits")
    return derive_card_keys_by(master.mac, kdd, kvn, key_bits)


def _session(target: Target) -> CardSession:
    if target.session is None:
        raise SessionLost("no such session")
    return target.session


def _claimed(hsm: Hsm, target: Target) -> CardSession:
    """A session whose job and key would open it now too. Raises Denied, NotAllocated, NoSuchKey."""
    session = _session(target)
    if not _is_ended_master(hsm.state.keys.get(session.label)):
        hsm.find_key(session.label)
    check_claim(hsm, session.job, session.kdd)
    return session


def _lasting(hsm: Hsm, target: Target) -> CardSession:
    """A session that may do more than replace its own keys: not one under a master key that has ended."""
    session = _claimed(hsm, target)
    if _is_ended_master(hsm.state.keys.get(session.label)):
        raise Denied("the master key of this session has ended: it puts keys of another one into their place alone")
    return session


def _is_ended_master(key: Key | None) -> bool:
    return key is not None and key.info.state in _ENDED and key.info.use is Use.CARD_MASTER


def _wrap(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    command = decode_command(args[1])
    check_is_plain(command)
    return _lasting(hsm, target).channel.wrap(command)


def _unwrap(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    return _session(target).channel.unwrap(args[1])


def _wrap_chain(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    commands = [decode_command(one) for one in _byte_strings(args[1])]
    for command in commands:
        check_is_plain(command)
    return _lasting(hsm, target).channel.wrap_chain(commands)


def _unwrap_chain(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    return _session(target).channel.unwrap_chain(_byte_strings(args[1]))


def _byte_strings(given: list[Any]) -> list[bytes]:
    if not 1 <= len(given) <= CHAIN_MAX_BLOCKS or not all(isinstance(one, bytes) for one in given):
        raise BadRequest(f"want 1 to {CHAIN_MAX_BLOCKS} byte strings")
    return given


def by_session_and_master(label_at: int) -> Callable[[Hsm, Peer, list[Any]], Target]:
    """The session of the first argument and the key that another one names; without one, the session's own decides."""

    def find(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
        target = by_session(hsm, peer, args)
        label = args[label_at]
        if label is None:
            return target
        key = hsm.find_key(label)
        return Target(key.info.use, target.subject, key, target.session)

    return find


def _put_keys(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    _, label, kdd, new_kvn, replace_kvn, key_bits = args
    session = _same_card(target, kdd)
    _claimed(hsm, target)
    if target.key is None:
        raise NoSuchKey(label)
    if not 1 <= new_kvn <= 0x7F or not 0 <= replace_kvn <= 0x7F:
        raise BadRequest("key versions are 01 to 7F")
    put_key = put_key_set(_card_keys(target.key, kdd, new_kvn, key_bits), session.dek, new_kvn, replace_kvn)
    wrapped = session.channel.wrap(put_key.encode())
    session.put_keys_answer = put_key.answer()
    return wrapped


def _check_put_keys(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    session = _session(target)
    expected, session.put_keys_answer = session.put_keys_answer, b""
    if hsm.faults is not None and hsm.faults.has_wrong_kcv:
        expected = bytes(255 - byte for byte in expected)
    if not expected:
        raise BadRequest("no PUT KEY was wrapped before")
    answer = session.channel.unwrap(args[1])
    if not answer.endswith(SUCCESS_BYTES):
        raise WrongAnswer(f"PUT KEY: {answer[-2:].hex().upper()}")
    if not hmac.compare_digest(answer[:-2], expected):
        session.channel.close()
        raise WrongAnswer("PUT KEY: key check values")
    session.kvn = expected[0]


def _same_card(target: Target, kdd: bytes) -> CardSession:
    session = _session(target)
    if kdd != session.kdd:
        raise BadRequest("the session is with another card")
    return session


def _put_secret(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    _, kind, label, kdd, kvn, factory = args
    session = _lasting(hsm, target)
    if kdd is not None:
        _same_card(target, kdd)
    if not session.channel.level & Level.C_ENC:
        raise Denied("secrets go over an encrypted channel only")
    if kind in ("9b", "puk"):
        if target.key is None or target.use is not Use.CARD_MASTER:
            raise NoSuchKey(f"{label}")
        secrets = derive_card_secrets_by(target.key.mac, session.kdd, session.kvn if kvn is None else kvn)
        command = (
            set_admin_key(secrets.admin_key)
            if kind == "9b"
            else change_reference(PIV_PUK, factory or FACTORY_PUK, secrets.puk)
        )
    elif kind == "pin":
        command = change_reference(PIV_PIN, factory or FACTORY_PIN, pin_of(hsm, session))
    elif kind == "verify-pin":
        known = hsm.state.jobs.get(session.job)
        if known is None or known.kdd != session.kdd or not known.pin:
            raise NoSuchKey(f"no PIN for job {session.job}")
        command = verify_pin(known.pin)
    else:
        raise BadRequest(f"no secret of kind {kind[:16]}")
    return session.channel.wrap(command)


def _close_session(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    _session(target).channel.close()
    peer.sessions.pop(args[0], None)


def _derive_check(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    _, kdd, kvn, key_bits = args
    return _check_values(hsm, target, kdd, kvn, key_bits)


def _derive_checks(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    """For many cards: one string for each, its three check values one after the other."""
    _, cards, kvn, key_bits = args
    if len(cards) > CARDS_AT_ONCE or not all(isinstance(one, bytes) for one in cards):
        raise BadRequest(f"want at most {CARDS_AT_ONCE} cards")
    return [b"".join(_check_values(hsm, target, kdd, kvn, key_bits)) for kdd in cards]


def _check_values(hsm: Hsm, target: Target, kdd: bytes, kvn: int, key_bits: int) -> list[bytes]:
    if target.key is None:
        raise NoSuchKey(target.subject)
    keys = _card_keys(target.key, kdd, kvn, key_bits)
    values = [key_check_value(one) for one in (keys.enc, keys.mac, keys.dek)]
    if hsm.faults is not None and hsm.faults.has_wrong_kcv:
        return [bytes(255 - byte for byte in one) for one in values]
    return values


def by_opening_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The transport set or master key that opens a session, named with its job.

    A master key that has ended still opens the cards that bear its keys: how else would they get others.
    """
    key = hsm.state.keys.get(args[2])
    if key is None or not _is_ended_master(key):
        key = hsm.find_key(args[2])
    return Target(key.info.use, f"{args[0][:JOB_MAX_CHARS]} {args[2]}", key)


def _opened(args: list[Any]) -> str:
    """What the log keeps of a session: the card, and the key that opens it."""
    return f"{args[3].hex()} {args[2]}"


def _header(args: list[Any]) -> str:
    """What the log keeps of a wrapped command: its header."""
    return str(args[1][:4].hex())


def _chain_header(args: list[Any]) -> str:
    """What the log keeps of a wrapped chain: how many blocks, and the header of the last."""
    last = args[1][-1] if args[1] else b""
    return f"{len(args[1])} {last[:4].hex() if isinstance(last, bytes) else ''}"


def _versions(args: list[Any]) -> str:
    """What the log keeps of PUT KEY: the version replaced and the new one."""
    return f"{args[4]}>{args[3]}"


S, B, I, L = (str,), (bytes,), (int,), (list,)  # noqa: E741 - one letter each, for the table
CARD_SPECS: dict[str, Spec] = {
    **JOB_SPECS,
    Op.DERIVE_CHECK: Spec((S, B, I, I), by_label, _derive_check),
    Op.DERIVE_CHECKS: Spec((S, L, I, I), by_label, _derive_checks, lambda args: f"{len(args[1])} cards"),
    Op.OPEN_SESSION: Spec((S, S, S, B, I, B, B, I, I), by_opening_key, _open_session, _opened, lambda _: 1),
    Op.WRAP: Spec((I, B), by_session, _wrap, _header),
    Op.UNWRAP: Spec((I, B), by_session, _unwrap),
    Op.WRAP_CHAIN: Spec((I, L), by_session, _wrap_chain, _chain_header),
    Op.UNWRAP_CHAIN: Spec((I, L), by_session, _unwrap_chain),
    Op.PUT_KEYS: Spec((I, S, B, I, I, I), by_session_and_master(1), _put_keys, _versions),
    Op.CHECK_PUT_KEYS: Spec((I, B), by_session, _check_put_keys),
    Op.PUT_SECRET: Spec(
        (I, S, (str, type(None)), (bytes, type(None)), (int, type(None)), (bytes, type(None))),
        by_session_and_master(2),
        _put_secret,
        lambda args: args[1][:16],
    ),
    Op.CLOSE_SESSION: Spec((I,), by_session, _close_session),
}
