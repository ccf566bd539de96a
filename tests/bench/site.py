"""Where the benchmark runs: Postgres, S3 and Prefect servers of its own, a champion, and a database for each night."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import numpy as np
import psutil

from infra import database, servers
from infra.postgres import EmbeddedPostgres
from infra.settings import Settings
from infra.storage import Store
from models.phantoms.phantom import CLASSES
from tests.bench import cores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa

BUCKET = "bench"
OWNER, TEMPLATE = "bench", "bench_template"
PASSWORD = "only-for-the-benchmark"  # noqa: S105 - of a server that lives as long as the benchmark


class Site:
    """The servers, up as long as the context; files must lie in `objects` before that.

    The object store computes the checksum of each file that it lists for the first time, which a real store did when
    the file was written, so everything is listed once at the start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / "objects" / BUCKET
        self.environment: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self.postgres = self._stack.enter_context(EmbeddedPostgres(self.folder / "postgres"))
            store = self._stack.enter_context(servers.ObjectStore(self.folder / "objects"))
            store.create_bucket(BUCKET)
            prefect_url = self.postgres.ensure_database("prefect", PASSWORD)
            prefect = self._stack.enter_context(servers.PrefectServer(self.folder / "prefect", prefect_url))
            self.environment = {
                **store.environment(BUCKET),
                "CXR_DATABASE_URL": self.postgres.ensure_database(OWNER, PASSWORD),
                "CXR_HOME": str(self.folder / "home"),
                "CXR_REPORTS_URL": "http://reports.invalid",
                "CXR_EXPLAIN_HIGHEST": "0",  # made after the night is published: it would only add its seconds
                "PREFECT_API_URL": prefect.api_url,
                "PREFECT_HOME": str(self.folder / "prefect-client"),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            os.environ.update(self.environment)
            self.listed = sum(len(page) for page in self.store().list(""))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self) -> Settings:
        return Settings.load()

    def store(self) -> Store:
        return Store(self.settings())

    def prepare_champion(self) -> None:
        """Make the template database: migrated, with a champion of the compact CNN that has seen noise for a moment."""
        from models.recipes.catalogue import RECIPES
        from models.serving import artifact
        from models.training.train import train
        from sql import schema
        from tasks.registry import model_versions, promotion

        random = np.random.default_rng(0)
        recipe = RECIPES["compact-cnn"]
        labels = np.arange(48) % len(CLASSES)
        images = random.integers(0, 256, (48, *recipe.preprocessing.shape), dtype=np.uint8)
        trained = train(recipe, images, labels, ["train"] * 40 + ["validation"] * 8, CLASSES, epochs=1)
        folder = self.folder / "artifact"
        folder.mkdir()
        metadata = trained.metadata(data_fingerprint="0" * 64, code_version="bench", made_data=True)
        metadata = artifact.save(folder, trained.model, metadata, trained.sample)
        with self._session("postgres") as cursor:
            cursor.execute(f"create database {TEMPLATE}")
        pool = database.engine(self.url(TEMPLATE))
        with pool.begin() as connection:
            schema.migrate(connection)
        promotion.promote(pool, model_versions.register(pool, self.store(), folder, metadata), "the benchmark's")
        with database.transaction(pool) as cursor:
            cursor.execute("select cxr.ensure_partitions(2)")
        pool.dispose()
        self.artifact, self.sha256 = folder, metadata.model_sha256

    def url(self, name: str) -> str:
        return self.postgres.url(name, user=OWNER, password=PASSWORD)

    @contextmanager
    def servers_on(self, some: set[int]) -> Iterator[None]:
        """Keep the servers on these cores for a while."""
        servers = psutil.Process().children(recursive=True)
        before = os.sched_getaffinity(0)
        cores.place(servers, some)
        try:
            yield
        finally:
            cores.place(servers, before)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a database of its own, with the champion and nothing else."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        with self._session("postgres") as cursor:
            cursor.execute(f"create database {name} template {TEMPLATE}")
        try:
            yield self.url(name)
        finally:
            with self._session("postgres") as cursor:
                # Not `with (force)`: that may not end an autovacuum at work there, which this waits for.
                cursor.execute(f"drop database {name}")

    @contextmanager
    def pool(self) -> Iterator[sa.Engine]:
        """Give connections to a database of its own."""
        with self.database() as url:
            pool = database.engine(url)
            try:
                yield pool
            finally:
                pool.dispose()

    @contextmanager
    def _session(self, name: str) -> Iterator[sa.engine.interfaces.DBAPICursor]:
        pool = database.engine(self.url(name))
        with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection.connection.cursor()
        pool.dispose()
