"""The in-process carrier: a card that is a function in the same program."""

from collections.abc import Callable

from cardlink.errors import LinkLost


class Loopback:
    """A connection to `card_transmit`, which answers each APDU; for one face of a card bind its interface first."""

    __slots__ = ("_pulled", "transmit")

    def __init__(self, card_transmit: Callable[[bytes], bytes]) -> None:
        self._pulled = False
        # the card itself is the method: a door's loop in one process pays for no frame in between
        self.transmit: Callable[[bytes], bytes] = card_transmit

    def pull(self) -> None:
        """Take the card off the reader: every later exchange ends in LinkLost."""
        self._pulled = True
        self.transmit = self._gone

    @property
    def is_pulled(self) -> bool:
        """Is the card gone."""
        return self._pulled

    def _gone(self, apdu: bytes) -> bytes:
        raise LinkLost("the card was pulled")
