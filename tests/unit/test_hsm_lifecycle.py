"""A key's life, its terms and caps, and the counts behind them, across restarts and kills."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hsm_world import KDD, PINS, SECRET, HsmWorld

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Capped, Denied, HsmError, KeyExists, NoSuchKey, NotAllocated
from hsm_sim.job_ops import JOB_OPEN_S
from hsm_sim.keys import STEPS, KeyInfo, KeyState, Role
from hsm_sim.log import Log
from hsm_sim.meter import DAY_S, TELLING_PINS, Cap, Count, Meter
from hsm_sim.ops import SPECS
from hsm_sim.store import Job, Store

OFFICER, USER = Peer(Role.SO, 0), Peer(Role.USER, 0)
ROAD: dict[KeyState, tuple[KeyState, ...]] = {
    KeyState.PRE_ACTIVE: (),
    KeyState.ACTIVE: (KeyState.ACTIVE,),
    KeyState.SUSPENDED: (KeyState.ACTIVE, KeyState.SUSPENDED),
    KeyState.DEACTIVATED: (KeyState.ACTIVE, KeyState.DEACTIVATED),
    KeyState.COMPROMISED: (KeyState.ACTIVE, KeyState.COMPROMISED),
}
"""How a key that was made pre-active comes into each state."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_770_000_000.0

    def __call__(self) -> float:
        return self.now_s


class World(HsmWorld):
    """An HSM whose clock a test moves, and that can be killed: nothing is closed or flushed into the store."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock = Clock()

    def open(self, secret: bytes = SECRET) -> Hsm:
        create = not self.store_path.exists()
        store = Store(self.store_path, secret, os.urandom, create=create)
        log = Log(self.log_path, store.state.anchor, clock_ns=lambda: int(float(self.clock()) * 1e9))
        hsm = Hsm(SPECS, store, log, os.urandom, self.clock)
        if create:
            hsm.set_pins(PINS)
            hsm.found(1)
        return hsm

    def killed(self, hsm: Hsm) -> Hsm:
        hsm.log.close()
        hsm._store.close()
        return self.open()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def hsm(world: World) -> Any:
    opened = world.open()
    yield opened
    opened.close()


def make(hsm: Hsm, label: str = "key", terms: tuple[int, int, int] = (0, 0, 0), is_active: bool = True) -> KeyInfo:
    args = [label, "ec-p256", "card", [], list(terms), is_active]
    return KeyInfo.from_wire(hsm.call(OFFICER, "generate", args))


def sign(hsm: Hsm, label: str = "key", peer: Peer = USER) -> None:
    assert len(hsm.call(peer, "sign", [label, "card", b"data"])) == 64


def sign_many(hsm: Hsm, count: int, peer: Peer = USER) -> None:
    assert len(hsm.call(peer, "sign_many", ["key", "card", [b"data"] * count])) == count


def state_of(hsm: Hsm, label: str = "key") -> KeyState:
    return KeyInfo.from_wire(hsm.call(USER, "info", [label])).state


def led_to(hsm: Hsm, label: str, state: KeyState) -> None:
    make(hsm, label, is_active=False)
    for step in ROAD[state]:
        hsm.call(OFFICER, "set_state", [label, str(step)])
    assert state_of(hsm, label) is state


@pytest.mark.parametrize("after", [one for one in KeyState if one is not KeyState.DESTROYED])
@pytest.mark.parametrize("before", list(ROAD))
def test_a_key_goes_the_steps_of_the_table_and_no_other(hsm: Hsm, before: KeyState, after: KeyState) -> None:
    led_to(hsm, "key", before)
    if after in STEPS[before]:
        hsm.call(OFFICER, "set_state", ["key", str(after)])
        assert state_of(hsm) is after
    else:
        with pytest.raises(BadRequest, match="no way"):
            hsm.call(OFFICER, "set_state", ["key", str(after)])
        assert state_of(hsm) is before


@pytest.mark.parametrize("state", list(ROAD))
def test_only_an_active_key_signs(hsm: Hsm, state: KeyState) -> None:
    led_to(hsm, "key", state)
    if state is KeyState.ACTIVE:
        sign(hsm)
        return
    with pytest.raises(NoSuchKey):
        sign(hsm)


def test_a_key_comes_back_from_suspension_and_from_nothing_else(hsm: Hsm) -> None:
    make(hsm)
    hsm.call(OFFICER, "set_state", ["key", "suspended"])
    hsm.call(OFFICER, "set_state", ["key", "active"])
    sign(hsm)
    hsm.call(OFFICER, "set_state", ["key", "compromised"])
    with pytest.raises(BadRequest):
        hsm.call(OFFICER, "set_state", ["key", "active"])


@pytest.mark.parametrize("state", list(ROAD))
def test_what_is_destroyed_has_no_secret_and_its_label_is_not_given_again(world: World, state: KeyState) -> None:
    hsm = world.open()
    led_to(hsm, "key", state)
    secret = hsm.state.keys["key"].secret
    if KeyState.DESTROYED not in STEPS[state]:
        with pytest.raises(BadRequest, match="no way"):
            hsm.call(OFFICER, "destroy", ["key"])
        hsm.close()
        return
    hsm.call(OFFICER, "destroy", ["key"])
    hsm = world.killed(hsm)
    assert hsm.state.keys["key"].secret == b""
    assert state_of(hsm) is KeyState.DESTROYED
    with pytest.raises(KeyExists):
        make(hsm)
    with pytest.raises(NoSuchKey):
        sign(hsm)
    assert len(secret) == 32
    hsm.close()


@pytest.mark.parametrize("name", ["destroyed", "disabled", "", "ACTIVE"])
def test_no_other_state_is_set(hsm: Hsm, name: str) -> None:
    make(hsm)
    with pytest.raises(BadRequest):
        hsm.call(OFFICER, "set_state", ["key", name])


# -- terms --------------------------------------------------------------------------------------------------------


def test_a_key_works_from_its_first_second_until_before_its_last(world: World, hsm: Hsm) -> None:
    begins = int(world.clock()) + 100
    make(hsm, terms=(begins, begins + 50, 0))
    for at_s, works in ((begins - 1, False), (begins, True), (begins + 49, True), (begins + 50, False)):
        world.clock.now_s = at_s
        if works:
            sign(hsm)
        else:
            with pytest.raises(NoSuchKey, match="outside its time"):
                sign(hsm)


def test_a_key_works_as_often_as_it_was_made_for_in_all(world: World) -> None:
    hsm = world.open()
    make(hsm, terms=(0, 0, 5))
    sign(hsm)
    with pytest.raises(Capped, match="1 of 5"):
        sign_many(hsm, 5)
    sign_many(hsm, 3, Peer(Role.USER, 7))
    hsm = world.killed(hsm)
    sign(hsm)
    with pytest.raises(Capped, match="5 of 5"):
        sign(hsm)
    assert KeyInfo.from_wire(hsm.call(USER, "info", ["key"])).uses == 5
    hsm.close()


# -- caps ---------------------------------------------------------------------------------------------------------


def test_a_cap_counts_each_client_by_itself(world: World, hsm: Hsm) -> None:
    make(hsm)
    hsm.call(OFFICER, "set_cap", ["key", 0, 3])
    other = Peer(Role.USER, 8)
    sign_many(hsm, 3)
    for refused in (lambda: sign(hsm), lambda: sign_many(hsm, 4, other)):
        with pytest.raises(Capped, match="today"):
            refused()
    sign_many(hsm, 3, other)
    world.clock.now_s += DAY_S
    sign(hsm)


def test_a_cap_by_the_second_fills_again_with_time(world: World, hsm: Hsm) -> None:
    make(hsm)
    hsm.call(OFFICER, "set_cap", ["key", 4, 0])
    sign_many(hsm, 4)
    with pytest.raises(Capped, match="a second"):
        sign(hsm)
    world.clock.now_s += 0.5
    sign_many(hsm, 2)
    world.clock.now_s -= 3600
    with pytest.raises(Capped):
        sign(hsm)
    with pytest.raises(Capped):
        sign_many(hsm, 5)


def test_neither_restart_nor_kill_gives_the_day_back(world: World) -> None:
    hsm = world.open()
    make(hsm)
    hsm.call(OFFICER, "set_cap", ["key", 0, 10])
    sign_many(hsm, 4)
    hsm.close()
    hsm = world.open()
    sign_many(hsm, 4)
    hsm = world.killed(hsm)
    sign_many(hsm, 2)
    hsm = world.killed(hsm)
    with pytest.raises(Capped, match="10 of 10"):
        sign(hsm)
    assert hsm.uses_of("key") == 10
    hsm.close()


def test_a_refused_use_stands_in_the_log_and_is_not_counted(world: World, hsm: Hsm) -> None:
    make(hsm)
    hsm.call(OFFICER, "set_cap", ["key", 0, 1])
    sign(hsm)
    with pytest.raises(Capped):
        sign(hsm)
    assert hsm.uses_of("key") == 1
    assert b'"sign","capped","key"' in world.log_path.read_bytes()


@pytest.mark.parametrize(("per_second", "per_day"), [(-1, 0), (0, -1), (1 << 41, 0)])
def test_a_cap_is_a_number_of_uses(hsm: Hsm, per_second: int, per_day: int) -> None:
    make(hsm)
    with pytest.raises(BadRequest):
        hsm.call(OFFICER, "set_cap", ["key", per_second, per_day])


def test_caps_are_told_and_can_be_lifted(hsm: Hsm) -> None:
    make(hsm)
    hsm.call(OFFICER, "set_cap", ["key", 1, 1])
    assert ["key", 1, 1, 0] in hsm.call(USER, "caps", [])
    hsm.call(OFFICER, "set_cap", ["key", 0, 0])
    for _ in range(3):
        sign(hsm)


# -- PINs of cards that wait --------------------------------------------------------------------------------------


def with_pins(hsm: Hsm, count: int) -> list[str]:
    """Jobs whose cards have their PINs."""
    names = [f"job-{n}" for n in range(count)]
    made = {name: Job(KDD, b"483920", is_allocated=True) for name in names}
    hsm.change(lambda state: replace(state, jobs={**state.jobs, **made}))
    return names


def test_a_pin_is_told_once_and_soon_after_the_allocator_let_it(world: World) -> None:
    hsm = world.open()
    hsm.call(OFFICER, "set_pin", ["allocator", "allocator-1"])
    allocator = Peer(Role.ALLOCATOR, 0)
    job, late, other = with_pins(hsm, 3)
    with pytest.raises(NotAllocated, match="job-0"):
        hsm.call(USER, "reveal_pin", [job])
    with pytest.raises(Denied):
        hsm.call(USER, "allow_pin", [job])
    until = hsm.call(allocator, "allow_pin", [job])
    hsm.call(allocator, "allow_pin", [late])
    with pytest.raises(NotAllocated, match="job-2"):
        hsm.call(USER, "reveal_pin", [other])
    assert hsm.call(USER, "reveal_pin", [job]) == "483920"
    with pytest.raises(NoSuchKey):
        hsm.call(USER, "reveal_pin", [job])
    with pytest.raises(NoSuchKey):
        hsm.call(allocator, "allow_pin", [job])
    world.clock.now_s = until
    hsm = world.killed(hsm)
    with pytest.raises(NotAllocated, match="job-1"):
        hsm.call(USER, "reveal_pin", [late])
    assert hsm.call(USER, "status", [])[2] == 2
    hsm.close()


def test_a_job_that_has_ended_keeps_its_pin_until_it_is_told_or_forgotten(world: World) -> None:
    hsm = world.open()
    allocator = Peer(Role.ALLOCATOR, 0)
    told, spoiled = with_pins(hsm, 2)
    hsm.call(allocator, "allocate", ["update", KDD])
    for job, forgets in ((told, False), (spoiled, True), ("update", False), ("no job", False), (told, False)):
        hsm.call(USER, "end_job", [job, forgets])
    hsm = world.killed(hsm)
    hsm.call(OFFICER, "load_transport", ["batch", bytes(16), bytes(16), bytes(16)])
    opening = ["transport", "batch", KDD, 0x30, bytes(8), bytes(29), 0x33, 256]
    with pytest.raises(NotAllocated, match="has ended"):
        hsm.call(USER, "open_session", [told, *opening])
    hsm.call(allocator, "allocate", [told, b""])
    with pytest.raises(BadRequest):  # open again: the card's answer, which is none, is looked at
        hsm.call(USER, "open_session", [told, *opening])
    assert hsm.call(USER, "reveal_pin", [told]) == "483920"
    assert not hsm.state.jobs
    hsm.close()


def test_a_job_that_nobody_ends_is_over_after_a_month_and_opened_again_by_the_allocator(world: World) -> None:
    hsm = world.open()
    hsm.call(OFFICER, "set_pin", ["allocator", "allocator-1"])
    hsm.call(OFFICER, "load_transport", ["batch", bytes(16), bytes(16), bytes(16)])
    allocator = Peer(Role.ALLOCATOR, 0)
    (old,) = with_pins(hsm, 1)  # of before an end was kept
    hsm.call(allocator, "allocate", ["job", KDD])
    first, generation = hsm.state.jobs["job"].open_until, hsm.state.generation
    assert first == int(world.clock.now_s) + JOB_OPEN_S
    hsm.call(allocator, "allocate", ["job", KDD])
    assert hsm.state.generation == generation  # not written for a few seconds more
    opening = ["transport", "batch", KDD, 0x30, bytes(8), bytes(29), 0x33, 256]

    def is_open(job: str) -> None:
        with pytest.raises(BadRequest):  # the card's answer, which is none, is looked at
            hsm.call(USER, "open_session", [job, *opening])

    world.clock.now_s = first - 1
    is_open("job")
    world.clock.now_s = first
    hsm = world.killed(hsm)
    with pytest.raises(NotAllocated, match="too long ago"):
        hsm.call(USER, "open_session", ["job", *opening])
    is_open(old)
    hsm.call(allocator, "allocate", ["job", b""])
    is_open("job")
    assert hsm.state.jobs["job"].open_until == first + JOB_OPEN_S
    assert hsm.call(USER, "status", [])[2] == 1
    hsm.close()


def test_pins_are_told_so_often_a_day_and_a_second_also_over_a_kill(world: World) -> None:
    hsm = world.open()
    names = with_pins(hsm, 8)
    assert hsm.call(USER, "caps", []) == [["reveal-pin", TELLING_PINS.cap.per_second, TELLING_PINS.cap.per_day, 0]]
    hsm.call(OFFICER, "set_cap", ["reveal-pin", 2, 4])
    for name in names[:2]:
        hsm.call(USER, "reveal_pin", [name])
    with pytest.raises(Capped, match="a second"):
        hsm.call(USER, "reveal_pin", [names[2]])
    world.clock.now_s += 1
    hsm.call(USER, "reveal_pin", [names[2]])
    hsm = world.killed(hsm)
    assert hsm.call(USER, "caps", []) == [["reveal-pin", 2, 4, 3]]
    with pytest.raises(NoSuchKey):  # a guess at a job's name counts as well
        hsm.call(USER, "reveal_pin", ["no job"])
    with pytest.raises(Capped, match="4 of 4"):
        hsm.call(USER, "reveal_pin", [names[3]])
    assert hsm.call(Peer(Role.USER, 8), "reveal_pin", [names[3]])  # each client by itself
    assert b'"reveal_pin","capped","job-3"' in world.log_path.read_bytes()
    with pytest.raises(BadRequest, match="label"):
        make(hsm, "reveal-pin")
    hsm.close()


def test_the_everyday_user_sets_neither_states_nor_caps(hsm: Hsm) -> None:
    make(hsm)
    for name, args in (("set_state", ["key", "suspended"]), ("set_cap", ["key", 0, 0]), ("destroy", ["key"])):
        with pytest.raises(Denied):
            hsm.call(USER, name, args)


def test_counts_that_the_store_did_not_take_are_written_later() -> None:
    meter = Meter({"key\x1fuser/0": Count(7, 1, 2)}, lambda: 5.0)
    meter.recount("key", "user/0", 3, DAY_S)
    assert meter.total("key") == 10
    changed = meter.changed()
    assert changed == {"key\x1fuser/0": Count(10, 1, 5)}
    assert meter.changed() == {}
    meter.put_back(changed)
    assert meter.changed() == changed
    assert Cap.checked(0, 0) == Cap()


def test_every_page_of_keys_is_told_in_order(hsm: Hsm) -> None:
    labels = [f"key-{number:02}" for number in range(11)]
    for label in labels:
        make(hsm, label)
    told: list[str] = []
    while page := hsm.call(USER, "keys", [told[-1] if told else "", 4]):
        told += [row[0] for row in page]
    assert told == labels
    for wrong in (["nobody", 4], ["", 0], ["", 1001]):
        with pytest.raises(HsmError):
            hsm.call(USER, "keys", wrong)
