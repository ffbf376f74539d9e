"""Runs the migrations on the connection that `database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from simulator.churn.feedback.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
