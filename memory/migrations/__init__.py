"""The schema's history, run by the program itself at every start."""

from __future__ import annotations

from pathlib import Path

from memory.store.database import Database


def upgrade(database: Database, *, back_to: str = "") -> None:
    """Bring the database to the present schema, or back to an earlier one, all or nothing."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        database.probe("during migration")
        if back_to:
            command.downgrade(config, back_to)
        else:
            command.upgrade(config, "head")
        database.probe("during migration")
