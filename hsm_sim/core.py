"""The HSM's core: each request finds its target, passes the policy, leaves its line in the log, and only then runs."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cardlink.errors import Malformed
from cardlink.gp.host_channel import ChannelError
from hsm_sim import log_key, policy
from hsm_sim.admission import Admission, Again, Known
from hsm_sim.components import Components
from hsm_sim.crew import Crew
from hsm_sim.errors import (
    BadRequest,
    Denied,
    HsmError,
    KeyExists,
    NeedsQuorum,
    NoSuchKey,
    PinLocked,
    SessionLost,
    StoreSealed,
    WrongPin,
    Zeroised,
    of_card,
)
from hsm_sim.faults import Faults
from hsm_sim.keys import NO_TERMS, Key, KeyState, Role, Use
from hsm_sim.log import Log, line_start
from hsm_sim.meter import DAY_S, CountedAct, Meter, Tally
from hsm_sim.pins import TRIES_MAX, is_pin, make_pin_record
from hsm_sim.policy import Op
from hsm_sim.quorum import Quorum
from hsm_sim.sessions import CardSession
from hsm_sim.store import PinRecord, State, Store

PERSONS = "persons"
"""The setting that says how many persons an operation for several takes."""
FAR_S = 1 << 53
INT_MAX_BITS = 64
TEXT_MAX_CHARS = 160
"""How long a text of a request is in the log."""
_ACTIVE = KeyState.ACTIVE
_OPS: dict[str, Op] = {str(op): op for op in Op}


@dataclass(slots=True)
class Peer:
    """One connection that has logged in: a person of a role, and the user of the system. Its sessions end with it."""

    role: Role
    uid: int
    name: str = ""
    sessions: dict[int, CardSession] = field(default_factory=dict)
    client: str = field(init=False)
    whom: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.name or str(self.role)
        self.client = f"{self.name}/{self.uid}"
        self.whom = f"{self.role}:{self.client}"


class Target(NamedTuple):
    """What a request is about: the use that the policy looks at, a name for the log, the key or session itself."""

    use: Use | None
    subject: str
    key: Key | None = None
    session: CardSession | None = None


class Spec(NamedTuple):
    """One operation: the types of its arguments, how its target is found, what it does, what of it the log keeps.

    `what` is asked before `run`, and may leave what it worked out behind the arguments.
    """

    types: tuple[tuple[type, ...], ...]
    target: Callable[["Hsm", Peer, list[Any]], Target]
    run: Callable[["Hsm", Peer, Target, list[Any]], Any]
    what: Callable[[list[Any]], str] = lambda _: ""
    uses: Callable[[list[Any]], int] | None = None
    """How often it uses its key; None: it uses none."""
    counted: CountedAct | None = None
    """What it is counted as, where it uses no key and is capped nevertheless."""
    again: Callable[["Hsm", Admission], Again] | None = None
    """For what is called over and over with one key: the same call for whoever was admitted once."""


class Hsm:
    """Keys, log and store of one running HSM. Any thread may call."""

    def __init__(
        self,
        specs: Mapping[str, Spec],
        store: Store,
        operation_log: Log,
        random: Callable[[int], bytes],
        clock_s: Callable[[], float],
        faults: Faults | None = None,
    ) -> None:
        if operation_log.saved_generation > store.state.generation:
            raise StoreSealed("the store is older than its log: an old copy was put back", "store.old")
        self._specs = specs
        self._store = store
        self.log = operation_log
        self.random = random
        self.faults = faults
        if faults is not None and faults.clock_off_s:
            right_s, off_s = clock_s, faults.clock_off_s
            clock_s = lambda: right_s() + off_s  # noqa: E731 - the same clock, off
        self.clock_s = clock_s
        self.is_zeroised = False
        self.started = int(clock_s())
        self.quorum = Quorum(random, clock_s)
        self.crew = Crew()
        self.components = Components(clock_s)
        self._changing = threading.RLock()
        self._meter = Meter(store.state.counts, clock_s)
        for (label, client, day), uses in operation_log.uses.items():
            self._meter.recount(label, client, uses, day * DAY_S)
        self._known = Known(self.state)
        log_key.settle(self, self.change)

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
            anchor = self.log.flush()
            # after the flush: a use with its line in front of the anchor was counted before; one too many is possible
            counted = self._meter.changed()
            try:
                if counted:
                    state = replace(state, counts={**state.counts, **counted})
                self._store.save(state, anchor)
            except HsmError:
                self._meter.put_back(counted)
                raise
            self._known = Known(self.state)  # and nothing of the state before it, which may have held more secrets
            self.log.append("hsm", 0, "store", "saved", following, "")

    def found(self, persons: int) -> None:
        """Give a new store what it needs once: the key that seals the log, and how many persons make a quorum."""
        key = log_key.Key.from_private_bytes(self.random(32))
        self.change(lambda state: log_key.with_key(replace(state, settings={**state.settings, PERSONS: persons}), key))
        self.log.seal_with(key)

    def rotate_log_key(self, doubted_after: int | None) -> None:
        """Let a new key seal the log. `doubted_after`: since that line the old one has been in other hands."""
        with self._changing:
            log_key.rotate(self, self.change, doubted_after)

    def close(self) -> None:
        """Leave the last anchor in the store and close both files."""
        with self._changing:
            if not self.is_zeroised:
                self.change(lambda state: state)
            self.log.append("hsm", 0, "stop", "ok", "", "")
            self.log.seal()
            self.log.close()
            self._store.close()
        self.crew.close()

    def set_pins(self, pins: Mapping[Role, str]) -> None:
        """Give the persons that bear their role's name new PINs; their tries start again."""
        records = {str(role): make_pin_record(role, pin, self.random) for role, pin in pins.items()}
        self.change(lambda state: replace(state, pins={**state.pins, **records}))

    def login(self, name: str, pin: str, uid: int) -> Peer:
        """Check a person's PIN. The count of tries is on the disk before the PIN is compared."""
        with self._changing:
            record = self.state.pins.get(name)
            if record is None or record.role is None:
                self.log.append(name[:16], uid, "login", Denied.code, "", "")
                raise Denied(f"no role {name[:16]}", "person.none")
            role = record.role
            if record.tries >= TRIES_MAX:
                self.log.append(name, uid, "login", PinLocked.code, "", "")
                raise PinLocked(f"{name}: {TRIES_MAX} wrong PINs in a row")
            tried = replace(record, tries=record.tries + 1)
            self._set_pin_record(name, tried)
            if not is_pin(record, pin):
                self.log.append(name, uid, "login", WrongPin.code, "", "")
                raise WrongPin(f"{TRIES_MAX - tried.tries} tries left")
            self._set_pin_record(name, replace(record, tries=0))
            self.log.append(name, uid, "login", "ok", "", "")
        return Peer(role, uid, name)

    def _set_pin_record(self, name: str, record: PinRecord) -> None:
        self.change(lambda state: replace(state, pins={**state.pins, name: record}))

    def call(self, peer: Peer, name: Any, args: list[Any]) -> Any:
        """Do one request. Raises HsmError; what was refused stands in the log too."""
        known, place = self._known, None
        if known.state is not self._store.state:
            known = self._known = Known(self._store.state)
        if args and type(args[0]) is str and type(name) is str:
            place = peer.whom, name, args[0]
            again = known.calls.get(place)
            if again is not None:
                result = again(args)
                if result is not None:
                    return result
        spec = self._spec(name, args)
        if self.faults is not None:
            self._misbehave(self.faults, peer)
        admission = self._admit(peer, _OPS[name], spec, args, None)
        if spec.again is not None and place is not None and self.faults is None:
            known.remember(place, admission, spec.again(self, admission))
        return self._do(peer, spec, admission, args)

    def _misbehave(self, faults: Faults, peer: Peer) -> None:
        """What the faults that were asked for do to this request."""
        if self.is_zeroised:
            raise Zeroised("the case was opened")
        faults.before()
        if faults.loses_sessions:
            for session in peer.sessions.values():
                session.channel.close()
            peer.sessions.clear()
        if faults.is_tampered:
            self.zeroise()
            raise Zeroised("the case was opened")

    def zeroise(self) -> None:
        """Destroy every key, PIN and secret here and on the disk. There is no way back but a backup."""
        with self._changing:
            self.log.append("hsm", 0, "zeroise", "ok", str(len(self.state.keys)), "")
            self.log.seal()
            self._store.zeroise()
            self._known = Known(self.state)
            self.components.forget()
            self.is_zeroised = True
            self.log.flush()

    def _spec(self, name: Any, args: list[Any]) -> Spec:
        """The operation of that name, if these are arguments for it. Raises BadRequest."""
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None or len(args) != len(spec.types):
            raise BadRequest(f"no operation {name!r:.40} with {len(args)} arguments")
        for types, given in zip(spec.types, args, strict=True):
            kind = type(given)
            if kind not in types or (kind is int and given.bit_length() > INT_MAX_BITS):
                raise BadRequest(f"{name}: argument of type {kind.__name__}")
        return spec

    def check_request(self, op: Op, args: list[Any]) -> None:
        """Raise BadRequest unless these are arguments for that operation."""
        self._spec(str(op), args)

    def target_of(self, peer: Peer, op: Op, args: list[Any]) -> Target:
        """What an operation would be about, if its role may do it. Raises HsmError."""
        target = self._specs[op].target(self, peer, args)
        policy.check(peer.role, op, target.use)
        return target

    def carry_out(self, peer: Peer, op: Op, args: list[Any], persons: Collection[str]) -> Any:
        """Do what several persons agreed on; for the quorum alone."""
        spec = self._specs[op]
        return self._do(peer, spec, self._admit(peer, op, spec, args, persons), args)

    def _admit(self, peer: Peer, op: Op, spec: Spec, args: list[Any], agreed: Collection[str] | None) -> Admission:
        """Find the target and ask the policy; what is refused is logged."""
        subject = ""
        try:
            target = spec.target(self, peer, args)
            subject = _logged(target.subject)
            policy.check(peer.role, op, target.use)
            if agreed is None and policy.is_for_several(op, target.use) and self.persons_needed > 1:
                raise NeedsQuorum(f"{op} takes {self.persons_needed} persons")
        except HsmError as error:
            subject = subject or (str(args[0])[:64] if args else "")
            self.log.append(peer.name, peer.uid, op, error.code, subject, "")
            raise
        line = line_start(peer.name, peer.uid, op, "do", subject)
        return Admission(op, target, self._tally(peer, spec, target), line)

    def _tally(self, peer: Peer, spec: Spec, target: Target) -> Tally | None:
        """Where this operation is counted."""
        if spec.uses is not None and target.key is not None:
            info = target.key.info
            return self._meter.tally(info, peer.client, self.state.caps.get(info.label))
        if spec.counted is not None:
            cap = self.state.caps.get(spec.counted.label, spec.counted.cap)
            return self._meter.tally(spec.counted, peer.client, cap)
        return None

    def _do(self, peer: Peer, spec: Spec, admission: Admission, args: list[Any]) -> Any:
        """Count, log, and only then act."""
        op, target, tally, line = admission
        try:
            if tally is not None:
                tally.take(spec.uses(args) if spec.uses is not None else 1)
            what = spec.what(args)
            if len(what) > TEXT_MAX_CHARS:
                what = _logged(what)
        except HsmError as error:
            self.log.append(peer.name, peer.uid, op, error.code, _logged(target.subject), "")
            raise
        self.log.append_to(line, what)
        try:
            return spec.run(self, peer, target, args)
        except HsmError as error:
            self.log.append(peer.name, peer.uid, op, error.code, _logged(target.subject), "")
            raise
        except (ChannelError, Malformed) as error:
            refused = of_card(error)
            self.log.append(peer.name, peer.uid, op, refused.code, _logged(target.subject), "")
            raise refused from error

    @property
    def persons_needed(self) -> int:
        """How many persons an operation for several takes."""
        return int(self.state.settings.get(PERSONS, 1))

    def uses_of(self, label: str) -> int:
        """How often a key was used."""
        return self._meter.total(label)

    def uses_today(self, label: str) -> int:
        """How often the client that used it most has used a key, or done a counted act, today."""
        return self._meter.today(label)

    @property
    def has_allocator(self) -> bool:
        """Is there somebody apart from the users of card keys who says for which jobs they work."""
        return any(record.role is Role.ALLOCATOR for record in self.state.pins.values())

    def find_key(self, label: str) -> Key:
        """The key with that label, if it may be used now."""
        key = self.state.keys.get(label)
        if key is None or key.info.state is not _ACTIVE:
            raise NoSuchKey(label)
        terms = key.info.terms
        if terms is not NO_TERMS and not terms.not_before <= self.clock_s() < (terms.not_after or FAR_S):
            raise NoSuchKey(f"{label}: outside its time")
        return key

    def add_key(self, key: Key) -> None:
        """Put a new key into the store."""
        label = key.info.label

        def add(state: State) -> State:
            if label in state.keys:
                raise KeyExists(label)
            return replace(state, keys={**state.keys, label: key})

        self.change(add)


def _logged(text: str) -> str:
    """A text as it stands in the log: of a long one both ends, since a label that is counted stands at one of them."""
    if len(text) <= TEXT_MAX_CHARS:
        return text
    return f"{text[: TEXT_MAX_CHARS // 2]}…{text[1 - TEXT_MAX_CHARS // 2 :]}"


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
