"""Click to refusal: from the call that blocks a card to the door's first refusal of it."""

import statistics
import time

from bench.centre import Centre
from bench.door_pcscd import seconds
from bench.our_door import wait_until
from bench.report import Row, limit, percentile, told
from cardlink.piv.tables import Interface
from cardlink.transport.loopback import Loopback
from cardos.card import Card as ChipCard
from issuer.cards.tables import Card
from reader_daemon.daemon import Daemon
from reader_daemon.decide import Granted, Refused
from reader_daemon.reasons import DoorReason

CARDS = 100
MOST_S = 1.0
GIVE_UP_S = 10.0
TAP_EVERY_S = 0.002


def click_to_refusal(centre: Centre, door: Daemon) -> list[Row]:
    """Block one card after the other while each is held to the door again and again."""
    cards = [centre.software_card() for _ in range(CARDS)]
    _, newest = cards[-1]
    wait_until(lambda: isinstance(_decision(door, newest), Granted))  # the door has heard that the cards count
    clicks_s: list[float] = []
    refusals_s: list[float] = []
    for card, chip in cards:
        if not isinstance(_decision(door, chip), Granted):
            raise RuntimeError(f"the door refuses a card that counts: {card.uuid}")
        click_s, refusal_s = _block(centre, door, card, chip)
        clicks_s.append(click_s)
        refusals_s.append(refusal_s)
    return [
        limit(f"click to refusal, p99 of {CARDS}", percentile(refusals_s, 0.99), "s", MOST_S),
        told("click to refusal, median", statistics.median(refusals_s), "s"),
        told("of it: the click's own call, median", statistics.median(clicks_s), "s"),
    ]


def _block(centre: Centre, door: Daemon, card: Card, chip: ChipCard) -> tuple[float, float]:
    """Seconds of the call, and from its start to the end of the first refused tap."""
    started_s = time.perf_counter()
    click_s = seconds(lambda: centre.block(card.id))
    while isinstance(decision := _decision(door, chip), Granted):
        if time.perf_counter() - started_s > GIVE_UP_S:
            raise TimeoutError(f"the door never heard of {card.uuid}")
        time.sleep(TAP_EVERY_S)
    elapsed_s = time.perf_counter() - started_s
    if decision.reason is not DoorReason.SUSPENDED:
        raise RuntimeError(f"refused for another reason: {decision}")
    return click_s, elapsed_s


def _decision(door: Daemon, chip: ChipCard) -> Granted | Refused:
    return door.loop.tap(Loopback(lambda apdu: chip.transmit(apdu, Interface.CONTACTLESS))).decision
