"""The door's clock: never earlier than the newest signed time seen, and not to be moved by setting the machine's clock.

It is read once from the machine at start and runs on by the monotonic clock. From then on only signed times move it:
any of them forward, by at most `MAX_STEP_S` a step (formats.md, F6), and an answer to the door's own nonce also back,
down to the newest signed time. An unsigned step of the machine's clock (NTP, an operator, an attacker) is not followed
until the next start. A machine whose clock stands far behind the newest signed time at start has lost it: quality
LOST, and nothing opens until an answer to a nonce has set it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cardlink.statements.record import ClockQuality

MAX_STEP_S = 300
LAG_S = 2  # an answer this much older than the clock is the clock's fault, not the network's


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What one signed time did to the clock. `is_capped`: it wanted more than one step allows; an alarm."""

    moved_s: float
    is_capped: bool


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def monotonic_s() -> float:
    """Seconds that also count while the machine sleeps, where the system has such a clock."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


class Clock:
    """Wall time of one process. `newest_signed_s` is what the state had on disk at start (0: nothing)."""

    def __init__(
        self,
        newest_signed_s: int = 0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self._monotonic = monotonic
        start_s = wall()
        is_lost = start_s < newest_signed_s - MAX_STEP_S
        self.quality = ClockQuality.LOST if is_lost else ClockQuality.OWN
        self.newest_signed_s = newest_signed_s
        self._offset_s = max(start_s, float(newest_signed_s)) - monotonic()

    def monotonic_s(self) -> float:
        return self._monotonic()

    def now_s(self) -> float:
        """Seconds since 1970, UTC."""
        return self._monotonic() + self._offset_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s(), UTC)

    def hear(self, signed_s: int, *, is_fresh: bool = False) -> Adjustment:
        """Take a verified signed time. `is_fresh`: it answers a nonce drawn by this door a moment ago."""
        ahead_s = signed_s - self.now_s()
        moved_s, is_capped = 0.0, False
        if ahead_s > 0:
            is_capped = ahead_s > MAX_STEP_S and self.quality is not ClockQuality.LOST
            moved_s = float(MAX_STEP_S) if is_capped else ahead_s
        elif is_fresh and ahead_s < -LAG_S and signed_s >= self.newest_signed_s:
            moved_s = ahead_s
        self._offset_s += moved_s
        if is_fresh and not is_capped:
            self.quality = ClockQuality.CONFIRMED
        # a time that was not followed to its end must not become the floor either
        self.newest_signed_s = max(self.newest_signed_s, min(signed_s, int(self.now_s())))
        return Adjustment(moved_s, is_capped)
