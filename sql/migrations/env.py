"""Alembic's environment: the caller hands over an open connection, so that no URL is stored in a file."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table="schema_revision", version_table_schema="public"
)
context.run_migrations()
