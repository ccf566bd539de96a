"""Whole nights against real services: in this process, or as a process of their own that can be killed."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest

from infra import database
from infra.settings import Settings
from infra.storage import Store
from tests.support.warm import Process, seen_by_prefect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result
    from prefect.client.schemas.objects import State

    from infra.servers import ObjectStore
    from models.serving.artifact import ArtifactMetadata
    from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
PATIENCE_S = 240


@dataclass(frozen=True)
class Artifact:
    """A champion's artifact, and a state folder whose cache holds its conversion already."""

    folder: Path
    metadata: ArtifactMetadata
    home: Path


class Site:
    """One test's database, bucket and environment, and the nights that run there."""

    def __init__(self, db: Database, environment: dict[str, str], folder: Path) -> None:
        self.db, self.environment, self.folder = db, environment, folder
        self._processes: list[Process] = []

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """The environment, set for this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    @property
    def settings(self) -> Settings:
        with self.surroundings():
            return Settings.load()

    @cached_property
    def store(self) -> Store:
        return Store(self.settings)

    def upload(self, folder: Path, prefix: str = "incoming/") -> int:
        from tasks.pages.publishing import publish_folder

        return publish_folder(self.store, folder, prefix)

    def keys(self, prefix: str) -> list[str]:
        return [item.key for page in self.store.list(prefix) for item in page]

    def night(self, **parameters: Any) -> State[Any]:
        """Run a night in this process."""
        from flows.scoring import nightly_scoring

        with self.surroundings():
            return nightly_scoring(return_state=True, **parameters)

    def cxr(self, *arguments: str) -> Result:
        """Run a command in this process."""
        from typer.testing import CliRunner

        from flows.cli import app

        return CliRunner().invoke(app, list(arguments), env=self.environment)

    def start(self, *arguments: str) -> Process:
        """Run a command as a process of its own; it is killed at the end of the test at the latest."""
        log = self.folder / f"process-{len(self._processes)}.log"
        process = Process(arguments, os.environ | self.environment, ROOT, log)
        self._processes.append(process)
        return process

    def output(self, process: Process) -> str:
        """All that a process of `start` wrote, to stdout and stderr."""
        return (self.folder / f"process-{self._processes.index(process)}.log").read_text(errors="replace")

    def finish(self, process: Process) -> str:
        """Wait for a process of `start`; returns its output."""
        process.wait(PATIENCE_S)
        return self.output(process)

    def kill(self, process: Process) -> None:
        """SIGKILL, which must still find it running."""
        assert process.poll() is None, f"it ended before it could be killed:\n{self.output(process)}"
        process.kill()
        process.wait(PATIENCE_S)

    def until(self, condition: str, process: Process) -> None:
        """Wait until a condition in SQL holds while the process runs."""
        deadline = time.monotonic() + PATIENCE_S
        pool = database.engine(self.db.owner)
        try:
            while True:
                with database.transaction(pool) as cursor:
                    cursor.execute(f"select {condition}")
                    if cursor.fetchall()[0][0]:
                        return
                assert process.poll() is None, f"it ended before {condition}:\n{self.output(process)}"
                assert time.monotonic() < deadline, f"never: {condition}\n{self.output(process)}"
                time.sleep(0.003)
        finally:
            pool.dispose()

    def end_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)

    def states(self) -> dict[str, int]:
        """Number of images by state."""
        return dict(self.db.rows("select state, count(*) from cxr.images group by state"))

    def runs(self) -> list[dict[str, Any]]:
        """The runs' rows, oldest first."""
        return [row for (row,) in self.db.rows("select to_jsonb(r) from cxr.runs r order by started_at")]

    def predictions(self) -> dict[str, tuple[str, list[float]]]:
        """Predicted class and rounded probabilities by object key, as an analyst sees them."""
        rows = self.db.rows(
            "select object_key, predicted_class, probabilities from analysis.latest_prediction", user="test_analyst"
        )
        assert len({key for key, *_ in rows}) == len(rows), "an object is there twice"
        return {key: (label, [round(value, 4) for value in values]) for key, label, values in rows}

    def reconcile(self) -> None:
        """Every object of finished runs ended in exactly one state, and no content was scored twice."""
        for run in self.runs():
            if run["state"] in ("completed", "held"):
                ends = [run[name] for name in ("scored", "quarantined", "failed", "duplicate")]
                assert run["discovered"] == sum(ends), run
        assert self.db.value("select count(*) from cxr.images where state = 'pending'") == 0
        assert self.db.value("select count(*) from cxr.predictions") == self.states().get("scored", 0)
        assert not self.db.rows(
            "select content_sha256 from cxr.predictions group by content_sha256, model_version having count(*) > 1"
        )

    def put_back(self, champion: Artifact) -> None:
        """Store the champion's artifact, register it and make it champion."""
        from tasks.registry import promotion

        pool = database.engine(self.settings.database)
        promotion.promote(pool, self.register(champion), "the first one")
        pool.dispose()

    def register(self, model: Artifact) -> str:
        """Store an artifact and register it; returns the model version."""
        from tasks.registry import model_versions

        pool = database.engine(self.settings.database)
        version = model_versions.register(pool, self.store, model.folder, model.metadata)
        pool.dispose()
        return version


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A champion that never learned anything: its answers are arbitrary, but always the same."""
    folder, home = tmp_path_factory.mktemp("champion"), tmp_path_factory.mktemp("home")
    return untrained(folder, home, seed=7)


def untrained(folder: Path, home: Path, seed: int, size: int = 64) -> Artifact:
    """A model that never learned anything, converted in the cache of a state folder."""
    from models.networks import architectures
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.serving import artifact, conversion

    spec = PreprocessingSpec(height=size, width=size)
    model = architectures.build("compact_cnn", spec.shape, len(CLASSES), seed=seed)
    about = artifact.ArtifactMetadata(
        recipe="test", classes=CLASSES, preprocessing=spec, metrics={}, training={}, data_fingerprint="f" * 64,
        code_version="0", made_data=True,
    )  # fmt: skip
    inputs = np.random.default_rng(seed).integers(0, 256, (8, *spec.shape), dtype=np.uint8)
    about = artifact.save(folder, model, about, inputs)
    with pytest.MonkeyPatch.context() as patch:  # TensorFlow is here already, and need not be imported once more
        patch.setattr(conversion, "_convert", lambda *given: conversion.main(*map(str, given)))
        conversion.converted(artifact.load(folder, about.model_sha256), home / "cache")
    return Artifact(folder, about, home)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 small phantoms."""
    from models.phantoms.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 24, seed=3, size=320)
    return folder


@pytest.fixture(scope="session")
def prefect(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that point Prefect at its server, set for this process too."""
    from flows.commands.session import PREFECT_DEFAULTS

    variables = PREFECT_DEFAULTS | {
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect-home")),
    }
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
    prefect: dict[str, str], object_store: ObjectStore, champion: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Makes a site on a database, with a champion and a bucket of its own."""
    sites: list[Site] = []

    def make(db: Database, store: ObjectStore = object_store) -> Site:
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        store.create_bucket(bucket)
        environment = {
            **prefect,
            **store.environment(bucket),
            "CXR_DATABASE_URL": db.url(),
            "CXR_HOME": str(champion.home),
            "CXR_REPORTS_URL": "http://reports.invalid",
            "CXR_RUNTIME": "openvino-f32",
            "CXR_EXPLAIN_HIGHEST": "0",  # it takes as long as most nights here
        }
        sites.append(Site(db, environment, tmp_path_factory.mktemp(bucket)))
        sites[-1].put_back(champion)
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
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labelled images that are quick to learn."""
    from tests.support.studies import write_labelled

    folder = tmp_path_factory.mktemp("labelled")
    write_labelled(folder)
    return folder


@pytest.fixture
def workers_inside() -> Iterator[None]:
    """See `studies.working_inside`."""
    from tests.support.studies import working_inside

    with working_inside():
        yield


@pytest.fixture
def study(site: Site, labelled: Path, tmp_path: Path) -> Site:
    """A site with labels, and a champion that never learned anything."""
    from tests.support.studies import prepared

    return prepared(site, labelled, tmp_path)
