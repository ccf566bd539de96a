"""The local stack and its building blocks, with real servers on free ports."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import psycopg2
import pytest
from botocore.exceptions import ClientError

from infra.local import start_detached, stop_stack
from infra.postgres import EmbeddedPostgres
from infra.processes import Child, StackError, check_ports, free_port, leftover_processes
from infra.servers import ObjectStore, ReportsServer
from infra.settings import LOCAL_STACK_FILE
from infra.statefolder import running_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
UP = """
import sys
from infra.local import StackError, run_stack
from infra.settings import Settings
try:
    run_stack(Settings.load(), sys.argv[1:], after_start=lambda env: print("migrating", env["CXR_S3_BUCKET"]))
except StackError as error:
    sys.exit(str(error))
"""
SERVE = """
import os, pathlib, sys, time
home = pathlib.Path(os.environ["CXR_HOME"])
(home / "served").write_text(os.environ["PREFECT_API_URL"] + " " + os.environ["CXR_DATABASE_URL"])
while not (home / "die").exists():
    time.sleep(0.05)
sys.exit("no flow to serve")
"""


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def get(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of ours
        return answer.headers["Content-Type"], answer.read()


def s3(store: ObjectStore, secret: str | None = None) -> Any:
    env = store.environment("cxr")
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or env["AWS_SECRET_ACCESS_KEY"],
    )


# --- Postgres


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    # Deeper than the 107 bytes that a Unix socket's path may have.
    folder = tmp_path_factory.mktemp("postgres") / ("deep" * 20) / ("deeper" * 20)
    folder.parent.mkdir(parents=True)
    with EmbeddedPostgres(folder, durable=False) as server:
        yield server


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_a_database_that_was_stopped_or_killed_comes_back_with_its_rows_on_the_same_port(
    postgres: EmbeddedPostgres, end: str
) -> None:
    query(postgres.url(), f"CREATE TABLE kept_{end} AS SELECT 7 AS value")
    getattr(postgres, end)()
    with pytest.raises(psycopg2.OperationalError):
        query(postgres.url(), "SELECT 1")
    postgres.start().wait_ready()
    assert query(postgres.url(), f"SELECT value FROM kept_{end}") == [(7,)]


def test_a_login_with_another_password_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(postgres.url(password="guess"), "SELECT 1")  # noqa: S106 - a wrong one


def test_a_databases_owner_is_no_superuser_and_can_make_roles_and_grant_what_it_owns(
    postgres: EmbeddedPostgres,
) -> None:
    url = postgres.ensure_database("owned", "one")
    assert query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    query(url, "CREATE ROLE reader_of_owned; CREATE TABLE facts (n int); GRANT SELECT ON facts TO reader_of_owned")
    query(url, "ALTER DEFAULT PRIVILEGES FOR ROLE reader_of_owned GRANT SELECT ON TABLES TO owned")
    query(url, "CREATE EXTENSION pg_trgm")


def test_making_a_database_again_changes_the_password_and_keeps_the_rows(postgres: EmbeddedPostgres) -> None:
    first = postgres.ensure_database("again", "one")
    query(first, "CREATE TABLE kept AS SELECT 1 AS n")
    second = postgres.ensure_database("again", "two")
    assert query(second, "SELECT n FROM kept") == [(1,)]
    with pytest.raises(psycopg2.OperationalError):
        query(first, "SELECT 1")


def test_a_database_is_durable_by_default(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    assert query(postgres.url(), "SHOW fsync") == [("off",)]
    with EmbeddedPostgres(tmp_path / "postgres") as durable:
        assert query(durable.url(), "SHOW fsync") == [("on",)]
        # The folder's password is the one it was made with; another is told from a server that is not ready yet.
        durable.stop()
        with pytest.raises(StackError, match=r"created with another password.*credentials\.json"):
            EmbeddedPostgres(durable.folder, durable.port, password="another").__enter__()  # noqa: S106


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes Postgres run under another account")
def test_as_root_a_database_runs_below_a_folder_that_is_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "postgres", durable=False) as server:
        assert query(server.url(), "SELECT 1") == [(1,)]
        assert server.child is not None
        assert psutil.Process(server.child.pid).uids().effective != 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


# --- Object store and reports


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path_factory.mktemp("store") / "objects") as server:
        server.create_bucket("cxr")
        server.create_bucket("cxr")
        yield server


def test_an_objects_etag_is_its_md5_and_changes_with_content_of_the_same_size(store: ObjectStore) -> None:
    client = s3(store)
    for body in (b"first!", b"second"):
        client.put_object(Bucket="cxr", Key="incoming/a.png", Body=body)
        [listed] = client.list_objects_v2(Bucket="cxr", Prefix="incoming/a.png")["Contents"]
        # rclone lists etags without the quotes that S3, and rclone's own other answers, put around them.
        assert listed["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()


def test_keys_with_odd_names_come_back_as_they_were_written(store: ObjectStore) -> None:
    client = s3(store)
    keys = {f"odd/{name}" for name in ("a b.png", "größe.png", "a+b.png", "100%.png", "%20.png", "影像.png", "x" * 240)}
    for key in keys:
        client.put_object(Bucket="cxr", Key=key, Body=key.encode())
    listed = {item["Key"] for item in client.list_objects_v2(Bucket="cxr", Prefix="odd/")["Contents"]}
    assert listed == keys
    assert all(client.get_object(Bucket="cxr", Key=key)["Body"].read() == key.encode() for key in keys)


def test_the_store_refuses_another_secret_and_shows_its_own_to_no_other_process(store: ObjectStore) -> None:
    with pytest.raises(ClientError):
        s3(store, secret="x" * 32).list_objects_v2(Bucket="cxr")
    assert store.secret_access_key not in " ".join(psutil.Process(store.child.pid).cmdline())


def test_a_report_written_through_the_store_opens_in_a_browser_at_once(store: ObjectStore) -> None:
    client = s3(store)
    folder = Path(store.child.argv[-1]) / "cxr" / "reports"
    with ReportsServer(folder) as reports:
        for body in (b"<a href='sheet.png'>1</a>", b"<a href='sheet.png'>two</a>"):
            client.put_object(Bucket="cxr", Key="reports/run-1/report.html", Body=body)
            client.put_object(Bucket="cxr", Key="reports/run-1/sheet.png", Body=body)
            kind, page = get(f"{reports.url}/run-1/report.html")
            assert (kind, page) == ("text/html; charset=utf-8", body)
            assert get(f"{reports.url}/run-1/sheet.png") == ("image/png", body)
        request = urllib.request.Request(f"{reports.url}/run-1/report.html", data=b"x", method="PUT")  # noqa: S310
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=10)  # noqa: S310 - an address of ours


# --- Processes and ports


def test_a_part_that_dies_is_reported_with_its_exit_code_and_last_words(tmp_path: Path) -> None:
    child = Child("The part", ["sh", "-c", "echo out of luck; exit 7"], tmp_path / "part.log").start()
    with pytest.raises(StackError, match=r"(?s)The part ended with exit code 7.*part\.log.*out of luck"):
        child.wait_until(lambda: False, timeout_s=10)


def test_a_part_that_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    child = Child("The part", ["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"], tmp_path / "part.log").start()
    time.sleep(0.3)
    [grandchild, *_] = psutil.Process(child.pid).children()
    child.stop(grace_s=0.3)
    assert not grandchild.is_running()
    assert not child.running


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_servers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from infra.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]), durable=False).start().wait_ready()\n"
        "print(server.child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "postgres")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    server.wait(timeout=PATIENCE_S)


def test_taken_ports_are_named_with_the_variables_that_change_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        taken = [one.getsockname()[1], two.getsockname()[1]]
        wanted = [
            ("Prefect", "CXR_PREFECT_PORT", "127.0.0.1", taken[0]),
            ("Postgres", "CXR_POSTGRES_PORT", "127.0.0.1", taken[1]),
        ]
        with pytest.raises(StackError) as caught:
            check_ports(wanted)
    for (_, variable, _, port), part in zip(wanted, str(caught.value).splitlines(), strict=True):
        assert f"port {port} " in part
        assert f"by process {os.getpid()} " in part
        assert f"set {variable} to another port" in part


# --- The stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / ".cxr"


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("POSTGRES", "S3", "PREFECT", "REPORTS"):
        monkeypatch.setenv(f"CXR_{name}_PORT", str(free_port()))
    monkeypatch.setenv("CXR_HOME", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield folder
    stop_stack(folder)
    (folder / "die").unlink(missing_ok=True)


def up(*serve: str) -> list[str]:
    return [sys.executable, "-c", UP, *serve]


def local_env(home: Path) -> dict[str, str]:
    lines = (home / LOCAL_STACK_FILE).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_a_stack_names_its_addresses_a_killed_one_is_no_hindrance_and_one_goes_down_when_a_part_dies(
    home: Path,
) -> None:
    """`cxr down` is in tests/flows/commands/test_stack.py."""
    pid = start_detached(up(sys.executable, "-c", SERVE), home).pid
    assert running_pid(home) == pid
    env = local_env(home)
    url = env["CXR_DATABASE_URL"].replace("+psycopg2", "")
    assert query(url, "SELECT current_database()") == [("cxr",)]
    assert get(f"{env['PREFECT_API_URL']}/health")[1] == b"true"
    assert env["PREFECT_API_URL"] in get(env["PREFECT_API_URL"].replace("/api", "/ui-settings"))[1].decode()
    assert get(env["PREFECT_API_URL"].replace("/api", "/"))[0].startswith("text/html")
    assert get(env["CXR_REPORTS_URL"])[0].startswith("text/html")
    for name in (LOCAL_STACK_FILE, "credentials.json"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "logs").stat().st_mode) == 0o700
    told = (home / "logs" / "up.log").read_text()
    assert "migrating cxr" in told
    assert env["AWS_SECRET_ACCESS_KEY"] not in told
    second = subprocess.run(up(), capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"is already running in {home} (process {pid}, since " in second.stderr
    with pytest.raises(StackError, match="is already running"):
        start_detached(up(), home)
    assert (home / "served").read_text() == f"{env['PREFECT_API_URL']} {env['CXR_DATABASE_URL']}"

    query(url, "CREATE TABLE kept AS SELECT 1 AS n")
    first = psutil.Process(pid)
    first.kill()
    first.wait(10)
    again = psutil.Process(start_detached(up(sys.executable, "-c", SERVE), home).pid)
    assert query(url, "SELECT n FROM kept") == [(1,)]

    (home / "die").touch()
    again.wait(PATIENCE_S)
    told = (home / "logs" / "up.log").read_text()
    assert "The process that serves the deployments ended with exit code 1" in told
    assert "no flow to serve" in told
    assert running_pid(home) is None
    assert leftover_processes(home) == []
    assert not (home / LOCAL_STACK_FILE).exists()
    assert not stop_stack(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stack_can_be_stopped_while_it_comes_up(home: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(up(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Starting Prefect")
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert leftover_processes(home) == []


def test_a_stack_that_cannot_start_says_why(home: Path) -> None:
    because = pytest.raises(StackError, match=r"(?s)exit code 1.*set CXR_S3_PORT to another port")
    with socket.create_server(("127.0.0.1", int(os.environ["CXR_S3_PORT"]))), because:
        start_detached(up(), home)
    assert running_pid(home) is None
