"""An empty database as a SQLite file, copied: making all tables takes longer than most tests that need them."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

import issuer.tables
from issuer import database


def open_empty(path: Path) -> Engine:
    """A database with all tables and no row."""
    path.write_bytes(_empty())
    return database.engine_at(f"sqlite:///{path}")


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        engine = database.engine_at(f"sqlite:///{path}")
        issuer.tables.metadata.create_all(engine)
        engine.dispose()  # the last connection takes the write-ahead log into the file
        return path.read_bytes()
