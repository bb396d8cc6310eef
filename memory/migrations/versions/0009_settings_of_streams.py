"""What a stream has of its own in place of the service's settings, its sampling policy among it."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_STREAMS = sa.table("streams", sa.column("id"), sa.column("sampling"), sa.column("settings"))


def upgrade() -> None:
    op.add_column("streams", sa.Column("settings", sa.Text(), nullable=False, server_default=""))
    found = op.get_bind().execute(sa.select(_STREAMS.c.id, _STREAMS.c.sampling).where(_STREAMS.c.sampling != ""))
    for row in found.all():
        _set(row.id, settings=json.dumps({"sampling": row.sampling}))
    op.drop_column("streams", "sampling")


def downgrade() -> None:
    op.add_column("streams", sa.Column("sampling", sa.String(), nullable=False, server_default=""))
    found = op.get_bind().execute(sa.select(_STREAMS.c.id, _STREAMS.c.settings).where(_STREAMS.c.settings != ""))
    for row in found.all():
        _set(row.id, sampling=json.loads(row.settings).get("sampling", ""))
    op.drop_column("streams", "settings")


def _set(stream: str, **values: str) -> None:
    op.get_bind().execute(sa.update(_STREAMS).where(_STREAMS.c.id == stream).values(values))
