"""A site for whole nights against real services: in this process, or as a process of their own that can be killed."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra import database
from infra.settings import Settings
from infra.storage import Store
from tests.support.processes.warm import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result
    from prefect.client.schemas.objects import State

    from infra.servers import ObjectStore
    from tests.support.artifacts import Artifact
    from tests.support.databases import Database

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240


class Site:
    """One test's database, bucket and environment, and the nights that run there."""

    def __init__(self, db: Database, environment: dict[str, str], folder: Path, warm: str) -> None:
        self.db, self.environment, self.folder, self._warm = db, environment, folder, warm
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
        with log.open("ab") as output:
            process = Process(
                self._warm, "flows.cli", arguments, env=os.environ | self.environment, cwd=ROOT, stdout=output
            )
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
        while not self.db.value(f"select {condition}"):
            assert process.poll() is None, f"it ended before {condition}:\n{self.output(process)}"
            assert time.monotonic() < deadline, f"never: {condition}\n{self.output(process)}"
            time.sleep(0.003)

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


def site_on(
    db: Database, store: ObjectStore, champion: Artifact, prefect: dict[str, str], warm: str, folder: Path
) -> Site:
    """A site on a database, with a champion and a bucket of its own."""
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
    made = Site(db, environment, folder, warm)
    made.put_back(champion)
    return made
