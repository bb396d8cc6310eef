"""Stretches of a stream whose sound was not all listened to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "unheard",
        sa.Column(
            "stream", sa.String(), sa.ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True, nullable=False
        ),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("unheard")
