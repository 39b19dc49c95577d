"""The HSM's core: each request finds its target, passes the policy, leaves its line in the log, and only then runs."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cardlink.errors import Malformed
from hsm_sim import policy
from hsm_sim.errors import (
    BadRequest,
    Denied,
    HsmError,
    KeyExists,
    NoSuchKey,
    PinLocked,
    SessionLost,
    StoreSealed,
    WrongPin,
)
from hsm_sim.keys import Key, KeyState, Role, Use
from hsm_sim.log import Log
from hsm_sim.pins import TRIES_MAX, is_pin, make_pin_record
from hsm_sim.policy import Op
from hsm_sim.sessions import CardSession
from hsm_sim.store import PinRecord, State, Store


@dataclass(slots=True)
class Peer:
    """One connection that has logged in. Its sessions end with it."""

    role: Role
    uid: int
    sessions: dict[int, CardSession] = field(default_factory=dict)


class Target(NamedTuple):
    """What a request is about: the use that the policy looks at, a name for the log, the key or session itself."""

    use: Use | None
    subject: str
    key: Key | None = None
    session: CardSession | None = None


class Spec(NamedTuple):
    """One operation: the types of its arguments, how its target is found, what it does, what of it the log keeps."""

    types: tuple[tuple[type, ...], ...]
    target: Callable[["Hsm", Peer, list[Any]], Target]
    run: Callable[["Hsm", Peer, Target, list[Any]], Any]
    what: Callable[[list[Any]], str] = lambda _: ""


class Hsm:
    """Keys, log and store of one running HSM. Any thread may call."""

    def __init__(
        self,
        specs: Mapping[str, Spec],
        store: Store,
        operation_log: Log,
        random: Callable[[int], bytes],
        clock_s: Callable[[], float],
    ) -> None:
        if operation_log.saved_generation > store.state.generation:
            raise StoreSealed("the store is older than its log: an old copy was put back")
        self._specs = specs
        self._store = store
        self.log = operation_log
        self.random = random
        self.clock_s = clock_s
        self.started = int(clock_s())
        self._changing = threading.RLock()

    @property
    def state(self) -> State:
        """What the store holds now."""
        return self._store.state

    def change(self, make: Callable[[State], State]) -> None:
        """Replace the state by what `make` gives; durable on return."""
        with self._changing:
            state = make(self.state)
            following = str(self.state.generation + 1)
            self.log.append("hsm", 0, "store", "saving", following, "")
            self._store.save(state, self.log.flush())
            self.log.append("hsm", 0, "store", "saved", following, "")

    def close(self) -> None:
        """Leave the last anchor in the store and close both files."""
        with self._changing:
            self.log.append("hsm", 0, "stop", "ok", "", "")
            self.change(lambda state: state)
            self.log.close()
            self._store.close()

    def set_pins(self, pins: Mapping[Role, str]) -> None:
        """Give roles new PINs; their tries start again."""
        records = {role: make_pin_record(pin, self.random) for role, pin in pins.items()}
        self.change(lambda state: replace(state, pins={**state.pins, **records}))

    def login(self, role_name: str, pin: str, uid: int) -> Peer:
        """Check a role's PIN. The count of tries is on the disk before the PIN is compared."""
        with self._changing:
            role = Role(role_name) if role_name in set(Role) else None
            record = self.state.pins.get(role) if role else None
            if role is None or record is None:
                self.log.append(role_name[:16], uid, "login", Denied.code, "", "")
                raise Denied(f"no role {role_name[:16]}")
            if record.tries >= TRIES_MAX:
                self.log.append(role, uid, "login", PinLocked.code, "", "")
                raise PinLocked(f"{role}: {TRIES_MAX} wrong PINs in a row")
            tried = replace(record, tries=record.tries + 1)
            self._set_pin_record(role, tried)
            if not is_pin(record, pin):
                self.log.append(role, uid, "login", WrongPin.code, "", "")
                raise WrongPin(f"{TRIES_MAX - tried.tries} tries left")
            self._set_pin_record(role, replace(record, tries=0))
            self.log.append(role, uid, "login", "ok", "", "")
        return Peer(role, uid)

    def _set_pin_record(self, role: Role, record: PinRecord) -> None:
        self.change(lambda state: replace(state, pins={**state.pins, role: record}))

    def call(self, peer: Peer, name: Any, args: list[Any]) -> Any:
        """Do one request. Raises HsmError; what was refused stands in the log too."""
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None or len(args) != len(spec.types):
            raise BadRequest(f"no operation {name!r:.40} with {len(args)} arguments")
        for value, types in zip(args, spec.types, strict=True):
            if type(value) not in types:
                raise BadRequest(f"{name}: argument of type {type(value).__name__}")
        op = Op(name)
        subject = str(args[0])[:64] if args else ""
        try:
            target = spec.target(self, peer, args)
            subject = target.subject
            policy.check(peer.role, op, target.use)
        except HsmError as error:
            self.log.append(peer.role, peer.uid, name, error.code, subject, "")
            raise
        self.log.append(peer.role, peer.uid, name, "do", subject, spec.what(args))
        try:
            return spec.run(self, peer, target, args)
        except HsmError as error:
            self.log.append(peer.role, peer.uid, name, error.code, subject, "")
            raise
        except Malformed as error:
            self.log.append(peer.role, peer.uid, name, BadRequest.code, subject, "")
            raise BadRequest(str(error)) from error

    def find_key(self, label: str) -> Key:
        """The key with that label, if it may be used."""
        key = self.state.keys.get(label)
        if key is None or key.info.state is not KeyState.ACTIVE:
            raise NoSuchKey(label)
        return key

    def add_key(self, key: Key) -> None:
        """Put a new key into the store."""
        label = key.info.label

        def add(state: State) -> State:
            if label in state.keys:
                raise KeyExists(label)
            return replace(state, keys={**state.keys, label: key})

        self.change(add)


def no_key(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """For operations about no key."""
    return Target(None, str(args[0])[:64] if args and isinstance(args[0], str) else "")


def by_label(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The key that the first argument names."""
    key = hsm.find_key(args[0])
    return Target(key.info.use, args[0], key)


def by_any_label(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The key that the first argument names, in whatever state."""
    key = hsm.state.keys.get(args[0])
    if key is None:
        raise NoSuchKey(args[0])
    return Target(key.info.use, args[0], key)


def by_session(hsm: Hsm, peer: Peer, args: list[Any]) -> Target:
    """The session that the first argument names, and the use of the key that opened it."""
    session = peer.sessions.get(args[0])
    if session is None:
        raise SessionLost("no such session")
    return Target(session.use, session.job, session=session)
