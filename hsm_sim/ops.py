"""Operations on keys: making, listing, their states and caps, signing; and the table of all operations."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from hsm_sim.admission import Admission, Again
from hsm_sim.card_ops import CARD_SPECS
from hsm_sim.core import Hsm, Peer, Spec, Target, by_any_label, by_label, no_key
from hsm_sim.errors import BadRequest, Capped, Denied, NoSuchKey
from hsm_sim.keys import NO_TERMS, STEPS, KeyInfo, KeyState, Kind, Sign, Terms, Use, make_key, new_secret
from hsm_sim.meter import COUNTED_ACTS, Cap
from hsm_sim.moving_ops import MOVING_SPECS
from hsm_sim.people_ops import PEOPLE_SPECS
from hsm_sim.policy import Op
from hsm_sim.store import State

RANDOM_MAX_BYTES = 4096
BATCH_MAX = 4096
KEYS_AT_ONCE = 1000


def new_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The use that a key about to be made will have."""
    return Target(_use(args[2]), args[0])


def transport_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """A transport set about to be loaded."""
    return Target(Use.TRANSPORT, args[0])


def key_or_act(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The key that a cap is for, or something counted that uses none."""
    return Target(None, args[0]) if args[0] in COUNTED_ACTS else by_any_label(hsm, peer, args)


def _use(name: str) -> Use:
    if name not in set(Use):
        raise BadRequest(f"no use {name!r:.40}")
    return Use(name)


def _status(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[int]:
    state = hsm.state
    pins = sum(bool(job.pin) for job in state.jobs.values())
    return [hsm.started, len(state.keys), pins, hsm.log.head.count, state.generation, len(state.jobs)]


def _keys(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    """A page of keys, in the order in which they were made: after which label, and how many."""
    after, most = args
    if not 1 <= most <= KEYS_AT_ONCE:
        raise BadRequest(f"1 to {KEYS_AT_ONCE} keys at once")
    held = hsm.state.keys
    if after and after not in held:
        raise NoSuchKey(after)
    labels = list(held)
    begin = labels.index(after) + 1 if after else 0
    return [_told(hsm, held[label].info) for label in labels[begin : begin + most]]


def _told(hsm: Hsm, info: KeyInfo) -> list[Any]:
    return replace(info, uses=hsm.uses_of(info.label)).to_wire()


def _info(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return _told(hsm, hsm.state.keys[args[0]].info)


def _generate(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    label, kind_name, use, scope, terms, is_active = args
    if kind_name not in set(Kind):
        raise BadRequest(f"no kind {kind_name!r:.40}")
    kind = Kind(kind_name)
    state = KeyState.ACTIVE if is_active else KeyState.PRE_ACTIVE
    return _add(hsm, label, kind, _use(use), scope, new_secret(kind, hsm.random), Terms.from_wire(terms), state)


def _load_transport(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    label, enc, mac, dek = args
    if not len(enc) == len(mac) == len(dek):
        raise BadRequest("three keys of one length")
    return _add(hsm, label, Kind.SCP03_SET, Use.TRANSPORT, [], enc + mac + dek, is_delivered=True)


def _add(
    hsm: Hsm,
    label: str,
    kind: Kind,
    use: Use,
    scope: list[Any],
    secret: bytes,
    terms: Terms = NO_TERMS,
    state: KeyState = KeyState.ACTIVE,
    *,
    is_delivered: bool = False,
) -> list[Any]:
    if not all(isinstance(one, str) for one in scope):
        raise BadRequest("scope is a list of agency prefixes")
    made = int(hsm.clock_s())
    key = make_key(label, kind, use, tuple(scope), made, secret, state, terms, is_delivered=is_delivered)
    hsm.add_key(key)
    return key.info.to_wire()


def _set_state(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    label, name = args
    if name not in set(KeyState) or name == KeyState.DESTROYED:
        raise BadRequest(f"no state {name[:16]!r} to be set")
    _step(hsm, label, KeyState(name))


def _destroy(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    _step(hsm, args[0], KeyState.DESTROYED)


def _step(hsm: Hsm, label: str, following: KeyState) -> None:
    def step(state: State) -> State:
        key = state.keys[label]
        if following not in STEPS[key.info.state]:
            raise BadRequest(f"{label}: from {key.info.state} no way leads to {following}", "key.step")
        return replace(state, keys={**state.keys, label: key.in_state(following)})

    hsm.change(step)


def _set_cap(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    label, per_second, per_day = args
    cap = Cap.checked(per_second, per_day)
    hsm.change(lambda state: replace(state, caps={**state.caps, label: cap}))


def _caps(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    """Every cap in force, and how often the client that came nearest to it has done today what it is for."""
    caps = {label: act.cap for label, act in COUNTED_ACTS.items()} | dict(hsm.state.caps)
    return [[label, cap.per_second, cap.per_day, hsm.uses_today(label)] for label, cap in caps.items()]


def _sign(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    _, use, data, digest = args
    return _signer(target, use)(data, digest)


def _sign_again(hsm: Hsm, admission: Admission) -> Again:
    """One signature after the other with one key. What `_sign` would refuse, and what is capped, is left to it."""
    target, line, append = admission.target, admission.line, hsm.log.append_to
    take = admission.tally.take if admission.tally is not None else None
    sign = target.key.sign if target.key is not None else None

    def again(args: list[Any]) -> bytes | None:
        if len(args) != 3 or sign is None or take is None:
            return None
        _, use, data = args
        if use != target.use or type(data) is not bytes:
            return None
        try:
            take(1)
        except Capped:
            return None
        digest = sha256(data).digest()
        append(line, digest.hex()[:32])
        return sign(data, digest)

    return again


def _sign_many(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    _, use, data, digests = args
    sign = _signer(target, use)
    if len(data) > BATCH_MAX or len(digests) != len(data):
        raise BadRequest(f"want at most {BATCH_MAX} byte strings")
    return hsm.crew.each(lambda pair: sign(*pair), list(zip(data, digests, strict=True)))


def _sign_digest(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    """Sign what is too long for a frame, by its SHA-256: an ES256 key alone, all others sign the data themselves."""
    _, use, digest = args
    if len(digest) != sha256().digest_size or target.key is None or target.key.info.kind is not Kind.EC_P256:
        raise BadRequest("want a SHA-256 digest, and a P-256 key for it")
    return _signer(target, use)(b"", digest)


def _signer(target: Target, use: str) -> Sign:
    """The key's signing function, if the caller means what the key is for."""
    if use != target.use:
        raise Denied(f"{target.subject} is for {target.use}, not for {use[:40]}")
    sign = target.key.sign if target.key is not None else None
    if sign is None:
        raise Denied(f"{target.subject} does not sign")
    return sign


def _random(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> bytes:
    if not 1 <= args[0] <= RANDOM_MAX_BYTES:
        raise BadRequest(f"1 to {RANDOM_MAX_BYTES} bytes")
    return hsm.random(args[0])


def _log_head(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    hsm.log.seal()
    head, key = hsm.log.head, hsm.log.seal_public
    return [head.count, head.size_bytes, head.last_hash, key]


def _signed(args: list[Any]) -> str:
    """What the log keeps of signed data: half of its SHA-256, which stays with the arguments for the signature."""
    digest = sha256(args[2]).digest()
    args.append(digest)
    return digest.hex()[:32]


def _digest(args: list[Any]) -> str:
    """The same for data that stayed with the caller."""
    return bytes(args[2]).hex()[:32]


def _signed_many(args: list[Any]) -> str:
    """What the log keeps of a batch: how many, and a hash over their hashes, which stay with the arguments."""
    digests = [sha256(one).digest() for one in args[2] if isinstance(one, bytes)]
    args.append(digests)
    return f"{len(args[2])} {sha256(b''.join(digests)).hexdigest()[:32]}"


def _making(args: list[Any]) -> str:
    """What the log keeps of a new key: what it is, and whether it may leave."""
    return " ".join([args[1][:24], args[2][:24], *(str(one)[:16] for one in args[4][3:4])])


def _one(args: list[Any]) -> int:
    return 1


def _as_many(args: list[Any]) -> int:
    return len(args[2])


S, B, I, L, Y = (str,), (bytes,), (int,), (list,), (bool,)  # noqa: E741 - one letter each, for the table
SPECS: dict[str, Spec] = {
    Op.STATUS: Spec((), no_key, _status),
    Op.KEYS: Spec((S, I), no_key, _keys),
    Op.INFO: Spec((S,), by_any_label, _info),
    Op.GENERATE: Spec((S, S, S, L, L, Y), new_key, _generate, _making),
    Op.LOAD_TRANSPORT: Spec((S, B, B, B), transport_key, _load_transport),
    Op.SET_STATE: Spec((S, S), by_any_label, _set_state, lambda args: args[1][:16]),
    Op.DESTROY: Spec((S,), by_any_label, _destroy),
    Op.SET_CAP: Spec((S, I, I), key_or_act, _set_cap, lambda args: f"{args[1]}/s {args[2]}/day"),
    Op.CAPS: Spec((), no_key, _caps),
    Op.SIGN: Spec((S, S, B), by_label, _sign, _signed, _one, again=_sign_again),
    Op.SIGN_MANY: Spec((S, S, L), by_label, _sign_many, _signed_many, _as_many),
    Op.SIGN_DIGEST: Spec((S, S, B), by_label, _sign_digest, _digest, _one),
    Op.RANDOM: Spec((I,), no_key, _random),
    Op.LOG_HEAD: Spec((), no_key, _log_head),
    **CARD_SPECS,
    **MOVING_SPECS,
    **PEOPLE_SPECS,
}
