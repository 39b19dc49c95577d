"""What a fleet of cards takes, measured in a process of its own, which prints one JSON line: memory and insertion.

Each card has keys of its own, a card authentication key and an object as long as a certificate. Memory is the growth of
the process. An insertion ends when the card has answered a reader's reset with its ATR; the reader is a socket here.
"""

import gc
import json
import os
import random
import socket
import statistics
import sys
from time import perf_counter

from bench.sample_card import SELECT, SIGN, sample_records
from cardlink.iso7816.atr import CARD_ATR
from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.fleet import Fleet, Slot
from cardos.store import MemoryStore
from cardos.vpcd import GET_ATR, POWER_ON

INSERTIONS_MAX, POWERED_MAX = 300, 1000
SLOT = "bench"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE_BYTES


def insertion_s(fleet: Fleet, server: socket.socket, name: str) -> float:
    """Put a card into the empty slot, reset it and read its ATR."""
    started_s = perf_counter()
    fleet.insert(name, SLOT)
    link, _ = server.accept()
    with link:
        for message in (POWER_ON, GET_ATR):
            link.sendall(len(message).to_bytes(2, "big") + message)
        answer = b""
        while len(answer) < 2 + len(CARD_ATR):
            answer += link.recv(64)
        spent_s = perf_counter() - started_s
    if answer[2:] != CARD_ATR:
        raise RuntimeError("this is not the card's ATR")
    fleet.remove(SLOT)
    return spent_s


def powered_bytes(count: int) -> float:
    """What a card takes that is powered up, selected and has signed, beyond its records."""
    stores = [MemoryStore(sample_records()) for _ in range(count)]
    before = resident_bytes()
    cards = [Card(store) for store in stores]
    for card in cards:
        card.transmit(SELECT)
        card.transmit(SIGN)
    return (resident_bytes() - before) / count


def main() -> int:
    """Measure a fleet of the size named."""
    count = int(sys.argv[1])
    server = socket.create_server(("127.0.0.1", 0))
    port: int = server.getsockname()[1]
    Card(MemoryStore(sample_records())).transmit(SELECT)
    before = resident_bytes()
    fleet = Fleet(slots={SLOT: Slot(Interface.CONTACT, port)})
    names = [f"card-{number:05d}" for number in range(count)]
    for name in names:
        fleet.add(name, sample_records())
    grown, data = resident_bytes() - before, fleet.data_bytes()
    spent_s = [insertion_s(fleet, server, random.choice(names)) for _ in range(min(count, INSERTIONS_MAX))]
    fleet.close()
    server.close()
    figures = {
        "whole_bytes": grown / count,
        "data_bytes": data / count,
        "insertion_s": statistics.median(spent_s),
        "insertion_most_s": max(spent_s),
        "powered_bytes": powered_bytes(min(count, POWERED_MAX)),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
