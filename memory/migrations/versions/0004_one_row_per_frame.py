"""Summaries replace what they summarise: there is no row any more that only waits to take another's place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    chapters = sa.table("chapters", sa.column("leaf", sa.Boolean()))
    op.execute(chapters.delete().where(chapters.c.leaf.is_(False)))
    op.drop_index("chapters_by_parent", "chapters")
    op.drop_column("chapters", "parent")
    op.drop_column("chapters", "leaf")


def downgrade() -> None:
    op.add_column("chapters", sa.Column("parent", sa.String(), nullable=True))
    op.add_column("chapters", sa.Column("leaf", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index("chapters_by_parent", "chapters", ["parent"])
