"""A key-encryption key that comes in components: each of two or three officers enters one, and nobody sees another's.

The key is their exclusive or. What has been entered stands in memory alone, for an hour; whoever mistyped enters it
again. The check values of component and key are the first three bytes of a block of 01 enciphered, as for all AES keys.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from hsm_sim.errors import BadRequest, Denied

COMPONENTS_MIN, COMPONENTS_MAX = 2, 3
COMPONENT_BYTES = 32
WAIT_S = 3600
KEYS_WAITING_MAX = 8


def combine(components: list[bytes]) -> bytes:
    """The exclusive or of all components. Raises BadRequest where that is no key: the same one was entered twice."""
    whole = 0
    for one in components:
        whole ^= int.from_bytes(one, "big")
    if not whole:
        raise BadRequest("the components cancel each other out")
    return whole.to_bytes(COMPONENT_BYTES, "big")


def check(number: int, count: int, component: bytes) -> None:
    """Raise BadRequest for what is no component."""
    if not (COMPONENTS_MIN <= count <= COMPONENTS_MAX and 1 <= number <= count):
        raise BadRequest(f"a key comes in {COMPONENTS_MIN} or {COMPONENTS_MAX} components, numbered from 1")
    if len(component) != COMPONENT_BYTES or not any(component):
        raise BadRequest(f"a component has {COMPONENT_BYTES} bytes that are not all zero")


@dataclass(slots=True)
class _Waiting:
    """What has been entered of one key: by number, who and what."""

    count: int
    ends_s: float
    entered: dict[int, tuple[str, bytes]] = field(default_factory=dict, repr=False)


class Components:
    """The components that wait for the others of their key. Any thread may call."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._waiting: dict[str, _Waiting] = {}
        self._lock = threading.Lock()

    def take(self, label: str, number: int, count: int, component: bytes, person: str) -> tuple[int, bytes]:
        """Take one; answers how many there are, and the key once that is all. Raises BadRequest, Denied."""
        check(number, count, component)
        with self._lock:
            now_s = self._clock_s()
            self._waiting = {name: one for name, one in self._waiting.items() if one.ends_s > now_s}
            found = self._waiting.get(label) or _Waiting(count, now_s + WAIT_S)
            if found.count != count or len(self._waiting) >= KEYS_WAITING_MAX:
                raise BadRequest(f"{label} was begun with {found.count} components, or too many keys wait")
            for other, (name, _) in found.entered.items():
                if (other == number) != (name == person):
                    raise Denied(f"component {other} of {label} was entered by {name}: each person enters one")
            entered = {**found.entered, number: (person, component)}
            whole = combine([one for _, one in entered.values()]) if len(entered) == count else b""
            found.entered = entered
            self._waiting[label] = found
            return len(entered), whole

    def forget(self, label: str | None = None) -> None:
        """Forget the components of one key, or all."""
        with self._lock:
            if label is None:
                self._waiting.clear()
            else:
                self._waiting.pop(label, None)
