"""Authorities certified more than once, anchors of other authorities, audit keys that are believed no more."""

import sqlalchemy as sa
from alembic import op

from issuer.database import UtcDateTime

revision = "0005"
down_revision = "0004"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "authority_certificates",
        sa.Column("issuer_label", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("label", TEXT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer_label"], ["authorities.label"], name=op.f("fk_authority_certificates_issuer_label_authorities")
        ),
        sa.ForeignKeyConstraint(
            ["label"], ["authorities.label"], name=op.f("fk_authority_certificates_label_authorities")
        ),
        sa.PrimaryKeyConstraint("issuer_label", "serial", name=op.f("pk_authority_certificates")),
    )
    op.create_table(
        "foreign_anchors",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("agency_code", TEXT, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.Column("added", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_foreign_anchors")),
    )
    op.add_column("audit_keys", sa.Column("dead_since", UtcDateTime(), nullable=True))
    op.add_column("audit_keys", sa.Column("last_size", BIG, nullable=True))
    op.add_column("audit_keys", sa.Column("last_root", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    for name in ("last_root", "last_size", "dead_since"):
        op.drop_column("audit_keys", name)
    op.drop_table("foreign_anchors")
    op.drop_table("authority_certificates")
