"""The one door to what a card keeps without power: a set of records that changes all at once or not at all."""

from collections.abc import Mapping
from typing import Protocol


class Store(Protocol):
    """A transactional set of named records."""

    def load(self) -> dict[bytes, bytes]:
        """Every record, by name."""
        ...

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Put each record (None removes it): all of them, or none if power fails in between. Raises StoreFailed."""
        ...


class MemoryStore:
    """A store that lives as long as the program: for tests, benchmarks and fleets of cards."""

    __slots__ = ("_records",)

    def __init__(self, records: Mapping[bytes, bytes] | None = None) -> None:
        self._records = dict(records or {})

    def load(self) -> dict[bytes, bytes]:
        """A copy of every record."""
        return dict(self._records)

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply the changes to a copy, then take the copy: one assignment is the whole commit."""
        self._records = apply(self._records, changes)


def apply(records: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    """The records after a commit."""
    after = dict(records)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after
