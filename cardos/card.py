"""A card: bytes in, bytes out, over one of its two faces."""

import os
from collections.abc import Callable

from cardlink.iso7816.atr import CARD_ATR
from cardlink.piv.tables import Interface as Interface
from cardos.dispatch import DOMAIN, answer
from cardos.state import Persistent, Platform, Volatile
from cardos.store import Store

CONTACT = Interface.CONTACT


class Card:
    """One virtual card over its store. Not for two threads at once."""

    __slots__ = ("_persistent", "_platform", "_random")

    atr = CARD_ATR

    def __init__(self, store: Store, random: Callable[[int], bytes] = os.urandom) -> None:
        """Power up. Raises Malformed when the store holds no whole card."""
        self._persistent = Persistent(store)
        self._random = random
        self._platform = self._power_up(CONTACT)

    def transmit(self, apdu: bytes, interface: Interface = CONTACT) -> bytes:
        """Answer one APDU that came over `interface`. Coming over the other face than before is a power-up."""
        if interface is not self._platform.volatile.interface:
            self._platform = self._power_up(interface)
        return answer(self._platform, apdu)

    def reset(self) -> None:
        """Forget everything volatile, as after power off and on."""
        self._platform = self._power_up(self._platform.volatile.interface)

    @property
    def persistent(self) -> Persistent:
        """What the card keeps: for pictures of a card, faults and tests, never for its commands."""
        return self._persistent

    def _power_up(self, interface: Interface) -> Platform:
        # GPCS §6.4.1: without a default application the issuer domain is selected after a reset
        return Platform(self._persistent, Volatile(interface, DOMAIN.aid), self._random)
