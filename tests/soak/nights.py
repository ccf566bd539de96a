"""Nights that are killed at random instants and run again: no row lost, none twice, and counts that add up."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from infra import servers
from infra.postgres import EmbeddedPostgres
from models.phantoms.phantom import write_phantoms
from tests.soak.campaign import Campaign
from tests.support import orchestrator
from tests.support.artifacts import untrained
from tests.support.databases import PASSWORD, clone, make_template
from tests.support.memory import folder_in_memory
from tests.support.processes.warm import Server
from tests.support.site import PATIENCE_S, Site, site_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.databases import Database

IMAGES = 24
MOST_KILLS = 3


class Nights(Campaign):
    """A night is a process of its own, on a database and a bucket of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self._stack = ExitStack()

    def prepare(self) -> None:
        """Start the servers, and let a night run that nothing disturbs."""
        warm = self._stack.enter_context(Server(self.folder))
        prefect = self._stack.enter_context(orchestrator.prefect_server(self.folder / "prefect"))
        memory = self._stack.enter_context(folder_in_memory())
        self._postgres = self._stack.enter_context(EmbeddedPostgres(memory / "postgres", durable=False))
        make_template(self._postgres)
        store = self._stack.enter_context(
            servers.ObjectStore(memory / "objects", access_key_id="soak-access-key", secret_access_key=PASSWORD)
        )
        champion = untrained(self.folder / "champion", self.folder / "home", seed=7)
        write_phantoms(self.folder / "phantoms", IMAGES, seed=3, size=320)
        variables = orchestrator.variables(prefect.wait_ready().api_url, self.folder / "prefect-home")
        self._site: Callable[[Database], Site] = lambda db: site_on(
            db, store, champion, variables, warm.address, self.folder
        )
        for db in clone(self._postgres):
            site = self._made(db)
            began = time.monotonic()
            self._whole(site)
            self._seconds = time.monotonic() - began
            self._undisturbed = site.predictions()

    def round(self) -> None:
        """Kill a night some times, then let it end."""
        for db in clone(self._postgres):
            site = self._made(db)
            kills = int(self.random.integers(1, MOST_KILLS + 1))
            for _ in range(kills):
                process = site.start("score")
                time.sleep(float(self.random.uniform(0, self._seconds)))
                self.count("kills")
                if process.poll() is None:
                    process.kill()
                    process.wait(PATIENCE_S)
                else:
                    self.count("of them too late")
            self._whole(site)
            self.count("nights")
            self._look(site)

    def end(self) -> None:
        """Stop the servers."""
        self._stack.close()
        super().end()

    def _made(self, db: Database) -> Site:
        site = self._site(db)
        site.environment["CXR_SHARD_SIZE"] = str(self.random.choice([2, 4, 8]))
        site.upload(self.folder / "phantoms")
        return site

    def _whole(self, site: Site) -> None:
        process = site.start("score")
        output = site.finish(process)
        if process.returncode:
            self.violated(f"the night after it ended with {process.returncode}: {output[-2000:]}")

    def _look(self, site: Site) -> None:
        found: dict[str, Any] = site.predictions()
        self.count("rows", len(found))
        for key in self._undisturbed.keys() - found.keys():
            self.violated(f"lost: {key}")
        for key in found.keys() & self._undisturbed.keys():
            if found[key] != self._undisturbed[key]:
                self.violated(f"another answer: {key}")
        try:
            site.reconcile()
        except AssertionError as error:
            self.violated(f"the counts do not add up, or a row is there twice: {error}")
