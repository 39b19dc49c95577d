"""Run by Alembic: the migrations use the connection, and so the transaction, that the caller opened."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import BigInteger, String

from issuer import tables
from issuer.database import UtcDateTime


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our column types by the names that the top of each migration gives them."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        autogen.imports.add("from issuer.database import UtcDateTime")
        return "UtcDateTime()"
    match item:
        case String():
            return "TEXT"
        case BigInteger():
            return "BIG"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=context.config.attributes.get("batch", True),  # SQLite alters a table by making it anew
    render_item=render_item,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
