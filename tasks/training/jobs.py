"""Trainings and answers in worker processes: their jobs, what comes back, and what stays on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models import files
from models.files import read_json
from models.recipes.recipe import TRAINING_VERSION
from models.training.job import (
    ANSWERS,
    CHECKPOINTS,
    HEATMAPS,
    HISTORY,
    IMAGES,
    JOB,
    TIMING,
    JobError,
    TrainingJob,
    WorkerOutcome,
)  # fmt: skip
from models.training.worker import finished_training
from tasks.training.worker_process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes.recipe import Recipe
    from models.training.job import AnsweringJob

FOLDER: Final = "training"
INTERRUPTED_S: Final = 7 * 24 * 3600.0
"""How long an interrupted training is kept for a run that goes on with it."""


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """A model's answers to the images of a job."""

    probabilities: NDArray[np.float32]
    """(n, classes), in the order of the job's images."""
    milliseconds: float
    """For one image: the median over the batches."""
    runtime: str
    """What computed them, such as keras-tensorflow-cpu."""
    heatmaps: NDArray[np.float16]
    """(pairs to explain, height, width), 0 to 1; empty where the network cannot be explained."""
    notes: tuple[str, ...] = ()
    """Why it cannot be explained, in words."""


class AnswersMissing(RuntimeError):  # noqa: N818 - reads as what it says
    """An artifact did not answer; the message says why in words."""


def job_key(learning_fingerprint: str, recipe: Recipe, seed: int, epochs: int | None) -> str:
    """Name a training: trainings with the same key learn the same, so the second one is not done.

    The recipe says which weights its backbone begins with: see `models.recipes.catalogue.recipe_named`.
    """
    about = [TRAINING_VERSION, learning_fingerprint, recipe.to_dict(), seed, epochs or recipe.epochs]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def job_folder(cache: Path, key: str) -> Path:
    """Return the folder of a training: the same one after a kill, so that it goes on from its checkpoint."""
    return cache / FOLDER / key[:16]


def prepare_training(folder: Path, job: TrainingJob, write_images: Callable[[Path], object]) -> None:
    """Write a training's job and images. What an earlier process left of the same training stays.

    Args:
        folder: of this training alone, see `job_folder`.
        job: what to train.
        write_images: writes the images of the job, preprocessed, (n, height, width, channels) uint8, to a .npy file.
            It is called only where they are missing and the training is not finished.
    """
    if not _holds(folder, job):
        discard(folder)
    files.make_private_folders(folder)
    if finished_training(folder) is None and not (folder / IMAGES).is_file():
        write_images(folder / IMAGES)
    job.write(folder)  # last: a folder without it is made anew


def train_in_worker(
    folder: Path, on_epoch: Callable[[int, dict[str, float]], None] | None = None, timeout_s: float | None = None
) -> WorkerOutcome:
    """Train a prepared job in a worker process; a training that is finished is not done again.

    Args:
        folder: prepared by `prepare_training`. Afterwards it holds the artifact, if the outcome's state is trained.
        on_epoch: called with each epoch (from 1) that is run and its figures.
        timeout_s: seconds after which the process is ended; its checkpoint stays.
    """
    if finished := finished_training(folder):
        return finished
    (folder / HISTORY).unlink(missing_ok=True)
    told = 0

    def tell() -> None:
        nonlocal told
        for figures in read_json(folder / HISTORY, [])[told:]:
            told += 1
            if on_epoch is not None:
                on_epoch(int(figures["epoch"]), {name: value for name, value in figures.items() if name != "epoch"})

    outcome = run("train", folder, tell, timeout_s)
    tell()
    if outcome.state == "trained":
        (folder / IMAGES).unlink(missing_ok=True)  # patients' pixels
        discard(folder / CHECKPOINTS)  # the artifact holds the weights
    return outcome


def held_out_answers(folder: Path, rows: Iterable[int]) -> NDArray[np.float32]:
    """Return what a finished training answered to some of its validation and test images: (rows, classes).

    Args:
        folder: of the training.
        rows: places of images in the job, at least one.
    """
    with np.load(folder / ANSWERS, allow_pickle=False) as found:
        answered = dict(zip(found["rows"].tolist(), found["probabilities"], strict=True))
    return np.stack([answered[row] for row in rows]).astype(np.float32)


def answer_in_worker(
    folder: Path, job: AnsweringJob, write_images: Callable[[Path], object], timeout_s: float | None = None
) -> ModelAnswers:
    """Let an artifact answer images in a worker process. The folder is removed afterwards: it holds patients' pixels.

    Args:
        folder: of this job alone; what was there is removed.
        job: what answers, and what is to be explained.
        write_images: writes the images, preprocessed for the artifact, (n, height, width, channels) uint8, to a .npy
            file.
        timeout_s: seconds after which the process is ended.

    Raises:
        AnswersMissing: it did not answer.
    """
    discard(folder)
    files.make_private_folders(folder)
    try:
        write_images(folder / IMAGES)
        job.write(folder)
        outcome = run("answer", folder, lambda: None, timeout_s)
        if outcome.state != "answered":
            raise AnswersMissing(f"{outcome.state}: {outcome.message}")
        return _answers(folder, outcome.notes)
    finally:
        discard(folder)


def _answers(folder: Path, notes: tuple[str, ...]) -> ModelAnswers:
    with np.load(folder / ANSWERS, allow_pickle=False) as found:
        probabilities = found["probabilities"]
    heatmaps: NDArray[np.float16] = np.empty((0, 0, 0), np.float16)
    if (folder / HEATMAPS).is_file():
        with np.load(folder / HEATMAPS, allow_pickle=False) as found:
            heatmaps = found["heatmaps"]
    timing = json.loads((folder / TIMING).read_text())
    return ModelAnswers(probabilities, timing["milliseconds"], timing["runtime"], heatmaps, notes)


def discard(folder: Path) -> None:
    """Remove a job with all that it holds."""
    shutil.rmtree(folder, ignore_errors=True)


def prune(cache: Path, wanted: Sequence[str], data_fingerprint: str) -> None:
    """Remove the folders of trainings: their images may be those of patients who have withdrawn.

    Args:
        cache: given to `job_folder`.
        wanted: keys of trainings whose folders stay.
        data_fingerprint: of the data set as it is now. Interrupted trainings on this data set stay for a week, so that
            a later run can go on with them; their images are removed and made anew then.
    """
    kept = {job_folder(cache, key) for key in wanted}
    for folder in (cache / FOLDER).glob("*"):
        if folder in kept:
            continue
        if _interrupted(folder, data_fingerprint):
            (folder / IMAGES).unlink(missing_ok=True)
        else:
            discard(folder)


def _holds(folder: Path, job: TrainingJob) -> bool:
    """Whether the folder was prepared for the same training."""
    try:
        return TrainingJob.read(folder).learns_the_same_as(job)
    except JobError:
        return False


def _interrupted(folder: Path, data_fingerprint: str) -> bool:
    """Whether a training on this data set can go on there. Each run that goes on with it writes its job anew."""
    try:
        job = TrainingJob.read(folder)
    except JobError:
        return False
    outcome = WorkerOutcome.read(folder)
    failed = outcome is not None and outcome.state != "trained"
    recent = time.time() - (folder / JOB).stat().st_mtime < INTERRUPTED_S
    return job.data_fingerprint == data_fingerprint and recent and not failed
