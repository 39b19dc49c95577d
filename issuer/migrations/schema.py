"""Bring a database's tables to the form this version wants, and say where they stand."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from issuer import tables

FOLDER = Path(__file__).resolve().parent


def upgrade(engine: Engine) -> str:
    """Run what is missing, in one transaction; answers the revision reached. Run again it does nothing."""
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head()


def current(engine: Engine) -> str | None:
    """The revision of the database, None where there is none yet."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision that this version wants."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def differences(engine: Engine) -> list[Any]:
    """What the models say and the migrated tables do not: empty, or a migration is missing."""
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config
