"""Databases for tests: each is cloned from a migrated template, with an owner and a login for each role."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg2

from infra import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.postgres import EmbeddedPostgres

TEMPLATE = "cxr_template"
OWNER, WRITER, ANALYST = "cxr_owner", "test_writer", "test_analyst"
PASSWORD = "only-for-tests"  # noqa: S105 - of a server that lives as long as the tests


def make_template(server: EmbeddedPostgres) -> None:
    """Make the owner, the template database with the schema, and a login for each role."""
    from sql import schema

    pool = database.engine(server.ensure_database(OWNER, PASSWORD))
    with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"create database {TEMPLATE}")
    pool.dispose()
    owner = database.engine(server.url(TEMPLATE, user=OWNER, password=PASSWORD))
    with owner.begin() as connection:
        schema.migrate(connection)
        for login, role in ((WRITER, "cxr_writer"), (ANALYST, "cxr_analyst")):
            connection.exec_driver_sql(f"create role {login} login in role {role} password '{PASSWORD}'")
    owner.dispose()


class Database:
    """One test's own database, with the URLs of those who log in to it."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server, self.name = server, name

    def url(self, user: str = WRITER) -> str:
        return self.server.url(self.name, user=user, password=PASSWORD)

    @property
    def owner(self) -> str:
        return self.url(OWNER)

    @property
    def analyst(self) -> str:
        return self.url(ANALYST)

    def rows(self, statement: str, *values: object, user: str = OWNER) -> list[tuple]:
        """Run a statement as the owner and return its rows."""
        with psycopg2.connect(self.url(user)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: object) -> object:
        return self.rows(statement, *values)[0][0]


def clone(server: EmbeddedPostgres, template: str = TEMPLATE) -> Iterator[Database]:
    """Clone the template into a database and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(server.url("postgres", user=OWNER, password=PASSWORD))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"create database {name} template {template} strategy file_copy")  # five times as fast
    connection.close()
    yield Database(server, name)
    # The owner may not end an autovacuum that is at work there.
    connection = psycopg2.connect(server.url("postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"drop database {name} with (force)")
    connection.close()
