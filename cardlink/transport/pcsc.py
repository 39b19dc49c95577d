"""Real readers through PC/SC. The only module that imports pyscard, and of that only the plain functions of `scard`.

Where the resource manager listens is the library's own business: pcsc-lite reads PCSCLITE_CSOCK_NAME, once a process.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from smartcard import scard

from cardlink.errors import LinkLost
from cardlink.transport.watchdog import establishing

log = logging.getLogger(__name__)

ANSWER_WAIT_S = 20.0  # RSA-2048 key generation takes a card up to 70 s: whoever asks for it gives a longer wait
_SUCCESS = scard.SCARD_S_SUCCESS
_READER_GONE = scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE
_NO_READERS = (scard.SCARD_E_NO_READERS_AVAILABLE, scard.SCARD_E_READER_UNAVAILABLE)
# pcscd polls a reader every 400 ms. When the reset at the end of a connection fails because the card has left, it says
# at once that the reader is empty; a card put back before its next poll then stays unseen until it is taken away.
_SETTLE_S = 0.5
_COUNTER = 0xFFFF0000  # pcsc-lite and winscard count insertions and removals in the upper half of a reader's state


class Share(Enum):
    """Who else may talk to the card: others too, between our transactions, or nobody while we are connected."""

    SHARED = scard.SCARD_SHARE_SHARED
    EXCLUSIVE = scard.SCARD_SHARE_EXCLUSIVE


class Disposition(Enum):
    """What happens to the card when the connection ends. RESET makes it forget what was verified."""

    LEAVE = scard.SCARD_LEAVE_CARD
    RESET = scard.SCARD_RESET_CARD
    UNPOWER = scard.SCARD_UNPOWER_CARD


def _check(what: str, result: int) -> None:
    """Every failure of PC/SC is a LinkLost that names the call and the reason."""
    if result != _SUCCESS:
        raise LinkLost(f"{what}: {scard.SCardGetErrorMessage(result)} ({result & 0xFFFFFFFF:08X})")


class _Context:
    """A session with the resource manager and the watchdog over it. Used by one thread at a time."""

    __slots__ = ("handle", "lost_at", "watchdog")

    def __init__(self) -> None:
        self.lost_at = -math.inf
        with establishing() as watchdog:
            result, self.handle = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
            _check("PC/SC", result)
        self.watchdog = watchdog

    def reader_names(self) -> tuple[str, ...]:
        with self.watchdog.limit(ANSWER_WAIT_S):
            result, names = scard.SCardListReaders(self.handle, [])
        if result in _NO_READERS:
            return ()
        _check("list of readers", result)
        return tuple(names)

    def state(self, name: str, known: int, wait_s: float) -> int:
        """The reader's state, as soon as it is another than `known`, at the latest after `wait_s`."""
        wait_ms = max(0, math.ceil(wait_s * 1000))
        with self.watchdog.limit(wait_s + ANSWER_WAIT_S):
            result, states = scard.SCardGetStatusChange(self.handle, wait_ms, [(name, known, [])])
        if result == scard.SCARD_E_TIMEOUT:
            return known
        _check(f"reader {name}", result)
        state: int = states[0][1] & ~scard.SCARD_STATE_CHANGED
        if state & _READER_GONE:
            raise LinkLost(f"reader {name}: gone")
        return state

    def release(self) -> None:
        scard.SCardReleaseContext(self.handle)
        self.watchdog.close()


def reader_names() -> tuple[str, ...]:
    """The names of all readers now connected. Raises LinkLost when no resource manager answers."""
    context = _Context()
    try:
        return context.reader_names()
    finally:
        context.release()


def find_reader(part: str) -> str:
    """The one reader with that name, or whose name contains `part`. Raises LinkLost for none or several."""
    names = reader_names()
    if part in names:
        return part
    found = [name for name in names if part in name]
    if len(found) != 1:
        which = ", ".join(found or names) or "none is connected"
        raise LinkLost(f"{'several readers' if found else 'no reader'} named {part!r} ({which})")
    return found[0]


class PcscConnection:
    """A connection to the card in a reader. Every exchange ends: in LinkLost after `answer_wait_s` without answer."""

    __slots__ = (
        "_card",
        "_context",
        "_disposition",
        "_limit",
        "_pci",
        "_share",
        "_transmit",
        "_watchdog",
        "answer_wait_s",
        "name",
    )

    def __init__(
        self, context: _Context, name: str, share: Share, disposition: Disposition, answer_wait_s: float
    ) -> None:
        self.name = name
        self.answer_wait_s = answer_wait_s
        self._context = context
        self._watchdog = context.watchdog
        self._share = share
        self._disposition = disposition
        self._card: int | None = None
        with self._watchdog.limit(answer_wait_s):
            result, card, protocol = scard.SCardConnect(
                context.handle, name, share.value, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
            )
        self._expect(result)
        self._card = card
        self._pci = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
        self._transmit = scard.SCardTransmit

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU and return the raw answer. Raises LinkLost when card, reader or pcscd is gone or mute."""
        card = self._card
        if card is None:
            raise LinkLost(f"reader {self.name}: the connection is closed")
        watchdog = self._watchdog
        watchdog.deadline = time.monotonic() + self.answer_wait_s
        result, answer = self._transmit(card, self._pci, list(apdu))
        watchdog.deadline = math.inf
        if result != _SUCCESS:
            self._expect(result)
        if len(answer) < 2:
            # a driver whose card left in the middle may report success and nothing else
            self._context.lost_at = time.monotonic()
            raise LinkLost(f"reader {self.name}: {len(answer)} bytes for an answer")
        return bytes(answer)

    def _expect(self, result: int) -> None:
        """Raise LinkLost unless the call succeeded, and say so when it was the watchdog that ended it."""
        if result == _SUCCESS:
            return
        self._context.lost_at = time.monotonic()
        if self._watchdog.has_bitten:
            raise LinkLost(f"reader {self.name}: no answer within {self.answer_wait_s:g} s")
        _check(f"reader {self.name}", result)

    def _handle(self) -> int:
        if self._card is None:
            raise LinkLost(f"reader {self.name}: the connection is closed")
        return self._card

    def atr(self) -> bytes:
        """The card's answer to reset."""
        with self._watchdog.limit(self.answer_wait_s):
            result, _, _, _, atr = scard.SCardStatus(self._handle())
        self._expect(result)
        return bytes(atr)

    def reset(self) -> None:
        """Reset the card: it forgets what was selected and verified. The connection stays."""
        with self._watchdog.limit(self.answer_wait_s):
            result, protocol = scard.SCardReconnect(
                self._handle(),
                self._share.value,
                scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
                scard.SCARD_RESET_CARD,
            )
        self._expect(result)
        self._pci = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep every other program from the card. Waits at most `answer_wait_s` for one that does the same."""
        with self._watchdog.limit(self.answer_wait_s):
            result = scard.SCardBeginTransaction(self._handle())
        self._expect(result)
        try:
            yield
        finally:
            # a lost card has ended the transaction itself; its LinkLost must not be hidden by another one
            if self._card is not None:
                with self._watchdog.limit(self.answer_wait_s):
                    scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD)

    def close(self) -> None:
        """End the connection; the card is reset unless it was opened with another disposition. Twice is once."""
        card, self._card = self._card, None
        if card is not None:
            with self._watchdog.limit(self.answer_wait_s):
                scard.SCardDisconnect(card, self._disposition.value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Reader:
    """One reader by its name, over any number of cards and restarts of pcscd. Used by one thread at a time.

    Whatever fails raises LinkLost; the next call starts from a new session with the resource manager.
    """

    __slots__ = ("_context", "_state", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._context: _Context | None = None
        self._state: int = scard.SCARD_STATE_UNAWARE

    def wait_for_card(self, wait_s: float) -> bool:
        """Is a card in the reader, now or within `wait_s`. Raises LinkLost when reader or resource manager is gone."""
        deadline = time.monotonic() + wait_s
        # what is remembered may be old: ask once without waiting
        state = self._look(scard.SCARD_STATE_UNAWARE, 0)
        while not state & scard.SCARD_STATE_PRESENT:
            rest = deadline - time.monotonic()
            if rest <= 0:
                return False
            state = self._look(state, rest)
        return True

    def wait_for_removal(self, wait_s: float) -> bool:
        """Has the card seen last left the reader, now or within `wait_s`; another card in its place counts as well.

        After a link was lost it answers no sooner than the reader's state can be trusted again (half a second).
        """
        if self._context is not None:
            time.sleep(max(0.0, self._context.lost_at + _SETTLE_S - time.monotonic()))
        deadline = time.monotonic() + wait_s
        before = self._state
        state = self._look(scard.SCARD_STATE_UNAWARE, 0)
        # nothing was seen before, or another pcscd counts from the start: then the card now there is the one
        seen = (before if before & scard.SCARD_STATE_PRESENT else state) & _COUNTER
        while state & scard.SCARD_STATE_PRESENT and state & _COUNTER == seen:
            rest = deadline - time.monotonic()
            if rest <= 0:
                return False
            state = self._look(state, rest)
        return True

    def connect(
        self,
        share: Share = Share.SHARED,
        *,
        disposition: Disposition = Disposition.RESET,
        answer_wait_s: float = ANSWER_WAIT_S,
    ) -> PcscConnection:
        """Open a connection to the card in the reader; a context manager that closes it. Raises LinkLost.

        It shares this reader's session: use both from the same thread, and close it before waiting for removal.
        """
        try:
            return PcscConnection(self._session(), self.name, share, disposition, answer_wait_s)
        except LinkLost:
            self.close()
            raise

    def close(self) -> None:
        """Leave the resource manager; the next call comes back to it."""
        context, self._context = self._context, None
        self._state = scard.SCARD_STATE_UNAWARE
        if context is not None:
            context.release()

    def _session(self) -> _Context:
        if self._context is not None and self._context.watchdog.has_bitten:
            self.close()
        if self._context is None:
            self._context = _Context()
        return self._context

    def _look(self, known: int, wait_s: float) -> int:
        try:
            self._state = self._session().state(self.name, known, wait_s)
        except LinkLost as lost:
            log.debug("reader lost reader=%s why=%s", self.name, lost)
            self.close()
            raise
        return self._state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
