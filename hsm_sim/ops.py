"""Operations on keys: making, listing, disabling, signing; and the table of all operations."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hsm_sim.card_ops import CARD_SPECS
from hsm_sim.core import Hsm, Peer, Spec, Target, by_any_label, by_label, no_key
from hsm_sim.errors import BadRequest, Denied
from hsm_sim.keys import KeyState, Kind, Role, Use, load_key, new_secret
from hsm_sim.policy import Op
from hsm_sim.store import State

RANDOM_MAX_BYTES = 1024
BATCH_MAX = 4096


def new_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The use that a key about to be made will have."""
    return Target(_use(args[2]), args[0])


def transport_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """A transport set about to be loaded."""
    return Target(Use.TRANSPORT, args[0])


def _use(name: str) -> Use:
    if name not in set(Use):
        raise BadRequest(f"no use {name!r:.40}")
    return Use(name)


def _status(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[int]:
    state = hsm.state
    return [hsm.started, len(state.keys), len(state.jobs), hsm.log.head.count, state.generation]


def _keys(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return [one.info.to_wire() for one in hsm.state.keys.values()]


def _info(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return hsm.state.keys[args[0]].info.to_wire()


def _generate(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    label, kind_name, use, scope = args
    if kind_name not in set(Kind):
        raise BadRequest(f"no kind {kind_name!r:.40}")
    kind = Kind(kind_name)
    return _add(hsm, label, kind, _use(use), scope, new_secret(kind, hsm.random))


def _load_transport(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    label, enc, mac, dek = args
    if not len(enc) == len(mac) == len(dek):
        raise BadRequest("three keys of one length")
    return _add(hsm, label, Kind.SCP03_SET, Use.TRANSPORT, [], enc + mac + dek)


def _add(hsm: Hsm, label: str, kind: Kind, use: Use, scope: list[Any], secret: bytes) -> list[Any]:
    if not all(isinstance(one, str) for one in scope):
        raise BadRequest("scope is a list of agency prefixes")
    key = load_key(label, kind, use, tuple(scope), int(hsm.clock_s()), secret, KeyState.ACTIVE)
    hsm.add_key(key)
    return key.info.to_wire()


def _disable(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    label = args[0]

    def disable(state: State) -> State:
        key = state.keys[label]
        disabled = replace(key, info=replace(key.info, state=KeyState.DISABLED))
        return replace(state, keys={**state.keys, label: disabled})

    hsm.change(disable)


def _destroy(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    label = args[0]
    hsm.change(lambda state: replace(state, keys={name: key for name, key in state.keys.items() if name != label}))


def _set_pin(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    role, pin = args
    if role not in set(Role):
        raise BadRequest(f"no role {role!r:.40}")
    hsm.set_pins({Role(role): pin})


def _sign(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    return _signer(target, args[1])(args[2])


def _sign_many(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    sign = _signer(target, args[1])
    if len(args[2]) > BATCH_MAX or not all(isinstance(one, bytes) for one in args[2]):
        raise BadRequest(f"want at most {BATCH_MAX} byte strings")
    return [sign(one) for one in args[2]]


def _signer(target: Target, use: str) -> Callable[[bytes], bytes]:
    """The key's signing function, if the caller means what the key is for."""
    if use != target.use:
        raise Denied(f"{target.subject} is for {target.use}, not for {use[:40]}")
    if target.key is None or target.key.sign is None:
        raise Denied(f"{target.subject} does not sign")
    return target.key.sign


def _random(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    if not 1 <= args[0] <= RANDOM_MAX_BYTES:
        raise BadRequest(f"1 to {RANDOM_MAX_BYTES} bytes")
    return hsm.random(args[0])


def _log_head(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    head = hsm.log.head
    return [head.count, head.size_bytes, head.last_hash]


def _signed(args: list[Any]) -> str:
    """What the log keeps of signed data: half of its SHA-256."""
    return hashlib.sha256(args[2]).hexdigest()[:32]


def _signed_many(args: list[Any]) -> str:
    """What the log keeps of a batch: how many, and a hash over their hashes."""
    hashes = (hashlib.sha256(one).digest() for one in args[2] if isinstance(one, bytes))
    return f"{len(args[2])} {hashlib.sha256(b''.join(hashes)).hexdigest()[:32]}"


S, B, I, L = (str,), (bytes,), (int,), (list,)  # noqa: E741 - one letter each, for the table
SPECS: dict[str, Spec] = {
    Op.STATUS: Spec((), no_key, _status),
    Op.KEYS: Spec((), no_key, _keys),
    Op.INFO: Spec((S,), by_any_label, _info),
    Op.GENERATE: Spec((S, S, S, L), new_key, _generate, lambda args: f"{args[1]} {args[2]}"[:64]),
    Op.LOAD_TRANSPORT: Spec((S, B, B, B), transport_key, _load_transport),
    Op.DISABLE: Spec((S,), by_any_label, _disable),
    Op.DESTROY: Spec((S,), by_any_label, _destroy),
    Op.SET_PIN: Spec((S, S), no_key, _set_pin),
    Op.SIGN: Spec((S, S, B), by_label, _sign, _signed),
    Op.SIGN_MANY: Spec((S, S, L), by_label, _sign_many, _signed_many),
    Op.RANDOM: Spec((I,), no_key, _random),
    Op.LOG_HEAD: Spec((), no_key, _log_head),
    **CARD_SPECS,
}
