"""Faults an HSM can be started with, to see what the centre makes of them. An HSM with faults says so at its start.

`latency=S` answers late; `busy=N` refuses every Nth request; `lose-sessions=N` forgets card sessions at every Nth;
`log-full=N` has no room in the log from the Nth on; `clock=S` runs S seconds off; `wrong-kcv=1` tells wrong check
values of card keys; `tamper=N` finds its case opened at the Nth request: everything is zeroised.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hsm_sim.errors import BadRequest, Busy, LogFull

NAMES = ("latency", "busy", "lose-sessions", "log-full", "clock", "wrong-kcv", "tamper")


@dataclass(slots=True)
class Faults:
    """The faults that are on, and how many requests there have been."""

    on: Mapping[str, float] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep
    requests: int = 0

    def before(self) -> None:
        """Misbehave before a request is looked at. Raises Busy or LogFull."""
        self.requests += 1
        if "latency" in self.on:
            self.sleep(self.on["latency"])
        if self._is_at("busy"):
            raise Busy("a fault that was asked for")
        if 0 < self.on.get("log-full", 0) <= self.requests:
            raise LogFull("a fault that was asked for")

    @property
    def loses_sessions(self) -> bool:
        """Is this the request at which card sessions are gone."""
        return self._is_at("lose-sessions")

    @property
    def is_tampered(self) -> bool:
        """Is this the request at which the case was found open."""
        return self.on.get("tamper", 0) == self.requests

    @property
    def clock_off_s(self) -> float:
        """How far the clock is off."""
        return self.on.get("clock", 0.0)

    @property
    def has_wrong_kcv(self) -> bool:
        """Are check values told wrong."""
        return bool(self.on.get("wrong-kcv", 0))

    def _is_at(self, name: str) -> bool:
        every = int(self.on.get(name, 0))
        return every > 0 and self.requests % every == 0


def read_faults(texts: Sequence[str]) -> Faults | None:
    """Read NAME=NUMBER each; None for none. Raises BadRequest."""
    on: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            on[name] = float(number)
        except ValueError as error:
            raise BadRequest(f"fault {text!r:.40}: want NAME=NUMBER", "fault.form") from error
        if name not in NAMES:
            raise BadRequest(f"no fault {name[:20]!r}; there are {', '.join(NAMES)}", "fault.form")
    return Faults(on) if on else None
