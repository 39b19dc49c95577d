"""The database: SQLite in WAL mode or PostgreSQL, by URL; the same behaviour on both.

Every text column compares bytewise on both (`COLLATE "C"` on PostgreSQL), every time is aware UTC, and a writer holds
the database (SQLite) or named locks (PostgreSQL) until it commits.
"""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Date,
    DateTime,
    Dialect,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Uuid,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import ColumnElement, and_
from sqlalchemy.types import TypeDecorator

from issuer.config import Config

BUSY_TIMEOUT_MS = 15_000
READ_ONLY = "themo_read_only"
HIGHEST = "\U0010ffff"
"""Sorts after every other character, bytewise, in UTF-8."""

SessionFactory = sessionmaker[Session]
TextColumn = InstrumentedAttribute[str] | ColumnElement[str]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC. A naive one is a mistake of the caller and refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Text = String().with_variant(String(collation="C"), "postgresql")
BigInt = BigInteger().with_variant(Integer, "sqlite")

SerialKey = Annotated[int, mapped_column(BigInt, primary_key=True, autoincrement=True)]
"""A number the database counts up. With `sqlite_autoincrement` it is never used twice on SQLite either."""


class Base(DeclarativeBase):
    """The parent of every table; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute by this name, as a plain dictionary
        str: Text,
        bytes: LargeBinary,
        int: BigInt,
        date: Date,
        datetime: UtcDateTime,
        uuid.UUID: Uuid,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


def engine(config: Config) -> Engine:
    """Open the database of this installation."""
    return engine_at(config.database_url)


def engine_at(url: str) -> Engine:
    """Open a database by its SQLAlchemy URL."""
    made = create_engine(url, pool_pre_ping=url.startswith("postgresql"))
    if made.dialect.name == "sqlite":
        event.listen(made, "connect", _prepare_sqlite)
        event.listen(made, "begin", _begin_sqlite)
    return made


def session_factory(opened: Engine) -> SessionFactory:
    """Make sessions; objects stay readable after the commit."""
    return sessionmaker(opened, expire_on_commit=False)


@contextmanager
def transaction(factory: SessionFactory) -> Iterator[Session]:
    """One use case: commits at the end, rolls back on any exception. On SQLite it is the only writer meanwhile."""
    with factory() as session, session.begin():
        yield session


@contextmanager
def reading(factory: SessionFactory) -> Iterator[Session]:
    """A consistent view that blocks no writer and may not write."""
    with factory() as session:
        options: dict[str, Any] = {READ_ONLY: True}
        if session.get_bind().dialect.name == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        session.connection(execution_options=options)
        yield session  # closing rolls back and leaves what was read readable


def lock(session: Session, name: str) -> None:
    """Wait until no other transaction holds `name`, and hold it until this one ends.

    SQLite's writers are alone anyway (BEGIN IMMEDIATE), so there it does nothing. Use it where numbers must follow
    each other in the order of the commits: a hash chain, a sequence that others read on from.
    """
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def starts_with(column: TextColumn, prefix: str) -> ColumnElement[bool]:
    """Say that a text column begins with `prefix`, as a range that an index serves on both databases."""
    return and_(column >= prefix, column < prefix + HIGHEST)


def within_agency(column: TextColumn, prefix: str) -> ColumnElement[bool]:
    """Say that an agency code is `prefix` or below it: H4 is no prefix of H49 (docs/formats.md, F1)."""
    return (column == prefix) | and_(column >= prefix + ".", column < prefix + "." + HIGHEST)


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions of its own: _begin_sqlite does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a published status event must survive a power cut, or doors are ahead of the centre
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
