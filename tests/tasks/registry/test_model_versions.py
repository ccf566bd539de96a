"""The registry: one champion named in Postgres, and an artifact that is what was registered or is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.storage import StorageError, Store
from models.radiographs.preprocessing import PreprocessingSpec
from models.serving import artifact
from models.serving.artifact import ArtifactError
from tasks.registry import model_versions, promotion
from tasks.registry.model_versions import ModelVersion, RegistryError
from tests.support.nights import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from infra.settings import Settings
    from models.serving.artifact import ArtifactMetadata
    from tests.support.databases import Database
    from tests.support.nights import Nights

SPEC = PreprocessingSpec(height=8, width=8)
Saved = tuple["Path", "ArtifactMetadata"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A tiny artifact; what the model says does not matter here."""
    import keras
    import numpy as np

    inputs = keras.Input(SPEC.shape)
    answers = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs))
    metadata = artifact.ArtifactMetadata(
        model_version="", recipe="tiny", classes=("NORMAL", "PNEUMONIA"), preprocessing=SPEC, metrics={},
        data_fingerprint="f" * 64, code_version="1.0", training={}, made_data=True, created_at="", model_sha256="",
        sample_sha256="", keras_version="",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("artifact")
    sample = np.random.default_rng(0).integers(0, 255, (4, *SPEC.shape), np.uint8)
    return folder, artifact.save(folder, keras.Model(inputs, answers), metadata, sample)


@pytest.fixture
def champion(pool: sa.Engine, store: Store, saved: Saved) -> ModelVersion:
    version = model_versions.register(pool, store, *saved)
    promotion.promote(pool, version, "the first one")
    return model_versions.champion(pool)


def test_without_a_promotion_there_is_no_champion_and_the_way_out_is_said(pool: sa.Engine) -> None:
    with pytest.raises(RegistryError, match="cxr retrain"):
        model_versions.champion(pool)


def test_a_champion_is_what_was_registered_and_registering_twice_is_harmless(
    pool: sa.Engine, store: Store, saved: Saved, champion: ModelVersion
) -> None:
    metadata = saved[1]
    assert (champion.model_version, champion.classes) == (metadata.model_version, metadata.classes)
    assert (champion.artifact_sha256, champion.preprocessing_hash) == (metadata.model_sha256, SPEC.hash)
    assert (champion.made_data, champion.preprocessing) == (True, SPEC)
    assert model_versions.register(pool, store, *saved) == champion.model_version, "registering twice is harmless"
    assert model_versions.champion(pool) == champion == model_versions.require(pool, champion.model_version)


def test_a_version_that_nobody_registered_is_named_as_missing(pool: sa.Engine) -> None:
    with pytest.raises(RegistryError, match="no model version cnn-9"):
        model_versions.require(pool, "cnn-9")


def test_a_model_of_another_codes_preprocessing_is_refused_in_words(db: Database, nights: Nights) -> None:
    promotion.promote(nights.pool, MODEL, "the first one")
    db.rows("update cxr.model_versions set preprocessing = preprocessing || '{\"rotate\": 90}'")
    with pytest.raises(RegistryError, match=f"{MODEL}: .*rotate.*train a new model"):
        model_versions.champion(nights.pool)


def test_the_same_training_is_registered_once_also_by_two_at_once(
    db: Database, pool: sa.Engine, store: Store, saved: Saved
) -> None:
    folder, metadata = saved
    again = replace(metadata, model_version="tiny-again")
    assert model_versions.by_training_key(pool, "key") is None
    with ThreadPoolExecutor(2) as threads:
        both = threads.map(lambda one: model_versions.register(pool, store, folder, one, "key"), (metadata, again))
        (version,) = set(both)
    assert (
        model_versions.register(pool, store, folder, again, "key")
        == version
        == model_versions.by_training_key(pool, "key")
    )
    assert db.value("select count(*) from cxr.model_versions") == 1


def test_an_artifact_is_fetched_once_and_verified(store: Store, champion: ModelVersion, tmp_path: Path) -> None:
    folder = model_versions.fetch(store, champion, tmp_path)
    artifact.load(folder, champion.artifact_sha256)
    for name in artifact.ARTIFACT_FILES:
        store.client.delete_object(Bucket=store.bucket, Key=f"{champion.artifact_key}/{name}")
    assert model_versions.fetch(store, champion, tmp_path) == folder
    assert [path.name for path in folder.parent.iterdir()] == [champion.artifact_sha256], "nothing left over"


@pytest.mark.parametrize("name", artifact.ARTIFACT_FILES)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_cache_mends_itself(
    store: Store, champion: ModelVersion, tmp_path: Path, name: str, damage: str
) -> None:
    damaged = model_versions.fetch(store, champion, tmp_path) / name
    if damage == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    artifact.load(model_versions.fetch(store, champion, tmp_path), champion.artifact_sha256)


@pytest.mark.parametrize("name", artifact.ARTIFACT_FILES)
def test_a_changed_object_is_refused_and_not_kept(
    store: Store, champion: ModelVersion, tmp_path: Path, name: str
) -> None:
    key = f"{champion.artifact_key}/{name}"
    data = store.read(key)
    store.write(key, data[:-1] + b"!")
    for _ in range(2):
        with pytest.raises(ArtifactError):
            model_versions.fetch(store, champion, tmp_path)
    store.write(key, data)
    assert model_versions.fetch(store, champion, tmp_path).is_dir(), "mended in the store, it is fetched again"


def test_an_artifact_that_is_lost_is_told_from_a_store_that_is_away(
    store: Store, settings: Settings, champion: ModelVersion, tmp_path: Path
) -> None:
    store.client.delete_object(Bucket=store.bucket, Key=f"{champion.artifact_key}/{artifact.MODEL_FILE}")
    with pytest.raises(ArtifactError, match=f"{champion.model_version}: model.keras of its artifact cannot be fetched"):
        model_versions.fetch(store, champion, tmp_path)
    away = Store(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
    with pytest.raises(StorageError, match="does not exist"):
        model_versions.fetch(away, champion, tmp_path)


def test_an_artifact_that_contradicts_its_row_is_refused(store: Store, champion: ModelVersion, tmp_path: Path) -> None:
    for wrong in (replace(champion, classes=("PNEUMONIA", "NORMAL")), replace(champion, preprocessing_hash="0" * 16)):
        with pytest.raises(ArtifactError, match="differ from the registry"):
            model_versions.fetch(store, wrong, tmp_path)
