"""What a fleet of virtual cards costs: memory of a card beyond its data, and how long an insertion takes.

`memory(count)` wants a process of its own: it compares the resident size before and after. `insertions(count, fleet)`
plays the reader's end of vpcd on a loopback port and measures our part, from the call to the connection it has taken.
"""

import gc
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cardlink.piv.tables import Interface
from cardos.fleet import Fleet, Slot
from cardos.vpcd import LOOPBACK

KEYS = (bytes(16), bytes(16), bytes(16))
SLOT = "bench"


@dataclass(frozen=True, slots=True)
class FleetMemory:
    """Resident bytes that so many cards took, and the bytes of their records."""

    cards: int
    resident_bytes: int
    data_bytes: int

    @property
    def beyond_data_bytes(self) -> float:
        """For one card, beyond its data. Shared records count as data once for each card, so this can be below 0."""
        return (self.resident_bytes - self.data_bytes) / self.cards

    @property
    def resident_each_bytes(self) -> float:
        """For one card, its data included."""
        return self.resident_bytes / self.cards


def resident_bytes() -> int:
    """The resident size of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory(count: int) -> FleetMemory:
    """Make a fleet of blanks and say what it took."""
    gc.collect()
    before = resident_bytes()
    fleet = Fleet()
    fleet.make(count, KEYS)
    gc.collect()
    return FleetMemory(count, resident_bytes() - before, fleet.data_bytes())


def insertions(count: int, fleet: Fleet) -> list[float]:
    """Seconds of each of `count` insertions of different cards into one slot, the card before taken out."""
    times = []
    with socket.create_server((LOOPBACK, 0)) as server:
        fleet.slots[SLOT] = Slot(Interface.CONTACTLESS, server.getsockname()[1])
        taken = threading.Thread(target=_take, args=(server, count), daemon=True)
        taken.start()
        for name in list(fleet)[:count]:
            began = time.perf_counter()
            if not fleet.insert(name, SLOT):
                raise TimeoutError(f"{name} was not taken")
            times.append(time.perf_counter() - began)
            fleet.remove(SLOT)
        taken.join(5)
    return times


def _take(server: socket.socket, count: int) -> None:
    """Take connections as a reader does, and let each go when the card goes."""
    for _ in range(count):
        link, _ = server.accept()
        with link:
            link.recv(1)
