"""The door's SQLite file: one connection, one lock, every commit on disk before it counts."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reader_daemon.errors import NotDurable, StorageDamaged

log = logging.getLogger(__name__)

VERSION = 1
SCHEMA = """
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE statements (kind TEXT, key INTEGER, body BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE status_events (epoch INTEGER, seq INTEGER, body BLOB NOT NULL, PRIMARY KEY (epoch, seq)) WITHOUT ROWID;
CREATE TABLE records (boot INTEGER, seq INTEGER, hash BLOB NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (boot, seq)) WITHOUT ROWID;
CREATE TABLE heads (boot INTEGER, seq INTEGER, statement BLOB NOT NULL, PRIMARY KEY (boot, seq)) WITHOUT ROWID;
CREATE TABLE acknowledged (boot INTEGER, seq INTEGER, hash BLOB NOT NULL, PRIMARY KEY (boot)) WITHOUT ROWID;
"""


class Database:
    """The file `door.db`. Statements that write go through `transaction`; readers through `rows`."""

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self.path = path
        self._guard = threading.RLock()
        uri = f"{path.absolute().as_uri()}?mode={'ro' if is_read_only else 'rwc'}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StorageDamaged("database-damaged", path=path, why=error) from error
        try:
            self._prepare(is_read_only)
        except sqlite3.Error as error:
            self._connection.close()
            raise StorageDamaged("database-damaged", path=path, why=error) from error
        except StorageDamaged:
            self._connection.close()
            raise

    def _prepare(self, is_read_only: bool) -> None:
        if not is_read_only:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found == 0 and not is_read_only:
            self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        elif found != VERSION:
            raise StorageDamaged("database-version", path=self.path, found=found, want=VERSION)
        answers = [row[0] for row in self._connection.execute("PRAGMA quick_check(3)")]
        if answers != ["ok"]:
            raise StorageDamaged("database-damaged", path=self.path, why="; ".join(answers))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, alone in this process. On leaving, it is on disk; on any error nothing is.

        Raises NotDurable when SQLite could not write: disk full, input or output error, file damaged.
        """
        with self._guard:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise NotDurable("not-durable", why=error) from error
            except BaseException:
                self._undo()
                raise

    def _undo(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # the first error is the one to tell; SQLite has undone it by itself
                self._connection.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """The rows of one query. Raises StorageDamaged when the file cannot be read."""
        with self._guard:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StorageDamaged("database-damaged", path=self.path, why=error) from error

    def number(self, name: str) -> int:
        """A named number, 0 when it was never set."""
        rows = self.rows("SELECT value FROM numbers WHERE name = ?", name)
        return int(str(rows[0][0])) if rows else 0

    def close(self) -> None:
        """End the connection; SQLite folds its write-ahead log into the file."""
        with self._guard:
            self._connection.close()


def set_number(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set a named number inside a transaction."""
    connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (name, value))
