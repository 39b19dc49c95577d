"""What the policy let a client do, kept for the next time it asks for the same."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hsm_sim.keys import NO_TERMS
from hsm_sim.meter import Tally
from hsm_sim.policy import Op
from hsm_sim.store import State

if TYPE_CHECKING:
    from hsm_sim.core import Target

KNOWN_MAX = 4096

Again = Callable[[list[Any]], Any]
"""A call that was admitted before: counts, logs and acts. It answers None, having done nothing, for what is not that
plain; then `Hsm.call` does it or says why not."""


class Admission(NamedTuple):
    """What one client was let do: the target, where it is counted, and how its line in the log begins."""

    op: Op
    target: "Target"
    tally: Tally | None
    line: str


class Known:
    """What clients may do again, by client, operation and label, as long as the store is as it is.

    A key that works at some times only is asked about each time.
    """

    __slots__ = ("calls", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.calls: dict[tuple[str, str, str], Again] = {}

    def remember(self, place: tuple[str, str, str], admission: Admission, again: Again) -> None:
        """Let this client do this again with the key of that label."""
        terms = admission.target.key.info.terms if admission.target.key is not None else NO_TERMS
        if not (terms.not_before or terms.not_after) and len(self.calls) < KNOWN_MAX:
            self.calls[place] = again
