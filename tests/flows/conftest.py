"""What the tests of flows share: a champion, phantoms, labelled images, Prefect, and sites to run nights on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.support import orchestrator
from tests.support.artifacts import untrained_once
from tests.support.processes.once import once
from tests.support.processes.warm import seen_by_prefect
from tests.support.recipes import known
from tests.support.site import Site, site_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from infra.servers import ObjectStore
    from tests.support.artifacts import Artifact
    from tests.support.databases import Database


@pytest.fixture(scope="session")
def champion(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A champion that never learned anything: its answers are arbitrary, but always the same."""
    return untrained_once(shared, "champion", tmp_path_factory.mktemp("home"), seed=7)


@pytest.fixture(scope="session")
def phantoms(shared: Path) -> Path:
    """A folder of 24 small phantoms."""
    from models.phantoms.phantom import write_phantoms

    return once(shared, "phantoms", lambda folder: write_phantoms(folder, 24, seed=3, size=320))


@pytest.fixture(scope="session")
def prefect(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that point Prefect at its server, set for this process too."""
    variables = orchestrator.variables(prefect_api, tmp_path_factory.mktemp("prefect-home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        from prefect import context

        patch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", seen_by_prefect())  # another test may have imported it before
        yield variables
        # Else they would try to reach the server when Python exits, and it is gone by then.
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=10)
        APILogWorker.drain_all(timeout=10)


@pytest.fixture(scope="session")
def new_site(
    prefect: dict[str, str], object_store: ObjectStore, champion: Artifact, warm: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Site]]:  # fmt: skip
    """Makes a site on a database, with a champion and a bucket of its own."""
    sites: list[Site] = []

    def make(db: Database, store: ObjectStore = object_store) -> Site:
        sites.append(site_on(db, store, champion, prefect, warm, tmp_path_factory.mktemp("site")))
        return sites[-1]

    yield make
    for site in sites:
        site.end_all()


@pytest.fixture
def site(new_site: Callable[..., Site], db: Database) -> Iterator[Site]:
    """A site of the test's own."""
    made = new_site(db)
    yield made
    made.end_all()


@pytest.fixture(scope="module")
def idle(new_site: Callable[..., Site], module_db: Database) -> Site:
    """A site for the tests of a module that change nothing there."""
    return new_site(module_db)


@pytest.fixture
def flow_run_state(prefect: dict[str, str]) -> Callable[[str | UUID], State[Any]]:
    """Looks up the final state of a run in Prefect."""
    assert prefect
    from prefect.client.orchestration import get_client

    def look_up(run_id: str | UUID) -> State[Any]:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(str(run_id))).state
        assert state is not None
        return state

    return look_up


@pytest.fixture(scope="session")
def labelled(shared: Path) -> Path:
    """A folder of labelled images that are quick to learn."""
    from tests.support.studies import write_labelled

    return once(shared, "labelled", write_labelled)


@pytest.fixture
def workers_inside(shared: Path) -> Iterator[None]:
    """See `studies.working_inside`."""
    from tests.support.studies import working_inside

    with working_inside(shared):
        yield


@pytest.fixture
def study(site: Site, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with labels, and a champion that never learned anything."""
    from tests.support.studies import prepared

    known(monkeypatch)
    return prepared(site, labelled, tmp_path)
