"""Run by Alembic: migrations on the connection, and in the transaction, that `upgrade` opened."""

from __future__ import annotations

from alembic import context

from memory.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
