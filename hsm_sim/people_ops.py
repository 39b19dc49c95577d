"""Operations on the persons of the HSM, and on what they agree on together."""

from dataclasses import replace
from typing import Any

from hsm_sim.core import PERSONS, Hsm, Peer, Spec, Target, no_key
from hsm_sim.errors import BadRequest, Denied
from hsm_sim.keys import Role
from hsm_sim.pins import make_pin_record
from hsm_sim.policy import Op, is_for_several
from hsm_sim.quorum import Proposal
from hsm_sim.store import State

NAME_CHARS = (2, 32)
PERSONS_MAX = 64


def _role(name: str) -> Role:
    if name not in set(Role):
        raise BadRequest(f"no role {name!r:.40}")
    return Role(name)


def _set_pin(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    """A new PIN for a person; the persons that bear a role's name are made with their first one."""
    name, pin = args
    record = hsm.state.pins.get(name)
    if record is None and name not in set(Role):
        raise BadRequest(f"no person {name[:32]}", "person.none")
    role = record.role if record is not None and record.role is not None else _role(name)
    made = make_pin_record(role, pin, hsm.random)
    hsm.change(lambda state: replace(state, pins={**state.pins, name: made}))


def _add_person(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    name, role, pin = args
    if not NAME_CHARS[0] <= len(name) <= NAME_CHARS[1] or not name.isprintable() or "/" in name:
        raise BadRequest(
            f"a name has {NAME_CHARS[0]} to {NAME_CHARS[1]} printable characters and no slash", "person.name"
        )
    record = make_pin_record(_role(role), pin, hsm.random)

    def add(state: State) -> State:
        if name in state.pins or len(state.pins) >= PERSONS_MAX:
            raise BadRequest(f"{name} is there already, or {PERSONS_MAX} persons are", "person.taken")
        return replace(state, pins={**state.pins, name: record})

    hsm.change(add)


def _remove_person(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    name = args[0]

    def remove(state: State) -> State:
        if name not in state.pins:
            raise BadRequest(f"no person {name[:32]}", "person.none")
        left = {other: record for other, record in state.pins.items() if other != name}
        if sum(record.role is Role.SO for record in left.values()) < hsm.persons_needed:
            raise Denied("too few security officers would be left for a quorum", "person.officers")
        return replace(state, pins=left)

    hsm.change(remove)


def _persons(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return [[name, str(record.role), record.tries] for name, record in hsm.state.pins.items()]


def _set_persons_needed(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> None:
    needed = args[0]

    def set_needed(state: State) -> State:
        officers = sum(record.role is Role.SO for record in state.pins.values())
        if not 1 <= needed <= officers:
            raise BadRequest(f"1 to {officers}, the security officers there are", "persons.range")
        return replace(state, settings={**state.settings, PERSONS: needed})

    hsm.change(set_needed)


def _propose(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    name, proposed = args
    op = Op(name) if name in set(Op) else None
    if op is None or op in (Op.PROPOSE, Op.APPROVE, Op.CARRY_OUT):
        raise BadRequest(f"no operation {name[:40]!r} to be proposed")
    hsm.check_request(op, proposed)
    found = hsm.target_of(peer, op, proposed)
    if not is_for_several(op, found.use):
        raise BadRequest(f"{op} takes one person: ask for it outright")
    return _told(hsm.quorum.propose(peer.name, op, proposed), hsm)


def _proposals(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return [_told(one, hsm) for one in hsm.quorum.waiting()]


def _approve(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    return _told(hsm.quorum.approve(peer.name, args[0], args[1]), hsm)


def _carry_out(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> Any:
    agreed = hsm.quorum.take(peer.name, args[0], hsm.persons_needed)
    return hsm.carry_out(peer, Op(agreed.op), agreed.args, agreed.persons)


def _rotate_log_key(hsm: Hsm, peer: Peer, target: Target, args: list[Any]) -> list[Any]:
    """Replace the key that seals the log; answers the head that auditors keep elsewhere, with the new key."""
    hsm.rotate_log_key(args[0])
    head = hsm.log.head
    return [head.count, head.size_bytes, head.last_hash, hsm.log.seal_public]


def _since(args: list[Any]) -> str:
    """What the log keeps of it: since when the old key was in other hands."""
    return "" if args[0] is None else f"compromised after {args[0]}"


def _told(one: Proposal, hsm: Hsm) -> list[Any]:
    """What everybody sees of a proposal. A PIN in its arguments is not shown; it is in the hash that is approved."""
    shown = [
        "…" if hides_last(one.op) and number == len(one.args) - 1 else value for number, value in enumerate(one.args)
    ]
    return [one.nonce, one.op, shown, one.digest, one.ends_s, list(one.persons), hsm.persons_needed]


def hides_last(op: str) -> bool:
    """Is the last argument of this operation a PIN."""
    return op in (Op.SET_PIN, Op.ADD_PERSON)


S, B, I, L = (str,), (bytes,), (int,), (list,)  # noqa: E741 - one letter each, for the table
PEOPLE_SPECS: dict[str, Spec] = {
    Op.SET_PIN: Spec((S, S), no_key, _set_pin),
    Op.ADD_PERSON: Spec((S, S, S), no_key, _add_person, lambda args: args[1][:16]),
    Op.REMOVE_PERSON: Spec((S,), no_key, _remove_person),
    Op.PERSONS: Spec((), no_key, _persons),
    Op.SET_PERSONS_NEEDED: Spec((I,), no_key, _set_persons_needed, lambda args: str(args[0])),
    Op.PROPOSE: Spec((S, L), no_key, _propose),
    Op.PROPOSALS: Spec((), no_key, _proposals),
    Op.APPROVE: Spec((B, B), no_key, _approve, lambda args: args[1].hex()[:32]),
    Op.ROTATE_LOG_KEY: Spec(((int, type(None)),), no_key, _rotate_log_key, _since),
    Op.CARRY_OUT: Spec((B,), no_key, _carry_out, lambda args: args[0].hex()[:32]),
}
