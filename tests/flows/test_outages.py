"""What a night does when a part goes away under it: Postgres, the object store, single objects, the champion's file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from infra import database, servers
from tests.support.proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.support.artifacts import Artifact
    from tests.support.databases import Database
    from tests.support.site import Site

IMAGES = 24


@pytest.fixture
def fragile_store(tmp_path: Path) -> Iterator[servers.ObjectStore]:
    """An object store that the test may crash and start again."""
    with servers.ObjectStore(tmp_path / "objects") as store:
        yield store


def test_a_run_outlives_a_crash_and_restart_of_postgres(
    new_site: Callable[..., Site], fragile_db: Database, phantoms: Path
) -> None:
    site = new_site(fragile_db)
    site.environment |= {"CXR_SHARD_SIZE": "2"}
    site.upload(phantoms)
    process = site.start("score")
    site.until("(select count(*) from cxr.predictions) >= 4", process)
    fragile_db.server.crash()
    assert process.poll() is None
    fragile_db.server.start().wait_ready()
    output = site.finish(process)
    assert process.returncode == 0, output
    assert "Postgres is away" in output
    assert f"scored {IMAGES} of {IMAGES}" in output
    assert [run["state"] for run in site.runs()] == ["completed"]
    assert len(site.predictions()) == IMAGES
    site.reconcile()


def test_a_run_whose_postgres_stays_away_fails_in_words_and_the_next_one_finishes(
    new_site: Callable[..., Site], fragile_db: Database, phantoms: Path
) -> None:
    site = new_site(fragile_db)
    site.environment |= {"CXR_SHARD_SIZE": "2", "CXR_DATABASE_PATIENCE_S": "1"}
    site.upload(phantoms)
    process = site.start("score")
    site.until("(select count(*) from cxr.predictions) >= 4", process)
    fragile_db.server.crash()
    output = site.finish(process)
    assert process.returncode == 1, output
    assert "Postgres cannot be reached" in output
    assert "Traceback" not in output
    assert "check CXR_DATABASE_URL and the server (`cxr doctor`)" in output

    fragile_db.server.start().wait_ready()
    state = site.night()
    assert state.is_completed(), state.message
    assert [run["state"] for run in site.runs()] == ["crashed", "completed"]
    assert len(site.predictions()) == IMAGES
    site.reconcile()


def test_a_run_whose_object_store_stops_fails_in_words_and_the_next_one_finishes(
    new_site: Callable[..., Site], db: Database, fragile_store: servers.ObjectStore, phantoms: Path,
    flow_run_state: Callable[[str], State[Any]],
) -> None:  # fmt: skip
    site = new_site(db, fragile_store)
    site.environment |= {"CXR_SHARD_SIZE": "2"}
    site.upload(phantoms)
    process = site.start("score")
    site.until("exists (select from cxr.predictions)", process)
    fragile_store.crash()
    output = site.finish(process)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    (failed,) = site.runs()
    assert failed["state"] == "failed"
    assert "the object store cannot be reached" in failed["message"]
    assert "the object store cannot be reached" in str(flow_run_state(failed["run_id"]).message)
    states = site.states()
    assert set(states) == {"scored", "pending"}, "an image is not blamed for a store that is away"
    assert site.predictions() == {}

    fragile_store.start().wait_ready()
    state = site.night()
    assert state.is_completed(), state.message
    assert len(site.predictions()) == IMAGES
    site.reconcile()


def test_a_night_whose_prefect_server_dies_is_scored_and_published_and_its_process_ends(
    site: Site, prefect: dict[str, str], phantoms: Path
) -> None:
    """Others use the server: what dies is the way to it, which a client cannot tell from the server's death."""
    with CuttingProxy(prefect["PREFECT_API_URL"], cuts=0, after=0) as way:
        site.environment |= {"CXR_SHARD_SIZE": "2", "PREFECT_API_URL": f"{way.url}/api"}
        site.environment |= {
            "PREFECT_CLIENT_MAX_RETRIES": "2"
        }  # by default it waits a minute for a server to come back
        site.upload(phantoms)
        process = site.start("score")
        site.until("exists (select from cxr.predictions)", process)
        way.die()
        output = site.finish(process)
    assert process.returncode == 0, output
    assert "Prefect no longer answers" in output
    assert f"\nCompleted: scored {IMAGES} of {IMAGES}" in output
    assert [run["state"] for run in site.runs()] == ["completed"]
    assert len(site.predictions()) == IMAGES
    site.reconcile()


def test_objects_deleted_or_replaced_after_the_listing_fail_with_a_reason_and_cost_no_other(
    site: Site, phantoms: Path
) -> None:
    from tasks.scoring import discovery

    site.upload(phantoms)
    store, settings = site.store, site.settings
    pool = database.engine(settings.database)
    assert discovery.discover(pool, store, settings, ["incoming/"]).new == IMAGES
    pool.dispose()
    deleted, replaced, *_ = site.keys("incoming/")
    store.client.delete_object(Bucket=store.bucket, Key=deleted)
    store.write(replaced, store.read(replaced) + b"another version")

    state = site.night()  # lists the new version of the replaced one, too

    assert state.is_completed(), state.message
    assert f"scored {IMAGES - 1} of {IMAGES + 1}" in str(state.message)
    assert "0 quarantined, 2 failed" in str(state.message)
    ends = site.db.rows(
        "select object_key, state, cxr.reason_text(failed_expectations, reasons) from cxr.images "
        "where state <> 'scored'"
    )
    assert sorted(ends) == [
        (deleted, "failed", "the object was deleted after it had been listed"),
        (
            replaced,
            "failed",
            "the object was replaced after it had been listed; the new version is scored by a later run",
        ),
    ]
    assert replaced in site.predictions()
    site.reconcile()


def test_an_object_that_comes_back_is_scored_the_next_night(site: Site, phantoms: Path) -> None:
    from tasks.scoring import discovery

    site.upload(phantoms / "NORMAL")
    store, settings = site.store, site.settings
    pool = database.engine(settings.database)
    new = discovery.discover(pool, store, settings, ["incoming/"]).new
    pool.dispose()
    (key, *_) = site.keys("incoming/")
    data = store.read(key)
    store.client.delete_object(Bucket=store.bucket, Key=key)
    assert site.night().is_completed()
    assert site.states() == {"scored": new - 1, "failed": 1}
    store.write(key, data)
    assert site.night().is_completed()
    assert site.states() == {"scored": new}
    site.reconcile()


def test_a_champion_changed_in_the_store_scores_nothing_until_it_is_restored(
    site: Site, champion: Artifact, phantoms: Path, tmp_path: Path, flow_run_state: Callable[[str], State[Any]]
) -> None:
    home = tmp_path / "home"  # one that has the conversion, but not the artifact itself
    shutil.copytree(champion.home, home, ignore=shutil.ignore_patterns("artifacts"))
    site.environment["CXR_HOME"] = str(home)
    site.upload(phantoms)
    key = f"models/{champion.metadata.model_version}/model.keras"
    data = site.store.read(key)
    site.store.write(key, data[:-1000] + bytes(1000))

    state = site.night()

    assert state.is_failed()
    (failed,) = site.runs()
    assert failed["state"] == "failed"
    assert "has sha256" in failed["message"]
    assert "it was not opened" in failed["message"]
    assert "has sha256" in str(flow_run_state(failed["run_id"]).message)
    assert site.states() == {"pending": IMAGES}
    assert site.night().is_failed(), "nor does a second try take it from a cache"

    site.store.write(key, data)
    state = site.night()
    assert state.is_completed(), state.message
    assert len(site.predictions()) == IMAGES
    site.reconcile()
