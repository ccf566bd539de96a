"""Postgres: patience while it restarts, the lock, and errors in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from infra import database
from infra.database import DatabaseError, Lock, LockLostError
from infra.postgres import EmbeddedPostgres
from tests.support.memory import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from tests.support.databases import Database


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedPostgres]:
    """A server that these tests may stop, crash and start."""
    with folder_in_memory() as folder, EmbeddedPostgres(folder / "postgres", durable=False) as server:
        yield server


@pytest.fixture
def pool(own: EmbeddedPostgres) -> Iterator[sa.Engine]:
    engine = database.engine(own.url())
    yield engine
    engine.dispose()


def one(pool: sa.Engine) -> int:
    with database.transaction(pool) as cursor:
        cursor.execute("select 1")
        return int(cursor.fetchall()[0][0])


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_step_waits_until_postgres_is_back(own: EmbeddedPostgres, pool: sa.Engine, how: str) -> None:
    waits = threading.Event()
    assert one(pool) == 1
    getattr(own, how)()
    with ThreadPoolExecutor(1) as threads:
        step = threads.submit(database.retrying(30, lambda _: waits.set()), one, pool)
        assert waits.wait(30)
        own.start().wait_ready()
        assert step.result() == 1


def test_patience_ends_and_says_what_to_do(own: EmbeddedPostgres, pool: sa.Engine) -> None:
    own.stop()
    try:
        with pytest.raises(DatabaseError, match="cannot be reached") as refusal:
            database.retrying(0.5)(one, pool)
    finally:
        own.start().wait_ready()
    assert own.password not in str(refusal.value)
    assert one(pool) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://nobody:x@127.0.0.1:{port}/postgres", "password authentication failed"),
        ("postgresql://postgres:{password}@127.0.0.1:{port}/nowhere", "does not exist"),
    ],
)
def test_what_no_waiting_mends_is_said_at_once(own: EmbeddedPostgres, url: str, said: str) -> None:
    pool = database.engine(url.format(port=own.port, password=own.password))
    waits: list[int] = []
    with pytest.raises(DatabaseError, match=f"refuses the connection: .*{said}.*; check CXR_DATABASE_URL"):
        database.retrying(30, lambda retry: waits.append(retry.attempt_number))(one, pool)
    assert waits == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("select * from cxr.nothing", "run `cxr migrate`"),
        ("select cxr.ensure_partitions(1)", "run `cxr migrate`"),
        ("select 'DOE^JANE'::bigint", "refused a value"),
        ("do $$ begin raise unique_violation using message = 'twice', detail = 'DOE^JANE'; end $$", "23505"),
    ],
)
def test_a_refusal_is_said_in_words_without_the_rows_values(pool: sa.Engine, statement: str, said: str) -> None:
    def step() -> None:
        with database.transaction(pool) as cursor:
            cursor.execute(statement)

    with pytest.raises(DatabaseError, match=said) as refusal:
        step()
    assert "DOE" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_missing_right_names_the_role_to_grant(db: Database) -> None:
    pool = database.engine(db.analyst)
    with pytest.raises(DatabaseError, match="grant it cxr_writer"), database.transaction(pool) as cursor:
        cursor.execute("select * from cxr.images")
    pool.dispose()


def test_migrating_without_the_right_to_create_asks_for_the_databases_owner(db: Database, empty_db: Database) -> None:
    from sql import schema

    for one_db in (db, empty_db):
        pool = database.engine(one_db.url())
        with (
            pytest.raises(DatabaseError, match="migrations need the owner of the database"),
            database.connection(pool) as connection,
        ):
            schema.migrate(connection)
        pool.dispose()


def test_a_port_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(DatabaseError, match="cannot be read") as refusal:
        database.engine("postgresql://user:secret")
    assert "secret" not in str(refusal.value)


def test_an_error_rolls_back_and_the_connection_is_usable_again(pool: sa.Engine) -> None:
    with database.transaction(pool) as cursor:
        cursor.execute("create table if not exists kept (x integer); truncate kept")

    def fail(error: type[Exception]) -> None:
        with database.transaction(pool) as cursor:
            cursor.execute("insert into kept values (1)")
            if error is ValueError:
                raise ValueError("ours")
            cursor.execute("select 1 / 0")

    for error in (DatabaseError, ValueError):
        with pytest.raises(error):
            fail(error)
    with database.transaction(pool) as cursor:
        cursor.execute("select count(*) from kept")
        assert cursor.fetchall() == [(0,)]
    assert pool.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_rows_are_copied_as_they_are_however_many(pool: sa.Engine) -> None:
    odd = [(1, 'quoted " and, comma'), (2, "two\nlines\t\\N"), (3, None), (4, "späť")]
    rows = [*odd, *((number, str(number)) for number in range(5, 5 + 3 * database.ROWS_AT_ONCE))]
    with database.transaction(pool) as cursor:
        cursor.execute("create temporary table copied (number integer, words text) on commit drop")
        database.copy(cursor, "copied", iter(rows))
        cursor.execute("select * from copied order by number")
        assert cursor.fetchall() == rows


def test_both_ends_notice_when_the_other_has_vanished(own: EmbeddedPostgres) -> None:
    """Else the lock of a run whose machine lost its power is held for hours."""
    pool = database.engine(own.url() + "?keepalives_count=5&options=-c%20statement_timeout%3D7s")
    with database.transaction(pool) as cursor:
        raw = cursor.connection
        assert raw.get_dsn_parameters().items() >= {"keepalives_idle": "30", "keepalives_count": "5"}.items()
        found = []
        for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "statement_timeout"):
            cursor.execute(f"show {name}")
            found.append(cursor.fetchall()[0][0])
        assert found == ["60", "10", "3", "7s"]
    pool.dispose()


@pytest.mark.parametrize(("code", "again"), [("40P01", True), ("57P01", True), ("23505", False)])
def test_a_deadlock_is_worth_another_try_and_a_constraint_is_not(pool: sa.Engine, code: str, *, again: bool) -> None:
    tries: list[str] = []

    def step() -> None:
        tries.append(code)
        with database.transaction(pool) as cursor:
            cursor.execute(
                f"do $$ begin raise exception 'x' using errcode = '{code if len(tries) == 1 else '23505'}'; end $$"
            )

    with pytest.raises(DatabaseError, match="23505") as refusal:
        database.retrying(5)(step)
    assert len(tries) == 1 + again
    assert not refusal.value.waiting_may_help


def test_one_holds_the_lock_and_the_next_gets_it_the_moment_it_is_released(pool: sa.Engine) -> None:
    first, second, unrelated = Lock(pool, "a"), Lock(pool, "a"), Lock(pool, "b")
    for _ in range(20):
        assert first.acquire()
        assert not second.acquire()
        first.release()
        assert second.acquire()
        second.release()
    assert first.acquire()
    assert unrelated.acquire()
    first.release()
    first.release()
    unrelated.release()
    assert pool.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_the_lock_outlives_the_transactions_beside_it(pool: sa.Engine) -> None:
    first, second = Lock(pool, "a"), Lock(pool, "a")
    assert first.acquire()
    assert one(pool) == 1
    first.renew()
    assert not second.acquire()
    first.release()


HOLDER = """
import sys, time
from infra import database
lock = database.Lock(database.engine(sys.argv[1]), "a")
print(lock.acquire(), flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_process_that_is_killed_is_free(own: EmbeddedPostgres, pool: sa.Engine) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, own.url()], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "True\n"
        lock = Lock(pool, "a")
        assert not lock.acquire()
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate()
    deadline = time.monotonic() + 10
    while not (held := lock.acquire()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held
    lock.release()


def test_a_lock_is_taken_again_after_a_restart_unless_another_was_faster(
    own: EmbeddedPostgres, pool: sa.Engine
) -> None:
    first, second = Lock(pool, "a"), Lock(pool, "a")
    assert first.acquire()
    own.crash()
    own.start().wait_ready()
    database.retrying(10)(first.renew)
    assert not second.acquire()
    own.stop()
    own.start().wait_ready()
    assert database.retrying(10)(second.acquire)
    with pytest.raises(LockLostError, match="another run took over"):
        database.retrying(10)(first.renew)
    second.release()


def test_renewing_waits_while_postgres_is_away(own: EmbeddedPostgres, pool: sa.Engine) -> None:
    lock = Lock(pool, "a")
    assert lock.acquire()
    own.stop()
    with ThreadPoolExecutor(1) as threads:
        waits = threading.Event()
        renewed = threads.submit(database.retrying(30, lambda _: waits.set()), lock.renew)
        assert waits.wait(30)
        own.start().wait_ready()
        renewed.result()
    assert not Lock(pool, "a").acquire()
    lock.release()
