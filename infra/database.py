"""Postgres: connections, transactions, retries while it is unavailable, and the lock for one run at a time.

SQLAlchemy pools the connections. Statements go directly to its psycopg2 driver, whose COPY writes the shards.
"""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import psycopg2
import sqlalchemy as sa
from psycopg2.extras import NamedTupleCursor
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from psycopg2.extensions import connection as RawConnection  # noqa: N812 - psycopg2's class has a lower-case name

APPLICATION = "cxr-nightly"
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A connection whose server has vanished fails within about a minute, not after hours. In s; the timeout in ms."""
SERVER_KEEPALIVES = "set tcp_keepalives_idle = 60; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3"
"""The same for the server's side: the lock of a run whose machine has vanished is free after 90 seconds."""
ROWS_AT_ONCE = 250
"""Rows in one write to COPY, which starts while later rows are still being made."""
DOCTOR = " (`cxr doctor`)"
"""Advice in a message; `cxr doctor` itself removes it."""
OWNERS_SIGNS = ("permission denied for database", "permission denied to create role", "must be owner of")
"""Beginnings of Postgres' messages to a user who migrates but does not own the database."""
FINAL_SIGNS = ("password authentication failed", "no password supplied", "does not exist", "not permitted to log in")


class DatabaseError(RuntimeError):
    """Postgres refused or was unavailable. The message says what to do and contains no values of rows."""

    def __init__(self, words: str, *, waiting_may_help: bool = False) -> None:
        super().__init__(words)
        self.waiting_may_help = waiting_may_help
        """True if Postgres restarts, dropped the connection, or chose this side of a deadlock as the victim."""


class LockLostError(RuntimeError):
    """Another run took the lock while this run had no connection; this run must stop."""


class Cursor(Protocol):
    """The part of a psycopg2 cursor that is used here. Rows have a field for each column: `row.model_version`."""

    @property
    def rowcount(self) -> int:
        """Rows that the last statement found or changed."""

    def execute(self, query: str, vars: Mapping[str, Any] | None = None) -> object:  # noqa: A002 - psycopg2's name
        """Run one or several statements."""

    def executemany(self, query: str, vars: Iterable[Mapping[str, Any]]) -> object:  # noqa: A002 - as above
        """Run a statement once for each set of values."""

    def fetchone(self) -> Any | None:
        """Return the next row of the last statement, None if no row is left."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def copy_expert(self, sql: str, file: Any) -> object:
        """Run a COPY statement."""


def engine(url: str) -> sa.Engine:
    """Return a pooled engine for a postgresql:// URL; connections are checked before use.

    Raises:
        DatabaseError: the URL cannot be read.
    """
    try:
        address = sa.make_url(url)
    except (ArgumentError, ValueError):  # a ValueError is about the port and would quote it
        raise DatabaseError(
            "CXR_DATABASE_URL cannot be read: postgresql://user:password@host:5432/database is its form"
        ) from None
    keepalives = {name: value for name, value in KEEPALIVES.items() if name not in address.query}
    pool = sa.create_engine(
        address.set(drivername="postgresql+psycopg2"),
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"application_name": APPLICATION, "connect_timeout": 10, **keepalives},
    )
    sa.event.listen(pool, "connect", _keep_alive)
    return pool


def _keep_alive(connection: RawConnection, _: object) -> None:
    # Set in SQL: the user's URL may use the start-up parameter `options`, and connection poolers refuse it.
    with connection.cursor() as cursor:
        cursor.execute(SERVER_KEEPALIVES)
    connection.commit()


@contextmanager
def transaction(pool: sa.Engine) -> Iterator[Cursor]:
    """Yield a cursor in a transaction, which is committed at the end and rolled back on any error.

    Raises:
        DatabaseError: Postgres refused or is unavailable, when connecting or in a statement of the transaction.
    """
    with _translated(), pool.connect() as connection:
        raw: RawConnection = connection.connection.driver_connection  # type: ignore[assignment]
        try:
            with raw.cursor(cursor_factory=NamedTupleCursor) as cursor:
                yield cursor
            raw.commit()
        except psycopg2.Error as error:
            if raw.closed or isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
                connection.invalidate()
            else:
                raw.rollback()
            raise
        except BaseException:
            if not raw.closed:
                raw.rollback()
            raise


@contextmanager
def connection(pool: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a SQLAlchemy connection in a transaction, for Alembic; otherwise like `transaction`.

    Raises:
        DatabaseError: as in `transaction`.
    """
    with _translated(), pool.begin() as begun:
        yield begun


class _Csv:
    """Rows as a CSV file that is written while it is read: Postgres takes the first rows before the last ones exist."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self._rows = iter(rows)

    def read(self, _: int = -1, /) -> str:
        """Return the lines of the next rows; psycopg2 accepts more than it asks for."""
        lines = io.StringIO()
        csv.writer(lines).writerows(islice(self._rows, ROWS_AT_ONCE))
        return lines.getvalue()


def copy(cursor: Cursor, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to a table, in the order of its columns. None and the empty string become NULL."""
    file: Any = _Csv(rows)  # the type stub asks for bytes; psycopg2 encodes strings in the connection's encoding
    cursor.copy_expert(f"copy {table} from stdin (format csv)", file)


def retrying(patience_s: float, on_wait: Callable[[RetryCallState], Any] | None = None) -> Retrying:
    """Return a caller for functions that are safe to repeat; it waits for Postgres with growing, jittered pauses.

    `retrying(30)(function, argument)` raises the function's own errors, and its last `DatabaseError` if Postgres does
    not come back within `patience_s` or the error is permanent.
    """
    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DatabaseError) and error.waiting_may_help),
        stop=stop_after_delay(patience_s),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        before_sleep=on_wait,
        reraise=True,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn a driver's error into a `DatabaseError` that explains itself."""
    try:
        yield
    except (psycopg2.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        # `from None`: drivers put values of rows, such as object keys, into messages that would end up in a log.
        raise DatabaseError(_words(cause), waiting_may_help=_transient(cause)) from None


def _transient(cause: BaseException | None) -> bool:
    code = getattr(cause, "pgcode", None)
    if code is not None:
        return code[:2] in {"08", "57", "53"} or code in {"40001", "40P01"}
    away = isinstance(cause, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return away and not any(sign in str(cause) for sign in FINAL_SIGNS)


def _words(cause: BaseException | None) -> str:
    """Say what Postgres refused and what to do, without the rows' values that drivers put in messages."""
    code = getattr(cause, "pgcode", None)
    first_line = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if code is None:
        # A host name may have two addresses, with one line each: the address that answered counts.
        refusals = [line for line in str(cause).splitlines() if any(sign in line for sign in FINAL_SIGNS)]
        if refusals:
            words = refusals[0].rpartition("FATAL:")[2].strip()
            return f"Postgres refuses the connection: {words}; check CXR_DATABASE_URL."
        return f"Postgres cannot be reached ({first_line}); check CXR_DATABASE_URL and the server{DOCTOR}."
    if code in {"42P01", "3F000", "42703", "42883"}:
        return f"The schema is missing or older than this code ({first_line}); run `cxr migrate`."
    if code == "42501":
        owners = first_line.startswith(OWNERS_SIGNS)
        advice = "migrations need the owner of the database" if owners else "grant it cxr_writer"
        return f"The database role may not do this ({first_line}); {advice}."
    if code[:2] == "22":  # these messages quote the value in their first line
        return f"Postgres refused a value ({code}, {type(cause).__name__})."
    return f"Postgres refused ({code}: {first_line})."


class Lock:
    """A session-level advisory lock on its own connection. It ends with the process, even if that is killed."""

    def __init__(self, pool: sa.Engine, name: str) -> None:
        self._pool = pool
        self._name = name
        self._connection: sa.Connection | None = None

    def acquire(self) -> bool:
        """Take the lock; return False if another session holds it.

        Raises:
            DatabaseError: Postgres refused or is unavailable.
        """
        statement = sa.text("select pg_try_advisory_lock(hashtextextended(:name, 0))")
        with _translated():
            connection = self._pool.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                if connection.execute(statement, {"name": self._name}).scalar_one():
                    self._connection = connection
            finally:
                if self._connection is not connection:
                    connection.close()
        return self._connection is connection

    def renew(self) -> None:
        """Make sure that the lock is still held; take it again after Postgres was unavailable.

        Raises:
            LockLostError: another session took it in the meantime.
            DatabaseError: Postgres refused or is unavailable.
        """
        try:
            if self._connection is not None:
                self._connection.execute(sa.text("select 1"))
                return
        except DBAPIError:
            self.release()
        if not self.acquire():
            raise LockLostError(
                "another run took over while Postgres was away; this run stops, and the other one continues"
            )

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # Explicit unlock: Postgres notices a closed connection only a moment later, and the next run may be waiting.
        with suppress(SQLAlchemyError):
            connection.execute(sa.text("select pg_advisory_unlock_all()"))
        connection.invalidate()
        connection.close()
