"""What chapters are is read without their slots: a year of them in a moment, not in a minute."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

BRIEF = (
    *("stream", "start", "end", "level", "id", "revision", "frames", "slots"),
    *("path", "sha256", "fine_bytes", "thumbnail_bytes"),
)


def upgrade() -> None:
    op.drop_index("chapters_by_time", "chapters")
    op.create_index("chapters_by_time", "chapters", BRIEF)


def downgrade() -> None:
    op.drop_index("chapters_by_time", "chapters")
    op.create_index("chapters_by_time", "chapters", ["stream", "level", "start"])
