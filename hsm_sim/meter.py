"""How often each client has used each key, and how often it may: per second, per day, altogether.

Counts live in memory and go into the store with its next change; what a kill took away is counted again from the log,
which has a line for every use. A client is a person of the HSM and a user of the system together.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hsm_sim.errors import BadRequest, Capped
from hsm_sim.keys import NO_TERMS, REVEAL_PIN, KeyInfo, Terms

DAY_S = 86_400
CAP_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class Cap:
    """How often one client may use a key; 0: no limit. A batch counts as many as it holds."""

    per_second: int = 0
    per_day: int = 0

    @classmethod
    def checked(cls, per_second: int, per_day: int) -> "Cap":
        """A cap from outside. Raises BadRequest."""
        if not (0 <= per_second <= CAP_MAX and 0 <= per_day <= CAP_MAX):
            raise BadRequest("a cap is 0 or more", "cap.range")
        return cls(per_second, per_day)


NO_CAP = Cap()


@dataclass(frozen=True, slots=True)
class CountedAct:
    """What is counted and capped though it uses no key. `cap` is in force until another one is set."""

    label: str
    cap: Cap
    terms: Terms = NO_TERMS


TELLING_PINS = CountedAct(REVEAL_PIN, Cap(per_second=5, per_day=500))
COUNTED_ACTS = {one.label: one for one in (TELLING_PINS,)}


@dataclass(frozen=True, slots=True)
class Count:
    """What one client has done with one key: in all, and on the day numbered `day` (days since 1970, UTC)."""

    total: int = 0
    day: int = 0
    today: int = 0


def count_name(label: str, client: str) -> str:
    """The name of a count in the store."""
    return f"{label}\x1f{client}"


class Meter:
    """What was counted; a `Tally` counts into it. Any thread may ask."""

    def __init__(self, counts: Mapping[str, Count], clock_s: Callable[[], float]) -> None:
        self.counts = {name: [one.total, one.day, one.today] for name, one in counts.items()}
        self.totals: dict[str, int] = {}
        for name, one in counts.items():
            label = name.partition("\x1f")[0]
            self.totals[label] = self.totals.get(label, 0) + one.total
        self.seconds: dict[str, tuple[float, float]] = {}
        self.changed_names: set[str] = set()
        self.clock_s = clock_s
        self.lock = threading.Lock()

    def total(self, label: str) -> int:
        """How often a key was used, by everybody."""
        return self.totals.get(label, 0)

    def today(self, label: str) -> int:
        """How often the client that used a key or did an act most has done so today."""
        day = int(self.clock_s()) // DAY_S
        with self.lock:
            counts = [one for name, one in self.counts.items() if name.partition("\x1f")[0] == label]
        return max((today for _, at, today in counts if at == day), default=0)

    def tally(self, what: KeyInfo | CountedAct, client: str, cap: Cap | None) -> "Tally":
        """Where one client's uses of one key are counted, under the cap that is in force."""
        return Tally(self, what, client, cap)

    def recount(self, label: str, client: str, uses: int, at_s: float) -> None:
        """Count again what a line of the log says, at start."""
        name, day = count_name(label, client), int(at_s) // DAY_S
        count = self.counts.setdefault(name, [0, day, 0])
        if count[1] != day:
            count[1], count[2] = day, 0
        count[0] += uses
        count[2] += uses
        self.totals[label] = self.totals.get(label, 0) + uses
        self.changed_names.add(name)

    def changed(self) -> dict[str, Count]:
        """The counts that changed since the last time this was asked."""
        with self.lock:
            names, self.changed_names = self.changed_names, set()
            return {name: Count(*self.counts[name]) for name in names}

    def put_back(self, names: Mapping[str, Count]) -> None:
        """The store did not take them: they count as changed still."""
        with self.lock:
            self.changed_names.update(names)


class Tally:
    """Counts one client's uses of one key, or counted act, and refuses those above its cap. Any thread may ask."""

    __slots__ = ("_cap", "_label", "_meter", "_name", "_uses_max")

    def __init__(self, meter: Meter, what: KeyInfo | CountedAct, client: str, cap: Cap | None) -> None:
        self._meter = meter
        self._label = what.label
        self._name = count_name(what.label, client)
        self._uses_max = what.terms.uses_max
        self._cap = cap if cap is not None and (cap.per_second or cap.per_day) else None

    def take(self, uses: int) -> None:
        """Count so many uses, all or none. Raises Capped."""
        meter, name, label = self._meter, self._name, self._label
        with meter.lock:
            now_s = meter.clock_s()
            day = int(now_s) // DAY_S
            count = meter.counts.get(name)
            if count is None:
                count = meter.counts[name] = [0, day, 0]
            elif count[1] != day:
                count[1], count[2] = day, 0
            total = meter.totals.get(label, 0) + uses
            if self._uses_max and total > self._uses_max:
                raise Capped(f"{label}: used {total - uses} of {self._uses_max} times")
            if self._cap is not None:
                self._check(self._cap, count, uses, now_s)
            count[0] += uses
            count[2] += uses
            meter.totals[label] = total
            meter.changed_names.add(name)

    def _check(self, cap: Cap, count: list[int], uses: int, now_s: float) -> None:
        if cap.per_day and count[2] + uses > cap.per_day:
            raise Capped(f"{self._label}: {count[2]} of {cap.per_day} uses today")
        if cap.per_second:
            tokens, since_s = self._meter.seconds.get(self._name, (float(cap.per_second), now_s))
            # a clock that was set back gives nothing
            tokens = min(float(cap.per_second), tokens + max(0.0, now_s - since_s) * cap.per_second)
            if uses > tokens:
                raise Capped(f"{self._label}: {cap.per_second} uses a second")
            self._meter.seconds[self._name] = (tokens - uses, now_s)
