"""Databases for tests: each is cloned from a migrated template, with an owner and a login for each role."""

from __future__ import annotations

import uuid
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import psycopg2

from infra import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever its name

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
            connection.exec_driver_sql(f"create role {login} login in role {role}")
    owner.dispose()
    with psycopg2.connect(server.url()) as superuser, superuser.cursor() as cursor:
        cursor.execute("set scram_iterations = 1")  # the usual 4,096 take milliseconds of each of many connections
        for login in (OWNER, WRITER, ANALYST):
            cursor.execute(f"alter role {login} password '{PASSWORD}'")
    superuser.close()


class Database:
    """One test's own database, with the URLs of those who log in to it."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server, self.name = server, name
        self._kept: dict[str, Connection] = {}
        self._lock = Lock()

    def url(self, user: str = WRITER) -> str:
        return self.server.url(self.name, user=user, password=PASSWORD)

    @property
    def owner(self) -> str:
        return self.url(OWNER)

    @property
    def analyst(self) -> str:
        return self.url(ANALYST)

    def rows(self, statement: str, *values: object, user: str = OWNER) -> list[tuple]:
        """Run a statement as the owner and return its rows; the connection is kept for the next one."""
        with self._lock:
            for last_try in (False, True):
                connection = self._kept.pop(user, None) or psycopg2.connect(self.url(user))
                try:
                    with connection, connection.cursor() as cursor:
                        cursor.execute(statement, values or None)
                        return cursor.fetchall() if cursor.description else []
                except psycopg2.Error:
                    if last_try or not connection.closed:  # else the server was away, or ended the session
                        raise
                finally:
                    if not connection.closed and not statement.startswith("set "):
                        self._kept[user] = connection
        raise AssertionError

    def value(self, statement: str, *values: object) -> object:
        return self.rows(statement, *values)[0][0]

    def close(self) -> None:
        """End the connections."""
        for connection in self._kept.values():
            connection.close()


def clone(server: EmbeddedPostgres, template: str = TEMPLATE) -> Iterator[Database]:
    """Clone the template into a database and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with _kept(server.url("postgres", user=OWNER, password=PASSWORD)).cursor() as cursor:
        cursor.execute(f"create database {name} template {template} strategy file_copy")  # five times as fast
    made = Database(server, name)
    yield made
    made.close()
    # The owner may not end an autovacuum that is at work there.
    with _kept(server.url("postgres")).cursor() as cursor:
        cursor.execute(f"drop database {name} with (force)")


@cache
def _kept(url: str) -> Connection:
    """A connection that stays as long as its server."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection
