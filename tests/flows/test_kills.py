"""What stopping a run at any instant, and running two at once, must not change: no row lost, none twice."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from infra import database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.support.databases import Database
    from tests.support.site import Site

IMAGES = 24
SHARDS = {"CXR_SHARD_SIZE": "4"}
FIRST_SHARD = "exists (select from cxr.predictions)"
MOMENTS = {
    "as discovery begins": "exists (select from cxr.runs)",
    "after the claim": f"(select count(*) from cxr.images where run_id is not null) = {IMAGES}",
    "before the conclusion": f"(select count(*) from cxr.predictions) = {IMAGES}",
}


@pytest.fixture(scope="module")
def undisturbed(
    new_site: Callable[..., Site], module_db: Database, phantoms: Path
) -> dict[str, tuple[str, list[float]]]:
    """What a night that nothing disturbs predicts for the phantoms."""
    site = new_site(module_db)
    site.environment |= SHARDS
    site.upload(phantoms)
    assert site.night().is_completed()
    predictions = site.predictions()
    assert len(predictions) == IMAGES
    return predictions


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_instant_is_taken_up_with_no_row_lost_and_none_twice(
    moment: str, site: Site, phantoms: Path, undisturbed: dict[str, Any], flow_run_state: Callable[[str], State[Any]]
) -> None:
    site.environment |= SHARDS
    site.upload(phantoms)
    killed = site.start("score")
    site.until(MOMENTS[moment], killed)
    site.kill(killed)
    assert site.runs()[0]["state"] == "running", "it was killed too late to prove anything"
    assert site.predictions() == {}, "what an unfinished run scored is not published"
    done = site.db.value("select count(*) from cxr.predictions")

    state = site.night()

    assert state.is_completed(), state.message
    dead, run = site.runs()
    assert (dead["state"], dead["resumed_by"]) == ("crashed", run["run_id"])
    assert site.predictions() == undisturbed
    site.reconcile()
    own = site.db.value("select count(*) from cxr.predictions where run_id = %s", run["run_id"])
    assert own == IMAGES - done, "what the dead run had committed was not scored again"
    assert f"scored {IMAGES} of {IMAGES}" in str(flow_run_state(run["run_id"]).message)
    if done:
        assert f"{done} of them were decided by an earlier run that stopped" in str(state.message)


def test_a_run_killed_again_and_again_still_ends_with_every_row(
    site: Site, phantoms: Path, undisturbed: dict[str, Any]
) -> None:
    site.environment |= SHARDS
    site.upload(phantoms)
    for share in (4, 12):
        process = site.start("score")
        site.until(f"(select count(*) from cxr.predictions) >= {share}", process)
        site.kill(process)
    assert site.night().is_completed()
    assert [run["state"] for run in site.runs()] == ["crashed", "crashed", "completed"]
    assert all(run["published_at"] for run in site.runs())
    assert site.predictions() == undisturbed
    site.reconcile()


def test_a_run_told_to_stop_says_so_and_is_taken_up_later(
    site: Site, phantoms: Path, undisturbed: dict[str, Any], flow_run_state: Callable[[str], State[Any]]
) -> None:
    site.environment |= SHARDS
    site.upload(phantoms)
    process = site.start("score")
    site.until(FIRST_SHARD, process)
    process.send_signal(signal.SIGTERM)
    output = site.finish(process)
    assert process.returncode != 0, output
    (stopped,) = site.runs()
    assert stopped["state"] == "failed"
    assert "a signal stopped it" in stopped["message"]
    assert flow_run_state(stopped["run_id"]).is_final(), "Prefect does not go on showing it as running"
    assert site.predictions() == {}

    assert site.night().is_completed()
    assert site.runs()[0]["resumed_by"] == site.runs()[1]["run_id"]
    assert site.predictions() == undisturbed
    site.reconcile()


def test_two_runs_at_once_score_everything_once(site: Site, phantoms: Path, undisturbed: dict[str, Any]) -> None:
    site.environment |= SHARDS
    site.upload(phantoms)
    both = [site.start("score"), site.start("score")]
    outputs = [site.finish(one) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    verdicts = sorted(output.strip().splitlines()[-1] for output in outputs)
    assert verdicts[0].startswith(f"Completed: scored {IMAGES} of {IMAGES}") or verdicts[1].startswith(
        f"Completed: scored {IMAGES} of {IMAGES}"
    )
    assert any("Skipped: another run" in one or "nothing new" in one for one in verdicts), verdicts
    assert site.predictions() == undisturbed
    site.reconcile()


def test_a_run_that_finds_another_at_work_skips_and_says_so(site: Site, phantoms: Path) -> None:
    site.upload(phantoms)
    pool = database.engine(site.settings.database)
    other = database.Lock(pool, f"cxr.scoring:{site.settings.bucket}")
    assert other.acquire()
    try:
        state = site.night()
    finally:
        other.release()
        pool.dispose()
    assert (state.is_completed(), state.name) == (True, "Skipped")
    assert "another run is scoring this bucket" in str(state.message)
    assert site.runs() == []
    assert site.states() == {}


def test_a_run_that_lost_its_place_to_another_stops_and_writes_nothing_more(
    site: Site, phantoms: Path, undisturbed: dict[str, Any]
) -> None:
    """Its connection breaks, and the other run, which was waiting, is quicker to take the lock."""
    site.environment |= SHARDS
    site.upload(phantoms)
    name = f"cxr.scoring:{site.settings.bucket}"
    process = site.start("score")
    site.until(FIRST_SHARD, process)
    with closing(psycopg2.connect(site.db.url())) as other, other.cursor() as cursor:
        take = threading.Thread(
            target=cursor.execute, args=("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        )
        take.start()
        site.until("exists (select from pg_locks where locktype = 'advisory' and not granted)", process)
        with closing(psycopg2.connect(site.db.server.url(site.db.name))) as superuser, superuser.cursor() as killer:
            killer.execute(
                "select pg_terminate_backend(pid) from pg_locks l join pg_database d on d.oid = l.database "
                "where locktype = 'advisory' and granted and datname = current_database()"
            )
        take.join(30)
        output = site.finish(process)
    assert process.returncode != 0, output
    assert "another run took over while Postgres was away" in output
    assert site.predictions() == {}

    assert site.night().is_completed()
    assert site.predictions() == undisturbed
    site.reconcile()
