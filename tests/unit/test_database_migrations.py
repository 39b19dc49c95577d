"""The migrations make exactly the tables that the models describe."""

from pathlib import Path

from sqlalchemy import inspect

from issuer import database
from issuer.migrations import schema


def test_the_migrated_tables_are_those_of_the_models(tmp_path: Path) -> None:
    engine = database.engine_at(f"sqlite:///{tmp_path / 'centre.db'}")
    assert schema.upgrade(engine) == schema.head() == schema.current(engine)
    assert schema.differences(engine) == []


def test_upgrading_again_changes_nothing(tmp_path: Path) -> None:
    engine = database.engine_at(f"sqlite:///{tmp_path / 'centre.db'}")
    schema.upgrade(engine)
    before = sorted(inspect(engine).get_table_names())
    schema.upgrade(engine)
    assert sorted(inspect(engine).get_table_names()) == before


def test_a_database_without_tables_has_no_revision(tmp_path: Path) -> None:
    assert schema.current(database.engine_at(f"sqlite:///{tmp_path / 'centre.db'}")) is None
