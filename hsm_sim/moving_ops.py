"""Operations by which keys come and go enciphered, and by which the keys that encipher them come in."""

from typing import Any

from cardlink.gp.keys import key_check_value
from hsm_sim import wrapping
from hsm_sim.components import COMPONENTS_MAX, check
from hsm_sim.core import Hsm, Peer, Spec, Target
from hsm_sim.errors import BadRequest, Denied, KeyExists, NotExportable, WrongKey
from hsm_sim.keys import STAYING_USES, Key, Kind, Terms, Use, make_key
from hsm_sim.policy import Op


def coming(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """A key that comes in under the key-encryption key that the first argument names; that one is used and counted."""
    kek = _kek(hsm, args[0])
    if args[4] not in set(Use):
        raise BadRequest(f"no use {args[4]!r:.40}")
    if args[2] in hsm.state.keys:
        raise KeyExists(args[2])
    return Target(Use(args[4]), args[0], kek)


def leaving(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The key that the first argument names, about to leave under the one that the second names, which is counted."""
    info = hsm.find_key(args[0]).info
    if not info.terms.is_exportable and info.use not in STAYING_USES:
        raise NotExportable(args[0])  # before anybody is asked to agree
    return Target(info.use, args[1], _kek(hsm, args[1]))


def component(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """A key-encryption key about to be put together."""
    return Target(Use.WRAP, args[0])


def _kek(hsm: Hsm, label: str) -> Key:
    key = hsm.find_key(label)
    if key.info.use is not Use.WRAP:
        raise Denied(f"{label} enciphers no keys")
    return key


def _wrap_key(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[bytes]:
    """The enciphered key, and its check value: public key or key check value."""
    key = hsm.find_key(args[0])
    return [wrapping.wrap(_secret_of(target), key), key.info.public or key.info.kcv or b""]


def _unwrap_key(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    """Open, hold against the check value where one was named, and keep."""
    _, wrapped, label, kind_name, use, scope, terms, expected = args
    if kind_name not in set(Kind) or not all(isinstance(one, str) for one in scope):
        raise BadRequest(f"no kind {kind_name!r:.40}, or the scope is no list of agency prefixes")
    kind = Kind(kind_name)
    secret = wrapping.unwrap(_secret_of(target), wrapped, kind)
    bound = Terms.from_wire(terms)
    key = make_key(label, kind, Use(use), tuple(scope), int(hsm.clock_s()), secret, terms=bound, is_delivered=True)
    if expected and expected != (key.info.public or key.info.kcv):
        raise WrongKey("the check value is another one")
    hsm.add_key(key)
    return key.info.to_wire()


def _secret_of(target: Target) -> bytes:
    if target.key is None:
        raise Denied("no key to encipher with")
    return target.key.secret


def _load_component(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    """Take one component; the last makes the key. Answers its check value, how many there are, that of the key."""
    label, number, count, value = args
    if count < min(hsm.persons_needed, COMPONENTS_MAX):
        raise Denied(f"it takes {hsm.persons_needed} persons: the key must come in as many components")
    if label in hsm.state.keys:
        raise KeyExists(label)
    make_key(label, Kind.AES_256, Use.WRAP, (), 0, value, is_delivered=True)
    have, whole = hsm.components.take(label, number, count, value, peer.name)
    answer = [key_check_value(value), have, b""]
    if whole:
        key = make_key(label, Kind.AES_256, Use.WRAP, (), int(hsm.clock_s()), whole, is_delivered=True)
        hsm.add_key(key)
        hsm.components.forget(label)
        answer[2] = key.info.kcv
    return answer


def _which(args: list[Any]) -> str:
    """What the log keeps of a component: its number and its check value."""
    check(args[1], args[2], args[3])
    return f"{args[1]}/{args[2]} {key_check_value(args[3]).hex()}"


def _one(args: list[Any]) -> int:
    return 1


S, B, I, L = (str,), (bytes,), (int,), (list,)  # noqa: E741 - one letter each, for the table
MOVING_SPECS: dict[str, Spec] = {
    Op.LOAD_COMPONENT: Spec((S, I, I, B), component, _load_component, _which),
    Op.WRAP_KEY: Spec((S, S), leaving, _wrap_key, lambda args: args[0], _one),
    Op.UNWRAP_KEY: Spec(
        (S, B, S, S, S, L, L, B), coming, _unwrap_key, lambda args: f"{args[2]} {args[3]} {args[4]}"[:128], _one
    ),
}
