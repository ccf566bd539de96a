"""The worker process, and resuming from a checkpoint: with real processes that are really killed."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.serving import artifact
from models.training import worker
from models.training.job import (
    ANSWERS,
    ARTIFACT,
    CHECKPOINTS,
    HEATMAPS,
    HISTORY,
    IMAGES,
    JOB,
    OUTCOME,
    TIMING,
    AnsweringJob,
    TrainingJob,
    WorkerOutcome,
)
from models.training.train import probabilities
from tests.support.processes.eager import eager
from tests.support.processes.warm import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.training.train import TrainedModel
    from tests.support.spots import Saved

pytestmark = pytest.mark.usefixtures("eagerly")
ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120
EPOCHS = 3


@pytest.fixture(scope="module")
def job(trained: TrainedModel, data: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes folders with a small training's job."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        np.save(folder / IMAGES, data.images[:120])
        TrainingJob(
            recipe=trained.recipe, classes=trained.classes, labels=tuple(data.labels[:120].tolist()),
            splits=tuple(data.splits[:120].tolist()), contents="", seed=3, epochs=EPOCHS, budget_s=None,
            data_fingerprint="f" * 64, code_version="0", made_data=True, pretrained_dir=None,
        ).write(folder)  # fmt: skip
        return folder

    return make


def start(folder: Path, warm: str) -> Process:
    with (folder / "log").open("wb") as log:
        return Process(warm, "models.training.worker", ["train", str(folder)], env=os.environ, cwd=ROOT, stdout=log)


def outcome(folder: Path) -> WorkerOutcome:
    found = WorkerOutcome.read(folder)
    assert found is not None
    return found


def history(folder: Path) -> list[dict[str, float]]:
    return artifact.read_metadata(folder / ARTIFACT).training["history"]


@pytest.fixture(scope="module")
def uninterrupted(job: Callable[..., Path]) -> Path:
    """A training that nothing disturbed."""
    folder = job("uninterrupted")
    with eager():
        assert worker.train(folder).state == "trained", outcome(folder)
    return folder


def test_a_training_leaves_a_whole_artifact_and_its_answers(uninterrupted: Path, data: Any) -> None:
    told = outcome(uninterrupted)
    loaded = artifact.load(uninterrupted / ARTIFACT, told.model_sha256)
    assert loaded.metadata.model_version == told.model_version
    assert f"{EPOCHS} epochs" in told.message
    assert [one["epoch"] for one in json.loads((uninterrupted / HISTORY).read_text())] == [1, 2, 3]
    with np.load(uninterrupted / ANSWERS) as answers:
        assert answers["rows"].tolist() == np.flatnonzero(data.splits[:120] != "train").tolist()
        expected = probabilities(loaded.open_model(), data.images, answers["rows"])
        assert np.allclose(answers["probabilities"], expected, atol=1e-6)


def test_a_training_killed_after_an_epoch_goes_on_behind_it_and_ends_as_if_nothing_had_been(
    job: Callable[..., Path], uninterrupted: Path, warm: str
) -> None:
    folder = job("killed")
    process = start(folder, warm)
    deadline = time.monotonic() + PATIENCE_S
    while not list((folder / CHECKPOINTS).glob("epoch-*")):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (folder / OUTCOME).exists()

    assert worker.train(folder).state == "trained"
    told = [one["epoch"] for one in json.loads((folder / HISTORY).read_text())]
    about = artifact.read_metadata(folder / ARTIFACT).training
    assert about["epochs_resumed"] >= 1
    assert told == list(range(about["epochs_resumed"] + 1, EPOCHS + 1)), "only what was not done yet"
    assert not about["notes"]
    assert len(about["history"]) == EPOCHS
    for one, other in zip(about["history"], history(uninterrupted), strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=2e-4)
    models = [artifact.load(place / ARTIFACT, str(outcome(place).model_sha256)) for place in (folder, uninterrupted)]
    assert np.allclose(*(one.sample.probabilities for one in models), atol=5e-3)


def test_a_finished_training_is_not_done_again(uninterrupted: Path) -> None:
    before = (uninterrupted / ARTIFACT / artifact.METADATA_FILE).stat().st_mtime_ns
    assert worker.train(uninterrupted) == outcome(uninterrupted)
    assert (uninterrupted / ARTIFACT / artifact.METADATA_FILE).stat().st_mtime_ns == before


def test_an_artifact_lost_after_training_is_made_again_from_the_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "copy")
    (folder / ARTIFACT / artifact.MODEL_FILE).write_bytes(b"torn")
    assert worker.train(folder).state == "trained"
    assert json.loads((folder / HISTORY).read_text()) == [], "no epoch was run"
    assert history(folder) == history(uninterrupted)
    samples = [artifact.load(one / ARTIFACT, str(outcome(one).model_sha256)).sample for one in (folder, uninterrupted)]
    assert np.allclose(*(sample.probabilities for sample in samples), atol=1e-6)


def test_a_damaged_checkpoint_is_said_and_training_begins_anew(uninterrupted: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "copy")
    shutil.rmtree(folder / ARTIFACT)
    (checkpoint,) = (folder / CHECKPOINTS).glob("epoch-*")
    (checkpoint / "trainer.weights.h5").write_bytes(b"torn")
    replace(TrainingJob.read(folder), budget_s=0.0).write(folder)  # one epoch shows it
    notes = worker.train(folder).notes
    assert len(notes) == 1
    assert "the checkpoint could not be used and training began anew: trainer.weights.h5 is not as it" in notes[0]
    assert [one["epoch"] for one in json.loads((folder / HISTORY).read_text())] == [1]


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"learning_rate": 1e38}, "diverged", "learning rate"),
        ({"batch_size": 0}, "failed", "batch_size must be above 0"),
        ({"architecture": "alexnet"}, "failed", "no architecture is called 'alexnet'"),
    ],
)
def test_whatever_goes_wrong_ends_up_in_the_outcome(
    job: Callable[..., Path], changes: dict[str, Any], state: str, words: str
) -> None:
    folder = job("wrong")
    told = json.loads((folder / JOB).read_text())
    (folder / JOB).write_text(json.dumps(told | {"recipe": told["recipe"] | changes}))
    assert worker.main(["train", str(folder)]) == 1
    assert outcome(folder).state == state
    assert words in outcome(folder).message


def test_an_artifact_answers_with_probabilities_milliseconds_and_heatmaps(
    saved: Saved, data: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / IMAGES, data.images[:40])
    AnsweringJob(artifact=saved.folder, sha256=saved.metadata.model_sha256, explain=((3, None), (39, None))).write(
        tmp_path
    )
    assert worker.main(["answer", str(tmp_path)]) == 0, outcome(tmp_path)
    with np.load(tmp_path / ANSWERS) as answers:
        found = answers["probabilities"]
    assert (found.dtype, found.shape) == (np.float32, (40, 3))
    assert np.allclose(
        found,
        probabilities(artifact.open_model(saved.folder / "model.keras", 3), data.images, np.arange(40)),
        atol=1e-5,
    )
    assert json.loads((tmp_path / TIMING).read_text())["milliseconds"] > 0
    with np.load(tmp_path / HEATMAPS) as heat:
        assert heat["rows"].tolist() == [3, 39]
        assert heat["classes"].tolist() == found[[3, 39]].argmax(axis=1).tolist()
        assert (heat["heatmaps"].dtype, heat["heatmaps"].shape) == (np.float16, (2, 48, 48))


def test_another_artifact_than_the_registered_one_does_not_answer(saved: Saved, data: Any, tmp_path: Path) -> None:
    np.save(tmp_path / IMAGES, data.images[:4])
    AnsweringJob(artifact=saved.folder, sha256="0" * 64).write(tmp_path)
    assert worker.main(["answer", str(tmp_path)]) == 1
    assert outcome(tmp_path).state == "failed"
    assert "it was not opened" in outcome(tmp_path).message
    assert not (tmp_path / ANSWERS).exists()


def test_classes_that_are_asked_for_are_explained_instead_of_the_predicted_ones(
    saved: Saved, data: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / IMAGES, data.images[:2])
    AnsweringJob(
        artifact=saved.folder, sha256=saved.metadata.model_sha256, explain=((0, None), (1, 0), (1, 1), (1, 2)),
        batch_size=2,
    ).write(tmp_path)  # fmt: skip
    assert worker.main(["answer", str(tmp_path)]) == 0, outcome(tmp_path)
    with np.load(tmp_path / ANSWERS) as answers:
        predicted = answers["probabilities"].argmax(axis=1)
    with np.load(tmp_path / HEATMAPS) as heat:
        assert heat["classes"].tolist() == [predicted[0], 0, 1, 2]
        assert not np.allclose(heat["heatmaps"][1], heat["heatmaps"][2])


def test_a_network_without_feature_maps_answers_all_the_same_and_says_why_it_is_not_explained(
    saved: Saved, data: Any, tmp_path: Path
) -> None:
    import keras

    inputs = keras.Input((48, 48, 1))
    grey = keras.layers.Flatten()(keras.layers.Reshape((48, 48))(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(grey), name="flat")
    about = artifact.save(tmp_path / "flat", model, saved.metadata, data.images[:4])
    np.save(tmp_path / IMAGES, data.images[:2])
    AnsweringJob(artifact=tmp_path / "flat", sha256=about.model_sha256, explain=((1, None),)).write(tmp_path)
    assert worker.main(["answer", str(tmp_path)]) == 0, outcome(tmp_path)
    assert (tmp_path / ANSWERS).exists()
    assert not (tmp_path / HEATMAPS).exists()
    assert outcome(tmp_path).notes == ("flat has no feature maps before its scores: there is nothing to explain",)


def test_what_goes_wrong_is_told_without_saying_where_the_cache_lies(job: Callable[..., Path]) -> None:
    folder = job("broken")
    (folder / IMAGES).unlink()
    told = worker.train(folder)
    assert told.state == "failed"
    assert told.message.endswith("No such file or directory: 'images.npy'")
    assert worker.without_paths("weights in /srv/a/vgg.h5, see https://keras.io/api (and/or ~/b)") == (
        "weights in .../vgg.h5, see https://keras.io/api (and/or .../b)"
    )
