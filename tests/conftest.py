"""Real parts for the tests: a Postgres with a migrated template database, an S3 server, a Prefect server for all."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import urllib.request
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from infra import database, servers
from infra.postgres import EmbeddedPostgres
from infra.settings import Settings
from infra.storage import Store
from tests.support.databases import PASSWORD, TEMPLATE, Database, clone, make_template
from tests.support.memory import folder_in_memory
from tests.support.orchestrator import prefect_server
from tests.support.processes.aws import read_descriptions_once
from tests.support.processes.warm import Server, use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from tests.support.nights import Nights

ROOT = Path(__file__).resolve().parent.parent
XRAYS = ROOT.parent / "shared" / "xrays"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")  # each core has a process of tests already, and threads would wait spinning
read_descriptions_once()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: at the end all processes should have something to do."""
    long = ("test_student_reports.py", "flows/")
    items.sort(key=lambda item: next((place for place, name in enumerate(long) if name in item.nodeid), len(long)))


def pytest_collection_finish() -> None:
    """Spare what was imported from the garbage collector, which would look through a million objects each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Shows a figure below the tests' results, whichever process the test ran in."""
    return lambda words: record_property("figure", words)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have shown."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.stats.get(outcome, [])]
    figures = [words for one in reports for name, words in one.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(figures))


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A Postgres server with the schema in a template database, an owner, and a login for each role."""
    with folder_in_memory() as folder, EmbeddedPostgres(folder / "postgres", durable=False) as server:
        make_template(server)
        yield server


@pytest.fixture
def fragile_db() -> Iterator[Database]:
    """A migrated database on a durable server of its own (`.server`), which the test may crash and start again."""
    with folder_in_memory() as folder, EmbeddedPostgres(folder / "postgres", durable=True) as server:
        make_template(server)
        yield Database(server, TEMPLATE)


@pytest.fixture
def db(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated database of the test's own."""
    yield from clone(postgres)


@pytest.fixture
def empty_db(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database without any schema, owned by the role that migrates."""
    yield from clone(postgres, "template1")


@pytest.fixture(scope="module")
def module_db(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated database for what is costly to make and shared by the tests of a module."""
    yield from clone(postgres)


@pytest.fixture
def pool(db: Database) -> Iterator[sa.Engine]:
    """Connections to it as the writer, as a flow has them."""
    engine = database.engine(db.url())
    yield engine
    engine.dispose()


@pytest.fixture
def nights(db: Database, pool: sa.Engine) -> Nights:
    """Runs of that database, with results made up."""
    from tests.support.nights import Nights

    return Nights(db, pool)


@pytest.fixture(scope="session")
def object_store() -> Iterator[servers.ObjectStore]:
    """An S3 server."""
    keys = {"access_key_id": "test-access-key-id", "secret_access_key": PASSWORD}
    with folder_in_memory() as folder, servers.ObjectStore(folder / "objects", **keys) as server:
        yield server


@pytest.fixture
def environment(
    db: Database, object_store: servers.ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of a flow against the test's own database and bucket, set for this process too."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    object_store.create_bucket(bucket)
    variables = {
        "CXR_DATABASE_URL": db.url(),
        "CXR_HOME": str(tmp_path / "home"),
        "CXR_REPORTS_URL": "http://reports.invalid",
        **object_store.environment(bucket),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """The settings of that environment."""
    assert environment
    return Settings.load()


@pytest.fixture
def store(settings: Settings) -> Store:
    """The test's own bucket."""
    return Store(settings)


SHARED = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give all processes of tests the servers that cost most to start and to keep, and a folder to share.

    A hook of pytest-xdist, called in the process that hands out the tests.
    """
    stash = node.config.stash
    if SHARED not in stash:
        stack = ExitStack()
        node.config.add_cleanup(stack.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cxr-tests-")))
        warm = stack.enter_context(Server(folder))
        prefect = stack.enter_context(prefect_server(folder / "prefect"))
        stash[SHARED] = {"warm": warm.address, "prefect": prefect.api_url, "shared": str(folder)}
    node.workerinput["given"] = stash[SHARED]


@pytest.fixture(scope="session")
def given(request: pytest.FixtureRequest) -> dict[str, str]:
    """What all processes of tests share; nothing where there is but one."""
    return getattr(request.config, "workerinput", {}).get("given", {})


@pytest.fixture(scope="session")
def warm(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server that forks processes with everything imported."""
    if given:
        yield given["warm"]
        return
    with Server(tmp_path_factory.mktemp("warm")) as server:
        yield server.address


@pytest.fixture
def warm_workers(warm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and conversions that this process starts come from there."""
    use(warm, monkeypatch)


@pytest.fixture(scope="session")
def shared(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of tests share."""
    return Path(given["shared"]) if given else tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def prefect_api(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server."""
    if given:
        for attempt in Retrying(stop=stop_after_delay(180), wait=wait_fixed(0.2), reraise=True):
            with attempt:
                urllib.request.urlopen(f"{given['prefect']}/health", timeout=5).close()  # noqa: S310 - our own address
        yield given["prefect"]
        return
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server.wait_ready().api_url


@pytest.fixture(scope="session")
def xrays() -> Path:
    """Real radiographs beside the checkout, which are no part of the project."""
    if not XRAYS.is_dir():
        pytest.skip("the real radiographs in ../shared/xrays are not on this machine")
    return XRAYS
