"""The state on disk: the statements as they were received, and the highest numbers ever taken."""

from enum import StrEnum

from reader_daemon.database import Database, set_number


class Kept(StrEnum):
    """Kinds of rows in the table `statements`."""

    TRUST = "trust"
    BUNDLE = "bundle"
    SNAPSHOT = "snapshot"


class StateStore:
    """Reads and writes of the state; each write is one transaction and on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def number(self, name: str) -> int:
        return self._database.number(name)

    def statement(self, kind: Kept) -> bytes | None:
        rows = self._database.rows("SELECT body FROM statements WHERE kind = ? AND key = 0", kind)
        return _body(rows[0][0]) if rows else None

    def keep_trust(self, raw: bytes, number: int, newest_signed_s: int) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO statements VALUES (?, 0, ?)", (Kept.TRUST, raw))
            set_number(connection, "trust_number", number)
            set_number(connection, "newest_signed_s", newest_signed_s)

    def keep_bundle(self, raw: bytes, epoch: int, seq: int, newest_signed_s: int) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO statements VALUES (?, 0, ?)", (Kept.BUNDLE, raw))
            set_number(connection, "bundle_epoch", epoch)
            set_number(connection, "bundle_seq", seq)
            set_number(connection, "newest_signed_s", newest_signed_s)

    def bundle_floor(self) -> tuple[int, int]:
        return self.number("bundle_epoch"), self.number("bundle_seq")

    def status(self) -> tuple[list[bytes], list[bytes]]:
        """The snapshots, and the events after them in order."""
        snapshots = self._database.rows("SELECT body FROM statements WHERE kind = ? ORDER BY key", Kept.SNAPSHOT)
        events = self._database.rows("SELECT body FROM status_events ORDER BY epoch, seq")
        return [_body(row[0]) for row in snapshots], [_body(row[0]) for row in events]

    def status_floor(self) -> tuple[int, int]:
        return self.number("status_epoch"), self.number("status_seq")

    def raise_floors(self, status: tuple[int, int], bundle_seq: int) -> None:
        """Let nothing older than these be taken from now on."""
        epoch, seq = max(status, self.status_floor())
        bundle_seq = max(bundle_seq, self.number("bundle_seq"))
        with self._database.transaction() as connection:
            set_number(connection, "status_epoch", epoch)
            set_number(connection, "status_seq", seq)
            set_number(connection, "bundle_seq", bundle_seq)

    def event_count(self) -> int:
        ((count,),) = self._database.rows("SELECT count(*) FROM status_events")
        return int(str(count))

    def waiting_records(self) -> int:
        """How many log records the centre has not acknowledged."""
        ((count,),) = self._database.rows("SELECT count(*) FROM records")
        return int(str(count))

    def event(self, epoch: int, seq: int) -> bytes | None:
        """The event stored under this number; None also when a snapshot has swallowed it."""
        rows = self._database.rows("SELECT body FROM status_events WHERE epoch = ? AND seq = ?", epoch, seq)
        return _body(rows[0][0]) if rows else None

    def keep_event(self, epoch: int, seq: int, raw: bytes, newest_signed_s: int) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO status_events VALUES (?, ?, ?)", (epoch, seq, raw))
            set_number(connection, "status_epoch", epoch)
            set_number(connection, "status_seq", seq)
            set_number(connection, "newest_signed_s", newest_signed_s)

    def keep_snapshots(
        self,
        snapshots: list[bytes],
        events: list[tuple[int, int, bytes]],
        at: tuple[int, int],
        newest_signed_s: int,
    ) -> None:
        """Replace all status by these, which lead to `at` = (epoch, seq); `events` as (epoch, seq, body)."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM statements WHERE kind = ?", (Kept.SNAPSHOT,))
            connection.execute("DELETE FROM status_events")
            for key, raw in enumerate(snapshots):
                connection.execute("INSERT INTO statements VALUES (?, ?, ?)", (Kept.SNAPSHOT, key, raw))
            connection.executemany("INSERT INTO status_events VALUES (?, ?, ?)", events)
            set_number(connection, "status_epoch", at[0])
            set_number(connection, "status_seq", at[1])
            set_number(connection, "newest_signed_s", newest_signed_s)

    def freshness(self) -> tuple[int, int] | None:
        """Wall time of the last answer to a nonce and the staleness counted since; None when there never was one."""
        fresh_s = self.number("fresh_s")
        return (fresh_s, self.number("stale_s")) if fresh_s else None

    def keep_fresh(self, fresh_s: int, newest_signed_s: int) -> None:
        with self._database.transaction() as connection:
            set_number(connection, "fresh_s", fresh_s)
            set_number(connection, "stale_s", 0)
            set_number(connection, "newest_signed_s", newest_signed_s)

    def keep_staleness(self, stale_s: int, newest_signed_s: int) -> None:
        with self._database.transaction() as connection:
            set_number(connection, "stale_s", stale_s)
            set_number(connection, "newest_signed_s", newest_signed_s)


def _body(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
