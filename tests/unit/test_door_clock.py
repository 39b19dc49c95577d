"""The door's clock under lost, wrong and hostile times."""

from datetime import UTC, datetime

from cardlink.statements.record import ClockQuality
from reader_daemon.clock import MAX_STEP_S, Clock

NOON = int(datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp())  # a leap day


class Machine:
    """A wall clock and a monotonic clock that a test moves."""

    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self.ran_s = 1000.0

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.ran_s

    def run(self, seconds: float) -> None:
        self.wall_s += seconds
        self.ran_s += seconds


def clock_of(machine: Machine, newest_signed_s: int = 0) -> Clock:
    return Clock(newest_signed_s, wall=machine.wall, monotonic=machine.monotonic)


def test_a_clock_starts_at_the_machines_time_and_runs() -> None:
    machine = Machine(NOON)
    clock = clock_of(machine, NOON - 60)
    machine.run(90)
    assert clock.now() == datetime(2028, 2, 29, 12, 1, 30, tzinfo=UTC)
    assert clock.quality is ClockQuality.OWN


def test_setting_the_machines_clock_while_running_moves_nothing() -> None:
    machine = Machine(NOON)
    clock = clock_of(machine)
    machine.wall_s -= 86_400
    machine.run(10)
    assert clock.now_s() == NOON + 10
    machine.wall_s += 10 * 86_400
    assert clock.now_s() == NOON + 10


def test_a_machine_far_behind_what_was_signed_has_lost_its_clock() -> None:
    clock = clock_of(Machine(0), NOON)
    assert clock.quality is ClockQuality.LOST
    assert clock.now_s() == NOON  # never earlier than the newest signed time


def test_a_machine_a_little_behind_what_was_signed_is_raised_to_it() -> None:
    clock = clock_of(Machine(NOON - 3), NOON)
    assert clock.quality is ClockQuality.OWN
    assert clock.now_s() == NOON


def test_an_answer_to_a_nonce_sets_a_lost_clock_at_once() -> None:
    clock = clock_of(Machine(0), NOON)
    assert not clock.hear(NOON + 90 * 86_400, is_fresh=True).is_capped
    assert clock.quality is ClockQuality.CONFIRMED
    assert clock.now_s() == NOON + 90 * 86_400


def test_an_old_signed_time_leaves_a_lost_clock_lost() -> None:
    clock = clock_of(Machine(0), NOON)
    clock.hear(NOON + 5)
    assert clock.quality is ClockQuality.LOST


def test_signed_time_moves_a_good_clock_forward_by_five_minutes_a_step_at_most() -> None:
    clock = clock_of(Machine(NOON))
    step = clock.hear(NOON + 86_400, is_fresh=True)
    assert step.is_capped
    assert clock.now_s() == NOON + MAX_STEP_S
    assert clock.newest_signed_s == NOON + MAX_STEP_S  # the rest was not believed, so it is no floor either
    assert clock.quality is ClockQuality.OWN


def test_a_nonce_answer_takes_a_fast_clock_back_but_never_below_what_was_signed() -> None:
    clock = clock_of(Machine(NOON + 3600))
    clock.hear(NOON + 10, is_fresh=True)
    assert clock.now_s() == NOON + 10
    clock.hear(NOON - 10, is_fresh=True)
    assert clock.now_s() == NOON + 10


def test_a_heartbeat_never_takes_the_clock_back() -> None:
    clock = clock_of(Machine(NOON + 3600))
    clock.hear(NOON)
    assert clock.now_s() == NOON + 3600
