"""Thousands of virtual cards in one process, and the slots of readers into which they are put.

A card of a fleet is its records and no more until it is inserted: power-up decodes them, removal forgets what was
decoded. Cards of one batch share equal records. Cards of a directory stay in their files and are opened when inserted.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cardlink.piv.tables import Interface
from cardos.card import Card
from cardos.errors import Failed, StoreFailed
from cardos.factory import make_blank
from cardos.image import FileStore
from cardos.records import Kind
from cardos.store import Store, apply
from cardos.vpcd import CONTACT_PORT, CONTACTLESS_PORT, LOOPBACK, Answering, Slots

SHARED_MAX = 4096  # values; a fleet whose cards all differ must not keep each of them twice
_SHARED_KINDS = frozenset((Kind.LIFE, Kind.REFERENCE, Kind.ADMIN_KEY, Kind.KEY_SET))
_SERIAL_HEAD = bytes.fromhex("00010002")  # IC fabricator and type of the virtual factory
CARDS_MAX = 1_000_000

Dress = Callable[[str, Answering], Answering]  # what is put around a card, by the card's name


class Shared:
    """Equal names and values of many cards, kept once."""

    __slots__ = ("_names", "_values")

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}
        self._values: dict[bytes, bytes] = {}

    def name(self, name: bytes) -> bytes:
        """The one object that stands for this name."""
        return self._names.setdefault(name, name)

    def value(self, name: bytes, value: bytes) -> bytes:
        """The one object for a value of a kind that whole batches have in common; any other value as it is."""
        if name[0] not in _SHARED_KINDS:
            return value
        known = self._values.get(value)
        if known is not None:
            return known
        if len(self._values) < SHARED_MAX:
            self._values[value] = value
        return value

    def records(self, records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The same records out of shared parts."""
        return {self.name(name): self.value(name, value) for name, value in records.items()}


class SharedStore:
    """The store of one card in memory, out of shared parts."""

    __slots__ = ("_records", "_shared")

    def __init__(self, records: Mapping[bytes, bytes], shared: Shared) -> None:
        self._shared = shared
        self._records = shared.records(records)

    def load(self) -> dict[bytes, bytes]:
        """A copy of every record."""
        return dict(self._records)

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """One assignment is the whole commit."""
        self._records = self._shared.records(apply(self._records, changes))


class _Lease:
    """A card's store for as long as the card is powered.

    A command that a slow card still has before it when it is taken out must not act on the card that is put in again.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store: Store | None = store

    def load(self) -> dict[bytes, bytes]:
        """A copy of every record."""
        return self._held().load()

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Commit, while the card is powered."""
        self._held().commit(changes)

    def close(self) -> None:
        """The power is gone."""
        self._store = None

    def _held(self) -> Store:
        if self._store is None:
            raise StoreFailed("the card has no power")
        return self._store


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A card that lives in its file; `secret` reads the secret that seals it when the card is needed."""

    path: Path
    secret: Callable[[], bytes]

    def open(self) -> FileStore:
        """Open it. Raises ImageError."""
        return FileStore(self.path, self.secret(), sync=False)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of a reader, as the card's end of vpcd reaches it."""

    interface: Interface
    port: int
    host: str = LOOPBACK


@dataclass(slots=True)
class _Stay:
    """A card in a slot: the thread that serves it, and what has to be closed when it leaves."""

    card: str
    slots: Slots
    interface: Interface
    close: Callable[[], None]


@dataclass(slots=True)
class Fleet:
    """Cards by name and slots by name. May be told what to do by several threads, one at a time.

    `dress` is put around each card that is inserted: a trace, a timing.
    """

    slots: dict[str, Slot] = field(default_factory=lambda: standard_slots())
    dress: Dress = field(default=lambda name, card: card)
    _cards: dict[str, SharedStore | ImageSource] = field(default_factory=dict)
    _stays: dict[str, _Stay] = field(default_factory=dict)
    _shared: Shared = field(default_factory=Shared)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # -- cards

    def __len__(self) -> int:
        return len(self._cards)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards)

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def make(self, count: int, transport_keys: tuple[bytes, bytes, bytes], *, batch: int = 1) -> list[str]:
        """Make blanks of one batch and give their names, `card-00001` and so on."""
        with self._lock:
            first = len(self._cards) + 1
            if count < 0 or first + count > CARDS_MAX:
                raise Failed("fleet.too-many", count=count, most=CARDS_MAX)
            names = [f"card-{number:05d}" for number in range(first, first + count)]
            for number, name in enumerate(names, first):
                serial = _SERIAL_HEAD + number.to_bytes(4, "big") + batch.to_bytes(2, "big")
                self.add(name, make_blank(serial, transport_keys))
            return names

    def add(self, name: str, records: Mapping[bytes, bytes]) -> None:
        """Take a card in, as its records."""
        self._take(name, SharedStore(records, self._shared))

    def add_image(self, name: str, source: ImageSource) -> None:
        """Take a card in that stays in its file."""
        self._take(name, source)

    def _take(self, name: str, source: SharedStore | ImageSource) -> None:
        if name in self._cards:
            raise Failed("fleet.name-taken", card=name)
        self._cards[name] = source

    def data_bytes(self) -> int:
        """What the cards in memory keep, in bytes, each counted as if it were alone."""
        stores = (one for one in self._cards.values() if isinstance(one, SharedStore))
        return sum(len(name) + len(value) for store in stores for name, value in store.load().items())

    @contextmanager
    def powered(self, name: str) -> Iterator[Card]:
        """The card, powered up in this process and in no slot: for tests, and to prepare cards in numbers."""
        with self._lock:
            if self.place_of(name) is not None:
                raise Failed("fleet.inserted", card=name, slot=self.place_of(name))
            store, close = self._open(name)
            try:
                yield Card(store)
            finally:
                close()

    # -- slots

    def place_of(self, card: str) -> str | None:
        """The slot in which the card lies. A card that left by itself is in none."""
        with self._lock:
            return next((slot for slot in self._stays if self.card_in(slot) == card), None)

    def card_in(self, slot: str) -> str | None:
        """The card in that slot."""
        with self._lock:
            stay = self._stays.get(slot)
            return stay.card if stay is not None and stay.slots.inserted is not None else None

    def insert(self, card: str, slot: str, dress: Dress | None = None, wait_s: float = 10.0) -> bool:
        """Put a card into a slot, out of any other, and what lies there out of it.

        True once the reader has taken the connection. Raises Failed for a name that is not there, ImageError.
        """
        with self._lock:
            where = self._slot(slot)
            if card not in self._cards:
                raise Failed("fleet.no-card", card=card)
            stay = self._stays.get(slot)
            if stay is not None and stay.card == card and stay.slots.inserted is not None and dress is None:
                return stay.slots.insert(stay.interface, wait_s)
            self.remove(slot)
            for other in [one for one, held in self._stays.items() if held.card == card]:
                self.remove(other)
            store, close = self._open(card)
            try:
                served = (dress or self.dress)(card, Card(store))
            except BaseException:
                close()
                raise
            slots = Slots(served, {where.interface: where.port}, where.host)
            self._stays[slot] = _Stay(card, slots, where.interface, close)
            return slots.insert(where.interface, wait_s)

    def remove(self, slot: str) -> str | None:
        """Take the card out of a slot and give its name; None when the slot was empty."""
        with self._lock:
            self._slot(slot)
            stay = self._stays.pop(slot, None)
            if stay is None:
                return None
            stay.slots.remove()
            stay.close()
            return stay.card

    def close(self) -> None:
        """Take all cards out."""
        with self._lock:
            for slot in list(self._stays):
                self.remove(slot)

    def _slot(self, name: str) -> Slot:
        if name not in self.slots:
            raise Failed("fleet.no-slot", slot=name, slots=", ".join(self.slots))
        return self.slots[name]

    def _open(self, name: str) -> tuple[Store, Callable[[], None]]:
        source = self._cards.get(name)
        if source is None:
            raise Failed("fleet.no-card", card=name)
        if isinstance(source, SharedStore):
            lease = _Lease(source)
            return lease, lease.close
        opened = source.open()
        return opened, opened.close


def standard_slots(host: str = LOOPBACK) -> dict[str, Slot]:
    """The two slots of the virtual reader, named after the face of the card."""
    return {
        Interface.CONTACT.value: Slot(Interface.CONTACT, CONTACT_PORT, host),
        Interface.CONTACTLESS.value: Slot(Interface.CONTACTLESS, CONTACTLESS_PORT, host),
    }
