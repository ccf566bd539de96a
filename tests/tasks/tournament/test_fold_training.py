"""What is kept of a training on a fold, what is not, and what is told of it. Nothing is trained here."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.radiographs.preprocessing import PreprocessingSpec
from models.radiographs.radiograph import Limits, Measurement
from models.recipes.recipe import Recipe
from models.serving.artifact import METADATA_FILE, ArtifactMetadata
from models.training.job import ANSWERS, ARTIFACT, CHECKPOINTS, IMAGES, JOB, ROWS, TrainingJob, WorkerOutcome
from tasks.datasets.labelled_images import LabelledImage
from tasks.radiographs.fetching import LocalFile
from tasks.tournament import entries, fold_training
from tasks.training import jobs

RECIPE = Recipe(
    name="frontal", architecture="compact_cnn", preprocessing=PreprocessingSpec(height=32, width=32), views=("PA",)
)
TERMS = fold_training.TrainingTerms(0, 0, 1, None, "test")
VIEWS = ("PA", "AP", None)
OF = entries.Entries(
    "ward",
    tuple(
        LabelledImage("AB"[row % 2], f"p{row}", "train", LocalFile(Path()), view=VIEWS[row % 3]) for row in range(12)
    ),
    tuple(Measurement(n_bytes=1, sha256=f"{row:064x}") for row in range(12)),
    ("A", "B"),
    Limits(),
)
SPLIT = np.array(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)
DAY = 24 * 60 * 60


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which the images are there; they are not read, and a training stops after its first epoch."""

    def images(cache: Path, *_: Any) -> Path:
        target = cache / entries.FOLDER / "all.npy"
        np.save(target, np.zeros((12, 32, 32, 1), np.uint8))
        return target

    def stop(folder: Path, _: object) -> WorkerOutcome:
        (folder / CHECKPOINTS / "epoch-0001").mkdir(parents=True, exist_ok=True)
        (folder / ARTIFACT).mkdir()
        (folder / ANSWERS).touch()
        return WorkerOutcome("killed", "the system killed it")

    monkeypatch.setattr(fold_training, "images", images)
    monkeypatch.setattr(jobs, "train_in_worker", stop)
    return tmp_path


def finish(folder: Path, _: object) -> WorkerOutcome:
    """What a training leaves that ends."""
    held_out = np.flatnonzero(np.array(TrainingJob.read(folder).splits) != "train")
    np.savez(folder / ANSWERS, rows=held_out, probabilities=np.full((len(held_out), 2), 0.5))
    about = {"parameters": 1, "seconds": 1.0, "images_per_s": 1.0, "epochs_run": 1, "backend": "none", "notes": ["so"]}
    (folder / ARTIFACT).mkdir()
    metadata = ArtifactMetadata(
        recipe="frontal", classes=("A", "B"), preprocessing=RECIPE.preprocessing, metrics={}, training=about,
        data_fingerprint="", code_version="", made_data=False,
    )  # fmt: skip
    (folder / ARTIFACT / METADATA_FILE).write_text(metadata.to_json())
    return WorkerOutcome("trained", "")


def interrupted(cache: Path) -> Path:
    """The folder of a training that was killed."""
    with pytest.raises(fold_training.TournamentError, match="killed"):
        fold_training.train_fold(cache, OF, RECIPE, 0, SPLIT, TERMS)
    (folder,) = (path.parent for path in (cache / entries.FOLDER).glob(f"*/{JOB}"))
    return folder


def test_of_a_training_that_was_interrupted_the_checkpoint_stays_and_no_pixel(cache: Path) -> None:
    folder = interrupted(cache)
    assert (folder / IMAGES).is_file()
    fold_training.remove_pixels(cache)
    assert {path.name for path in folder.iterdir()} == {JOB, ROWS, CHECKPOINTS}
    assert not list(cache.rglob("*.npy"))
    assert interrupted(cache) == folder
    assert (folder / IMAGES).is_file(), "its images are made anew"
    assert (folder / CHECKPOINTS / "epoch-0001").is_dir(), "and it goes on behind its checkpoint"


def test_a_checkpoint_of_last_month_and_a_job_without_any_are_removed(cache: Path) -> None:
    folder = interrupted(cache)
    long_ago = time.time() - (fold_training.RESUMABLE_DAYS + 1) * DAY
    os.utime(folder / CHECKPOINTS / "epoch-0001", (long_ago, long_ago))
    fold_training.remove_pixels(cache)
    assert not folder.exists()
    (interrupted(cache) / CHECKPOINTS / "epoch-0001").rmdir()
    fold_training.remove_pixels(cache)
    assert not folder.exists()


def test_what_was_answered_stays_and_a_damaged_file_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "train_in_worker", finish)
    fold = fold_training.train_fold(cache, OF, RECIPE, 0, SPLIT, TERMS)
    fold_training.remove_pixels(cache)
    found = fold_training.finished_fold(cache, OF, RECIPE, 0, TERMS)
    assert found is not None
    assert (found.rows.tolist(), found.notes) == (fold.rows.tolist(), fold.notes)
    (file,) = (cache / entries.FOLDER / fold_training.ANSWERS_FOLDER).iterdir()
    whole = file.read_bytes()
    for damaged in (b"", b"PK\x03\x04 and then nothing", whole[: len(whole) // 2], whole[:60] + b"\xff" + whole[61:]):
        file.write_bytes(damaged)
        assert fold_training.finished_fold(cache, OF, RECIPE, 0, TERMS) is None


def test_images_of_another_view_are_asked_and_not_learned_from_and_it_is_said_how_many(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def look(folder: Path, on_epoch: object) -> WorkerOutcome:
        learned.extend(np.flatnonzero(np.array(TrainingJob.read(folder).splits) == "train"))
        return finish(folder, on_epoch)

    monkeypatch.setattr(jobs, "train_in_worker", look)
    fold = fold_training.train_fold(cache, OF, RECIPE, 0, SPLIT, TERMS)
    assert learned == [0, 2, 3, 5]
    assert fold.rows.tolist() == [9, 10, 11]
    assert fold.notes == ("so", "4 images of a view that the recipe does not train on: scored, but not trained on")
