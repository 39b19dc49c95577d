"""Master keys of cards that follow each other; up to when a compromised signer's cards are known good."""

import sqlalchemy as sa
from alembic import op

from issuer.database import UtcDateTime

revision = "0003"
down_revision = "0002"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card_masters",
        sa.Column("label", TEXT, nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("state", BIG, nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_card_masters")),
    )
    op.add_column("signers", sa.Column("known_good_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("signers", "known_good_until")
    op.drop_table("card_masters")
