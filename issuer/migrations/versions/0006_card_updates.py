"""Updates of issued cards, and who signed what is on each chip."""

from collections.abc import Iterable
from typing import Any

import cbor2
import sqlalchemy as sa
from alembic import op

from issuer.database import UtcDateTime

revision = "0006"
down_revision = "0005"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LABELS = ("credential_label", "identity_label", "content_label")
CERTIFICATE_COLUMNS = ("issuer_label", "not_after")
KID, ISSUED = 4, 6  # COSE header and CWT claim (docs/formats.md, F1 and F3)
ROWS_AT_ONCE = 1000


def upgrade() -> None:
    op.create_table(
        "card_updates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_id", sa.Uuid(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("masters", sa.JSON(), nullable=False),
        sa.Column("begun", UtcDateTime(), nullable=False),
        sa.Column("begun_by", sa.Uuid(), nullable=True),
        sa.Column("begun_name", TEXT, nullable=False),
        sa.Column("ended", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["cards.id"], name=op.f("fk_card_updates_card_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_updates")),
    )
    op.create_index(op.f("ix_card_updates_card_id"), "card_updates", ["card_id"])
    op.create_index(
        "uq_card_updates_open",
        "card_updates",
        ["card_id"],
        unique=True,
        sqlite_where=sa.text("ended IS NULL"),
        postgresql_where=sa.text("ended IS NULL"),
    )
    op.create_table(
        "card_update_causes",
        sa.Column("update_id", sa.Uuid(), nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.Column("label", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["update_id"], ["card_updates.id"], name=op.f("fk_card_update_causes_update_id")),
        sa.PrimaryKeyConstraint("update_id", "what", "label", name=op.f("pk_card_update_causes")),
    )
    op.create_index(op.f("ix_card_update_causes_label"), "card_update_causes", ["label"])
    op.create_table(
        "card_update_steps",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("n", BIG, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("tries", BIG, nullable=False),
        sa.Column("started", UtcDateTime(), nullable=False),
        sa.Column("done", UtcDateTime(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["card_updates.id"], name=op.f("fk_card_update_steps_job")),
        sa.PrimaryKeyConstraint("job", "name", name=op.f("pk_card_update_steps")),
    )
    op.create_table(
        "card_update_objects",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("tag", BIG, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["card_updates.id"], name=op.f("fk_card_update_objects_job")),
        sa.PrimaryKeyConstraint("job", "tag", name=op.f("pk_card_update_objects")),
    )
    for name in CERTIFICATE_COLUMNS:
        op.create_index(op.f(f"ix_card_certificates_{name}"), "card_certificates", [name])
    for name in LABELS:
        op.add_column("cards", sa.Column(name, TEXT, nullable=True))
        op.create_index(op.f(f"ix_cards_{name}"), "cards", [name])
    name_signers(op.get_bind())


def name_signers(connection: sa.Connection) -> None:
    """Say of each card that is there who signed for it: by the kid of its statements, and by the time of them.

    Of content signers only their times are kept: the one that had begun last before the credential was signed.
    """
    cards = sa.table(
        "cards",
        sa.column("id", sa.Uuid()),
        *(sa.column(name) for name in ("agency_code", "credential", "identity", *LABELS)),
    )
    label_of = {bytes(kid): label for kid, label in connection.execute(sa.text("SELECT kid, label FROM signers"))}
    label, kind, agency = sa.column("label", TEXT), sa.column("kind", TEXT), sa.column("agency_code", TEXT)
    authorities = sa.table("authorities", label, kind, agency, sa.column("not_before", UtcDateTime()))
    query = sa.select(label, agency, authorities.c.not_before).where(kind == "content")
    content = [tuple(row) for row in connection.execute(query)]
    rows = connection.execute(
        sa.select(cards.c.id, cards.c.agency_code, cards.c.credential, cards.c.identity).where(
            cards.c.credential.is_not(None)
        )
    ).all()
    change = sa.update(cards).where(cards.c.id == sa.bindparam("of_id"))
    change = change.values({name: sa.bindparam(f"to_{name}") for name in LABELS})
    told = [
        {
            "of_id": row.id,
            "to_credential_label": label_of.get(_kid(row.credential)),
            "to_identity_label": label_of.get(_kid(row.identity)),
            "to_content_label": _content(content, row.agency_code, _issued_s(row.credential)),
        }
        for row in rows
    ]
    for start in range(0, len(told), ROWS_AT_ONCE):
        connection.execute(change, told[start : start + ROWS_AT_ONCE])


def _kid(statement: bytes | None) -> bytes:
    return b"" if statement is None else bytes(_part_of(statement, 0).get(KID, b""))


def _issued_s(statement: bytes) -> float:
    return float(_part_of(statement, 2).get(ISSUED, 0))


def _part_of(statement: bytes, place: int) -> dict[int, Any]:
    """The protected header (0) or the claims (2) of a statement; nothing of one that cannot be read."""
    try:
        return dict(cbor2.loads(cbor2.loads(statement).value[place]))
    except (cbor2.CBORDecodeError, AttributeError, IndexError, TypeError, ValueError):
        return {}


def _content(authorities: Iterable[tuple[Any, ...]], agency: str, issued_s: float) -> str | None:
    fitting = [
        (len(code), begun, label)
        for label, code, begun in authorities
        if (agency == code or agency.startswith(f"{code}.")) and begun.timestamp() <= issued_s + 1
    ]
    return max(fitting)[2] if fitting else None


def downgrade() -> None:
    for name in CERTIFICATE_COLUMNS:
        op.drop_index(op.f(f"ix_card_certificates_{name}"), table_name="card_certificates")
    for name in LABELS:
        op.drop_index(op.f(f"ix_cards_{name}"), table_name="cards")
        op.drop_column("cards", name)
    op.drop_table("card_update_objects")
    op.drop_table("card_update_steps")
    op.drop_index(op.f("ix_card_update_causes_label"), table_name="card_update_causes")
    op.drop_table("card_update_causes")
    op.drop_index(
        "uq_card_updates_open",
        table_name="card_updates",
        sqlite_where=sa.text("ended IS NULL"),
        postgresql_where=sa.text("ended IS NULL"),
    )
    op.drop_index(op.f("ix_card_updates_card_id"), table_name="card_updates")
    op.drop_table("card_updates")
