"""Recordings may lie in a store of blobs: what is to be removed from there is noted until it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table("removals", sa.Column("name", sa.Text(), primary_key=True))


def downgrade() -> None:
    op.drop_table("removals")
