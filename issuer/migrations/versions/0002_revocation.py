"""X.509 revocation: lists of each authority, and what is revoked already."""

import sqlalchemy as sa
from alembic import op

from issuer.database import UtcDateTime

revision = "0002"
down_revision = "0001"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "revocation_heads",
        sa.Column("label", TEXT, nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("changes", BIG, nullable=False),
        sa.Column("told", BIG, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("base_number", BIG, nullable=False),
        sa.Column("base_changes", BIG, nullable=False),
        sa.Column("base_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["label"], ["authorities.label"], name=op.f("fk_revocation_heads_label")),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_revocation_heads")),
    )
    op.create_table(
        "revoked_certificates",
        sa.Column("issuer_label", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.Column("revoked_s", BIG, nullable=False),
        sa.Column("reason", BIG, nullable=False),
        sa.Column("changed", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_label"], ["authorities.label"], name=op.f("fk_revoked_certificates_issuer_label")
        ),
        sa.PrimaryKeyConstraint("issuer_label", "serial", name=op.f("pk_revoked_certificates")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_revoked_certificates_changed", "revoked_certificates", ["issuer_label", "changed"])
    op.create_table(
        "published_crls",
        sa.Column("issuer_label", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("entries", BIG, nullable=False),
        sa.Column("this_update", UtcDateTime(), nullable=False),
        sa.Column("next_update", UtcDateTime(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["issuer_label"], ["authorities.label"], name=op.f("fk_published_crls_issuer_label")),
        sa.PrimaryKeyConstraint("issuer_label", "kind", name=op.f("pk_published_crls")),
    )
    op.create_table(
        "ocsp_certificates",
        sa.Column("issuer_label", TEXT, nullable=False),
        sa.Column("key_label", TEXT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_label"], ["authorities.label"], name=op.f("fk_ocsp_certificates_issuer_label")
        ),
        sa.PrimaryKeyConstraint("issuer_label", name=op.f("pk_ocsp_certificates")),
    )
    _carry_over()


def _carry_over() -> None:
    """Cards that were blocked or ended before there were lists stand on the first one.

    Reasons (RFC 5280 §5.3.1): hold (6) for a block that may be taken back, unspecified (0) for what ended for good.
    """
    op.execute(
        "INSERT INTO revocation_heads (label, url, changes, told, number, base_number, base_changes)"
        " SELECT label, '', 1, 0, 0, 0, 0 FROM authorities WHERE kind IN ('root', 'issuing')"
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    seconds = "unixepoch(s.changed)" if is_sqlite else "floor(extract(epoch FROM s.changed))"
    op.execute(
        "INSERT INTO revoked_certificates (issuer_label, serial, not_after, revoked_s, reason, changed)"
        " SELECT c.issuer_label, c.serial, c.not_after, CAST(SECONDS AS BIGINT),"
        " CASE WHEN s.value = 1 THEN 0 ELSE 6 END, 1"
        " FROM card_certificates c JOIN cards k ON k.id = c.card_id JOIN status_entries s ON s.card_id = c.card_id"
        " WHERE s.value <> 0"
        " AND k.state NOT IN ('allocated', 'encoded', 'printed', 'checked', 'handed_over')".replace("SECONDS", seconds)
    )
