"""A delivery asks its rule where to go: addresses hold secrets, and are kept in one place, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_column("outbox", "url")


def downgrade() -> None:
    op.add_column("outbox", sa.Column("url", sa.Text(), nullable=False, server_default=""))
