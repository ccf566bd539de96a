"""The schema's revision: where the database stands, where this code wants it, and the way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from sql import library

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION_TABLE = {"version_table": "schema_revision", "version_table_schema": "public"}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(library.HERE / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """Return the newest revision that this code knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(connection: Connection) -> str | None:
    """Return the database's revision, None for an empty database."""
    return MigrationContext.configure(connection, opts=dict(VERSION_TABLE)).get_current_revision()


def migrate(connection: Connection, revision: str = "head") -> str | None:
    """Bring the tables to a revision and make the views and roles anew, inside the caller's transaction.

    May run any number of times and from several places at once: a lock puts them one after the other.

    Returns:
        The revision that the database now has.
    """
    connection.exec_driver_sql("select pg_advisory_xact_lock(hashtextextended('cxr.migrate', 0))")
    config = _config()
    config.attributes["connection"] = connection
    connection.exec_driver_sql("create schema if not exists analysis")
    connection.exec_driver_sql("create schema if not exists cxr")
    connection.exec_driver_sql(library.dropped_views())
    command.upgrade(config, revision)
    for statement in [*library.views(), library.roles()]:
        connection.exec_driver_sql(statement)
    return current(connection)
