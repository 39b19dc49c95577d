"""The one policy check: which role may do what with a key of which use. Everything not in the table is refused."""

from enum import StrEnum

from hsm_sim.errors import Denied
from hsm_sim.keys import SIGNING_USES, STAYING_USES, Role, Use


class Op(StrEnum):
    """Every operation that crosses the socket after login."""

    STATUS = "status"
    KEYS = "keys"
    INFO = "info"
    GENERATE = "generate"
    LOAD_TRANSPORT = "load_transport"
    LOAD_COMPONENT = "load_component"
    WRAP_KEY = "wrap_key"
    UNWRAP_KEY = "unwrap_key"
    SET_STATE = "set_state"
    DESTROY = "destroy"
    SET_CAP = "set_cap"
    CAPS = "caps"
    SET_PIN = "set_pin"
    ADD_PERSON = "add_person"
    REMOVE_PERSON = "remove_person"
    PERSONS = "persons"
    SET_PERSONS_NEEDED = "set_persons_needed"
    PROPOSE = "propose"
    PROPOSALS = "proposals"
    APPROVE = "approve"
    CARRY_OUT = "carry_out"
    ALLOCATE = "allocate"
    ALLOW_PIN = "allow_pin"
    END_JOB = "end_job"
    SIGN = "sign"
    SIGN_MANY = "sign_many"
    SIGN_DIGEST = "sign_digest"
    RANDOM = "random"
    DERIVE_CHECK = "derive_check"
    DERIVE_CHECKS = "derive_checks"
    OPEN_SESSION = "open_session"
    WRAP = "wrap"
    UNWRAP = "unwrap"
    WRAP_CHAIN = "wrap_chain"
    UNWRAP_CHAIN = "unwrap_chain"
    PUT_KEYS = "put_keys"
    CHECK_PUT_KEYS = "check_put_keys"
    PUT_SECRET = "put_secret"  # noqa: S105 the name of an operation
    CLOSE_SESSION = "close_session"
    REVEAL_PIN = "reveal_pin"
    LOG_HEAD = "log_head"
    ROTATE_LOG_KEY = "rotate_log_key"


NO_KEY = frozenset({None})
ANY_USE: frozenset[Use | None] = frozenset({*Use, None})
CARD_KEYS: frozenset[Use | None] = frozenset({Use.CARD_MASTER, Use.TRANSPORT})
EVERYDAY: frozenset[Use | None] = frozenset(SIGNING_USES - {Use.ROOT})
MOVING: frozenset[Use | None] = frozenset(Use) - STAYING_USES

# Root keys sign only for the security officer: what the doors trust is changed in a ceremony, not by a web process.
ALLOWED: dict[Op, dict[Role, frozenset[Use | None]]] = {
    Op.STATUS: dict.fromkeys(Role, NO_KEY),
    Op.KEYS: dict.fromkeys(Role, NO_KEY),
    Op.INFO: dict.fromkeys(Role, ANY_USE),
    Op.LOG_HEAD: {Role.SO: NO_KEY, Role.AUDITOR: NO_KEY},
    Op.ROTATE_LOG_KEY: {Role.SO: NO_KEY},
    Op.GENERATE: {Role.SO: ANY_USE - {Use.TRANSPORT}},
    Op.LOAD_TRANSPORT: {Role.SO: frozenset({Use.TRANSPORT})},
    Op.LOAD_COMPONENT: {Role.SO: frozenset({Use.WRAP})},
    Op.WRAP_KEY: {Role.SO: MOVING},
    Op.UNWRAP_KEY: {Role.SO: MOVING},
    Op.SET_STATE: {Role.SO: ANY_USE},
    Op.DESTROY: {Role.SO: ANY_USE},
    Op.SET_CAP: {Role.SO: ANY_USE},
    Op.CAPS: {Role.SO: NO_KEY, Role.AUDITOR: NO_KEY, Role.USER: NO_KEY},
    Op.SET_PIN: {Role.SO: NO_KEY},
    Op.ADD_PERSON: {Role.SO: NO_KEY},
    Op.REMOVE_PERSON: {Role.SO: NO_KEY},
    Op.PERSONS: {Role.SO: NO_KEY, Role.AUDITOR: NO_KEY},
    Op.SET_PERSONS_NEEDED: {Role.SO: NO_KEY},
    Op.PROPOSE: {Role.SO: NO_KEY},
    Op.PROPOSALS: {Role.SO: NO_KEY, Role.AUDITOR: NO_KEY},
    Op.APPROVE: {Role.SO: NO_KEY},
    Op.CARRY_OUT: {Role.SO: NO_KEY},
    Op.ALLOCATE: {Role.ALLOCATOR: NO_KEY},
    Op.ALLOW_PIN: {Role.ALLOCATOR: NO_KEY},
    Op.END_JOB: {Role.USER: NO_KEY},
    Op.SIGN: {Role.USER: EVERYDAY, Role.SO: frozenset({Use.ROOT})},
    Op.SIGN_MANY: {Role.USER: EVERYDAY, Role.SO: frozenset({Use.ROOT})},
    Op.SIGN_DIGEST: {Role.USER: frozenset({Use.CA})},  # revocation lists are longer than a frame
    Op.RANDOM: {Role.USER: NO_KEY, Role.SO: NO_KEY},
    Op.DERIVE_CHECK: {Role.USER: frozenset({Use.CARD_MASTER}), Role.SO: frozenset({Use.CARD_MASTER})},
    Op.DERIVE_CHECKS: {Role.USER: frozenset({Use.CARD_MASTER}), Role.SO: frozenset({Use.CARD_MASTER})},
    Op.OPEN_SESSION: {Role.USER: CARD_KEYS},
    Op.WRAP: {Role.USER: CARD_KEYS},
    Op.UNWRAP: {Role.USER: CARD_KEYS},
    Op.WRAP_CHAIN: {Role.USER: CARD_KEYS},
    Op.UNWRAP_CHAIN: {Role.USER: CARD_KEYS},
    Op.PUT_KEYS: {Role.USER: frozenset({Use.CARD_MASTER})},
    Op.CHECK_PUT_KEYS: {Role.USER: CARD_KEYS},
    Op.PUT_SECRET: {Role.USER: CARD_KEYS},
    Op.CLOSE_SESSION: {Role.USER: CARD_KEYS},
    Op.REVEAL_PIN: {Role.USER: NO_KEY},
}

# What one person must not do alone where the store says that it takes several. Components of a key-encryption key are
# not here: each person enters one alone, and the key begins when enough of them have (`hsm_sim/components.py`).
_FOR_SEVERAL: dict[Op, frozenset[Use | None]] = {
    Op.GENERATE: STAYING_USES,
    Op.WRAP_KEY: MOVING,
    Op.UNWRAP_KEY: MOVING,
    Op.SIGN: frozenset({Use.ROOT}),
    Op.SIGN_MANY: frozenset({Use.ROOT}),
    Op.DESTROY: ANY_USE,
    Op.SET_CAP: ANY_USE,
    Op.SET_PIN: NO_KEY,
    Op.ADD_PERSON: NO_KEY,
    Op.REMOVE_PERSON: NO_KEY,
    Op.SET_PERSONS_NEEDED: NO_KEY,
    Op.ROTATE_LOG_KEY: NO_KEY,
}


def is_for_several(op: Op, use: Use | None) -> bool:
    """Does this operation take a quorum, where one is set."""
    uses = _FOR_SEVERAL.get(op)
    return uses is not None and use in uses


def check(role: Role, op: Op, use: Use | None) -> None:
    """Raise Denied unless this role may do this with a key of this use (None: no key is involved)."""
    if use not in ALLOWED[op].get(role, frozenset()):
        raise Denied(f"{role} may not {op}" + (f" with a key of use {use}" if use else ""))
