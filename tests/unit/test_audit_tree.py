"""The tree over the audit log, its checkpoints and proofs: what they prove, and every change that they find."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from empty_database import open_empty
from signing_keys import LocalKeys
from sqlalchemy import text

from issuer import database
from issuer.audit import checkpoints, log, merkle, note, proof, tree
from issuer.audit.log import Break, Broken
from issuer.audit.note import NoteKey
from issuer.audit.proof import ProvenGrowth, ProvenRow
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.policy import Actor, Role

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
OFFICER = Actor(uuid.UUID(int=7), "hoa", ((Role.HR, "H38"),))
HSM = LocalKeys()
INFO = HSM.generate("audit-G09-1", "ed25519", "audit", ("G09",))
KEY = NoteKey("themo/G09/audit", INFO.public or b"")


def opened(folder: Path, rows: int = 0) -> SessionFactory:
    engine = open_empty(folder / "centre.db")
    factory = database.session_factory(engine)
    with database.transaction(factory) as session:
        checkpoints.add_key(session, INFO, "G09", NOW)
    more(factory, rows)
    return factory


def more(factory: SessionFactory, rows: int) -> None:
    with database.transaction(factory) as session:
        for _ in range(rows):
            log.append(session, OFFICER, "card.blocked", "card", {"lý do": "mất thẻ"}, NOW)


def change(factory: SessionFactory, statement: str) -> None:
    with database.transaction(factory) as session:
        session.execute(text(statement))


def verdict(factory: SessionFactory) -> object:
    with database.reading(factory) as session:
        return checkpoints.verify(session)


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    """Ten rows, six of them under the first checkpoint, eight under the second."""
    made = opened(tmp_path, 6)
    checkpoints.make(made, HSM, NOW)
    more(made, 2)
    checkpoints.make(made, HSM, NOW)
    more(made, 2)
    return made


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 600])
def test_the_root_is_that_of_the_rows_leaves(tmp_path: Path, rows: int) -> None:
    factory = opened(tmp_path)
    growing = merkle.Growing()
    for part in (1, rows // 2, rows - 1 - rows // 2):
        more(factory, part)
        assert tree.grow(factory) == tree.grow(factory)
    with database.reading(factory) as session:
        for row in log.rows_after(session, 0):
            growing.add(merkle.leaf_hash(log.leaf_of(row)))
        assert tree.size_of(session) == growing.size == rows
        assert tree.root(session, rows) == growing.root()
        half = merkle.Growing()
        for row in log.rows_after(session, 0)[: rows // 2]:
            half.add(merkle.leaf_hash(log.leaf_of(row)))
        assert tree.root(session, rows // 2) == half.root()


def test_more_rows_than_two_levels_of_tiles_hold_are_proven(tmp_path: Path) -> None:
    factory = opened(tmp_path)
    leaves = [number.to_bytes(4, "big") for number in range(70_000)]
    with database.transaction(factory) as session:
        tree._extend(session, 0, 0, [merkle.leaf_hash(one) for one in leaves[:65_000]])
        session.flush()
        tree._extend(session, 0, 65_000, [merkle.leaf_hash(one) for one in leaves[65_000:]])
    growing = merkle.Growing()
    for leaf in leaves:
        growing.add(merkle.leaf_hash(leaf))
    with database.reading(factory) as session:
        subtree = tree.subtrees(session)
        assert tree.root(session, 70_000) == growing.root()
        for index in (0, 255, 65_535, 65_536, 69_999):
            path = merkle.inclusion(index, 70_000, subtree)
            assert merkle.is_included(merkle.leaf_hash(leaves[index]), index, 70_000, path, growing.root())
        path = merkle.consistency(65_000, 70_000, subtree)
        assert merkle.is_consistent(65_000, tree.root(session, 65_000), 70_000, growing.root(), path)


def test_a_checkpoint_covers_all_rows_and_is_made_once(factory: SessionFactory) -> None:
    first, again = checkpoints.make(factory, HSM, NOW), checkpoints.make(factory, HSM, NOW)
    assert first == again
    assert (first.size, first.origin) == (10, "themo/G09/audit")
    assert note.verify_checkpoint(first.note, [KEY]) == first
    found = verdict(factory)
    assert isinstance(found, checkpoints.Verified)
    assert (found.chain.rows, found.checkpoints, found.uncovered) == (10, 3, 0)


def test_a_checkpoint_is_due_after_a_time_or_many_rows(tmp_path: Path) -> None:
    factory = opened(tmp_path)
    assert checkpoints.make_due(factory, HSM, NOW) is None
    more(factory, 1)
    assert checkpoints.make_due(factory, HSM, NOW) is not None
    more(factory, 1)
    assert checkpoints.make_due(factory, HSM, NOW + timedelta(seconds=59)) is None
    assert checkpoints.make_due(factory, HSM, NOW + timedelta(seconds=60)) is not None
    more(factory, checkpoints.EVERY_ROWS)
    assert checkpoints.make_due(factory, HSM, NOW + timedelta(seconds=61)) is not None


def test_a_row_is_proven_without_the_database(factory: SessionFactory) -> None:
    with database.reading(factory) as session:
        files = [checkpoints.prove_row(session, n) for n in range(1, 9)]
        with pytest.raises(NotFound) as refused:
            checkpoints.prove_row(session, 9)  # no checkpoint covers it yet
    assert refused.value.code == "audit.not_covered"
    for n, file in enumerate(files, 1):
        proven = proof.check(file, [KEY])
        assert isinstance(proven, ProvenRow)
        assert (proven.n, proven.checkpoint.size) == (n, 8)
        assert b'"card.blocked"' in proven.entry


def test_growth_is_proven_from_a_noted_checkpoint(factory: SessionFactory) -> None:
    noted = checkpoints.make(factory, HSM, NOW)
    more(factory, 300)
    checkpoints.make(factory, HSM, NOW)
    with database.reading(factory) as session:
        proven = proof.check(checkpoints.prove_growth(session, noted.note), [KEY])
    assert isinstance(proven, ProvenGrowth)
    assert (proven.old, proven.new.size) == (noted, 310)


@pytest.mark.parametrize(
    ("replaced", "by", "code"),
    [
        ("index 2", "index 3", "audit.not_included"),
        ("index 2", "index 02", "audit.bad_proof"),
        ("extra W", "extra X", "audit.not_included"),
        ("extra ", "", "audit.bad_proof"),
        ("tlog-proof@v1", "tlog-proof@v2", "audit.bad_proof"),
        ("\n8\n", "\n9\n", "audit.forged_note"),
    ],
)
def test_a_changed_proof_proves_nothing(factory: SessionFactory, replaced: str, by: str, code: str) -> None:
    with database.reading(factory) as session:
        file = checkpoints.prove_row(session, 3)
    assert replaced in file
    with pytest.raises(Refused) as refused:
        proof.check(file.replace(replaced, by, 1), [KEY])
    assert refused.value.code == code
    stranger = NoteKey("themo/G09/audit", bytes(32))
    with pytest.raises(Refused) as refused:
        proof.check(file, [stranger])
    assert refused.value.code == "audit.unsigned_note"


def rewrite(factory: SessionFactory, first: int, last: int) -> None:
    """What somebody who owns the database can do: another row, and every hash after it made to fit."""
    with database.transaction(factory) as session:
        session.execute(text("DELETE FROM audit_log WHERE n > :last"), {"last": last})
        session.execute(text("UPDATE audit_log SET actor = 'lan' WHERE n = :n"), {"n": first})
        rows = log.rows_after(session, 0)
        previous = log.BEGINNING
        for row in rows:
            made = log._chain(previous, log.leaf_of(row))
            session.execute(
                text("UPDATE audit_log SET previous = :previous, hash = :hash WHERE n = :n"),
                {"previous": previous, "hash": made, "n": row.n},
            )
            previous = made


def test_a_chain_written_anew_is_found_by_the_tree(factory: SessionFactory) -> None:
    rewrite(factory, 3, 10)
    with database.reading(factory) as session:
        assert isinstance(log.verify(session), log.Intact)
    assert verdict(factory) == Broken(3, Break.TREE)


def test_a_tree_written_anew_with_the_chain_is_found_by_the_checkpoints(factory: SessionFactory) -> None:
    noted = checkpoints.make(factory, HSM, NOW)
    rewrite(factory, 3, 10)
    change(factory, "DELETE FROM audit_tiles")
    assert tree.grow(factory) == 10
    assert verdict(factory) == Broken(6, Break.CHECKPOINT)
    more(factory, 1)
    with pytest.raises(Refused) as refused:
        checkpoints.make(factory, HSM, NOW)
    assert refused.value.code == "audit.broken_checkpoint"
    change(factory, "DELETE FROM audit_checkpoints")
    checkpoints.make(factory, HSM, NOW)  # whoever owns the database and the signing process ...
    with database.reading(factory) as session, pytest.raises(Refused) as refused:
        checkpoints.prove_growth(session, noted.note)  # ... cannot explain what others hold
    assert refused.value.code == "audit.not_consistent"


def test_a_tail_cut_off_is_found(factory: SessionFactory) -> None:
    noted = checkpoints.make(factory, HSM, NOW)
    change(factory, "DELETE FROM audit_log WHERE n > 7")
    assert verdict(factory) == Broken(8, Break.SHORT)
    with pytest.raises(Refused) as refused:
        checkpoints.make(factory, HSM, NOW)
    assert refused.value.code == "audit.broken_short"
    change(factory, "DELETE FROM audit_tiles")
    assert tree.grow(factory) == 7
    assert verdict(factory) == Broken(8, Break.SHORT)
    change(factory, "DELETE FROM audit_checkpoints WHERE size > 6")
    assert isinstance(verdict(factory), checkpoints.Verified)
    with database.reading(factory) as session, pytest.raises(Refused) as refused:
        checkpoints.prove_growth(session, noted.note)
    assert refused.value.code == "audit.shorter"


def test_a_changed_tile_or_checkpoint_is_found(factory: SessionFactory) -> None:
    change(
        factory,
        "UPDATE audit_checkpoints SET note = replace(note, char(10) || '6' || char(10), char(10) || '5' || char(10))"
        " WHERE size = 6",
    )
    with pytest.raises(Refused) as refused:
        verdict(factory)
    assert refused.value.code == "audit.forged_note"
    change(factory, "DELETE FROM audit_checkpoints")
    change(factory, "UPDATE audit_tiles SET hashes = zeroblob(256)")
    assert verdict(factory) == Broken(1, Break.TREE)


def test_a_changed_tile_of_a_higher_level_is_found(tmp_path: Path) -> None:
    factory = opened(tmp_path, 300)
    checkpoints.make(factory, HSM, NOW)
    change(factory, "UPDATE audit_tiles SET hashes = zeroblob(32) WHERE level = 1")
    found = verdict(factory)
    assert found == Broken(300, Break.TREE)
    with database.reading(factory) as session, pytest.raises(Refused):
        checkpoints.prove_row(session, 300)


def test_rows_that_do_not_fit_are_not_taken_in(factory: SessionFactory) -> None:
    change(factory, "UPDATE audit_log SET actor = 'lan' WHERE n = 9")
    assert tree.grow(factory) == Broken(9, Break.HASH)
    with database.reading(factory) as session:
        assert tree.size_of(session) == 8
    with pytest.raises(Refused) as refused:
        checkpoints.make(factory, HSM, NOW)
    assert refused.value.code == "audit.broken_hash"


def test_without_a_key_or_rows_there_is_no_checkpoint(tmp_path: Path) -> None:
    factory = opened(tmp_path)
    with pytest.raises(NotFound) as refused:
        checkpoints.make(factory, HSM, NOW)
    assert refused.value.code == "audit.empty"
    with database.reading(factory) as session, pytest.raises(NotFound) as refused:
        checkpoints.prove_row(session, 1)
    assert refused.value.code == "audit.no_checkpoint"
    change(factory, "DELETE FROM audit_keys")
    more(factory, 1)
    with pytest.raises(NotFound) as refused:
        checkpoints.make(factory, HSM, NOW)
    assert refused.value.code == "audit.no_key"
    assert checkpoints.make_due(factory, HSM, NOW) is None
