"""Recordings are numbered for good, so that a live playlist counts on whatever has expired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_NUMBERED = """
UPDATE segments SET number = counted.number, breaks = counted.breaks FROM (
    SELECT "key", row_number() OVER along - 1 AS number, sum(apart) OVER along AS breaks FROM (
        SELECT "key", stream, "start", CASE
            WHEN lag(epoch) OVER along <> epoch OR "start" - lag("end") OVER along > 500000 THEN 1 ELSE 0
        END AS apart FROM segments WHERE owned WINDOW along AS (PARTITION BY stream ORDER BY "start", "key")
    ) AS told WINDOW along AS (PARTITION BY stream ORDER BY "start", "key")
) AS counted WHERE segments."key" = counted."key"
"""
_LAST = """
INSERT INTO last_segments (stream, epoch, "start", "end", number, breaks)
SELECT stream, epoch, "start", "end", number, breaks FROM segments
WHERE (stream, number) IN (SELECT stream, max(number) FROM segments GROUP BY stream)
"""


def upgrade() -> None:
    """What is there is numbered in the order of its time."""
    op.add_column("segments", sa.Column("number", sa.BigInteger(), nullable=True))
    op.add_column("segments", sa.Column("breaks", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "last_segments",
        sa.Column(
            "stream", sa.String(), sa.ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True, nullable=False
        ),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("breaks", sa.BigInteger(), nullable=False),
    )
    op.execute(_NUMBERED)
    op.execute(_LAST)


def downgrade() -> None:
    op.drop_table("last_segments")
    op.drop_column("segments", "breaks")
    op.drop_column("segments", "number")
