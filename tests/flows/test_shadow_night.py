"""Nights with a shadow, and with a promotion in the middle: the champion's rows are what they are without either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra import database
from models.serving.artifact import MODEL_FILE
from tasks.registry import promotion, trial
from tests.support.artifacts import untrained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa

    from tests.support.artifacts import Artifact
    from tests.support.databases import Database
    from tests.support.site import Site

IMAGES = 24


@pytest.fixture(scope="module")
def challenger(champion: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Another model with the champion's preprocessing."""
    return untrained(tmp_path_factory.mktemp("challenger"), champion.home, seed=8)


@pytest.fixture(scope="module")
def smaller(champion: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Another model with preprocessing of its own."""
    return untrained(tmp_path_factory.mktemp("smaller"), champion.home, seed=9, size=48)


@pytest.fixture
def pool(site: Site) -> Iterator[sa.Engine]:
    engine = database.engine(site.settings.database)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def alone(new_site: Callable[..., Site], module_db: Database, phantoms: Path) -> dict[str, Any]:
    """The champion's predictions for the phantoms without a shadow."""
    site = new_site(module_db)
    site.upload(phantoms)
    assert site.night().is_completed()
    assert site.db.value("select count(*) from cxr.shadow_predictions") == 0
    return site.predictions()


def newcomers(site: Site, phantoms: Path, word: str) -> None:
    """Two radiographs that no night has seen."""
    for number, path in enumerate(sorted(phantoms.rglob("*.png"))[:2]):
        site.store.write(f"incoming/{word}/{number}.png", path.read_bytes() + word.encode())


def words(site: Site) -> list[tuple]:
    """Model version, preprocessing and number of the shadows' rows."""
    return site.db.rows(
        "select s.model_version, s.preprocessing_hash, s.runtime, count(*) from cxr.shadow_predictions s "
        "join cxr.predictions p using (content_sha256, run_id) where s.model_version <> p.model_version "
        "group by 1, 2, 3 order by 4 desc"
    )


def test_a_shadow_scores_what_the_champion_scores_and_changes_nothing_of_it(
    site: Site, pool: sa.Engine, phantoms: Path, challenger: Artifact, smaller: Artifact, alone: dict[str, Any]
) -> None:
    site.environment["CXR_SHARD_SIZE"] = "10"
    trial.choose(pool, site.register(challenger), "on trial")
    site.upload(phantoms)
    site.store.write("incoming/no image.png", b"no image")
    state = site.night()
    assert state.is_completed(), state.message
    assert site.predictions() == alone
    first = challenger.metadata
    about = first.model_version, first.preprocessing.hash, "openvino-f32"
    assert words(site) == [(*about, IMAGES)]
    assert site.db.value("select count(*) from analysis.shadow_comparison") == IMAGES
    assert b"shadow" not in site.store.read(site.runs()[-1]["report_key"]), "there is nothing that ops should know"

    # One with preprocessing of its own gets arrays of its own.
    trial.choose(pool, site.register(smaller), "the next one")
    newcomers(site, phantoms, "second")
    assert site.night().is_completed()
    second = smaller.metadata
    assert second.preprocessing.hash != first.preprocessing.hash
    assert words(site) == [(*about, IMAGES), (second.model_version, second.preprocessing.hash, "openvino-f32", 2)]

    # When the trial is over, nobody is beside the champion.
    trial.end(pool, "we know enough")
    newcomers(site, phantoms, "third")
    assert site.night().is_completed()
    assert site.db.value("select count(*) from cxr.predictions") == IMAGES + 4
    assert site.db.value("select count(*) from cxr.shadow_predictions") == IMAGES + 2
    site.reconcile()


def test_a_shadow_whose_file_was_changed_in_the_store_harms_no_night(
    site: Site, pool: sa.Engine, phantoms: Path, challenger: Artifact, alone: dict[str, Any]
) -> None:
    version = site.register(challenger)
    trial.choose(pool, version, "on trial")
    # Another folder than the cache's: what is there has been verified before.
    site.db.rows("update cxr.model_versions set artifact_sha256 = repeat('0', 64) where model_version = %s", version)
    site.upload(phantoms)
    state = site.night()
    assert state.is_completed(), state.message
    assert site.predictions() == alone
    assert site.db.value("select count(*) from cxr.shadow_predictions") == 0
    report = site.store.read(site.runs()[-1]["report_key"]).decode()
    assert f"the shadow {version} did not score: {MODEL_FILE}" in report


def test_a_run_that_takes_over_from_a_dead_one_does_without_the_shadow(
    site: Site, pool: sa.Engine, phantoms: Path, challenger: Artifact, alone: dict[str, Any]
) -> None:
    """It may be what the dead one died of."""
    site.environment["CXR_SHARD_SIZE"] = "4"
    version = site.register(challenger)
    trial.choose(pool, version, "on trial")
    site.upload(phantoms)
    killed = site.start("score")
    site.until("exists (select from cxr.shadow_predictions)", killed)
    site.kill(killed)
    before = site.db.rows("select s::text from cxr.shadow_predictions s order by 1")
    state = site.night()
    assert state.is_completed(), state.message
    assert site.predictions() == alone
    assert site.db.rows("select s::text from cxr.shadow_predictions s order by 1") == before
    report = site.store.read(site.runs()[-1]["report_key"]).decode()
    assert f"the shadow {version} does not score: this run takes over" in report
    site.reconcile()


def test_a_promotion_during_a_night_counts_from_the_next_one(
    site: Site, pool: sa.Engine, phantoms: Path, champion: Artifact, challenger: Artifact
) -> None:
    site.environment["CXR_SHARD_SIZE"] = "2"
    version, before = site.register(challenger), champion.metadata.model_version
    site.upload(phantoms)
    process = site.start("score")
    site.until("exists (select from cxr.predictions)", process)
    promotion.promote(pool, version, "in the middle of the night")
    done = site.db.value("select count(*) from cxr.predictions")
    output = site.finish(process)
    assert process.returncode == 0, output
    assert int(str(done)) < IMAGES, "it was promoted too late to prove anything"
    seen = "select p.model_version, r.model_version, count(*) from cxr.predictions p join cxr.runs r using (run_id)"
    assert site.db.rows(f"{seen} group by 1, 2") == [(before, before, IMAGES)]
    newcomers(site, phantoms, "next")
    assert site.night().is_completed()
    assert site.db.rows(f"{seen} where r.model_version = %s group by 1, 2", version) == [(version, version, 2)]
