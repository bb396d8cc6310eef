"""Credentials apart from sources, and counters that outlast the process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("login", "counters"):
        op.add_column("streams", sa.Column(name, sa.Text(), nullable=False, server_default=""))
