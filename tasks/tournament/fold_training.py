"""Training a recipe on a fold of labelled images, for tournaments and cross-validations.

Each training runs in a worker process, and its answers and figures are kept. So a tournament that was killed can go on:
a finished training is not repeated, and an interrupted one resumes from its checkpoint, which is kept for a week.
Pixels are not kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models import files
from models.recipes.recipe import TRAINING_VERSION
from models.serving import artifact
from models.training.job import ARTIFACT, CHECKPOINTS, JOB, ROWS, TrainingJob, contents_digest
from tasks.datasets import dataset
from tasks.pages.wording import counted
from tasks.tournament.entries import FOLDER, ORDER, images
from tasks.training import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes.recipe import Recipe
    from tasks.tournament.entries import Entries

ANSWERS_FOLDER: Final = "answers"
RESUMABLE: Final = frozenset({JOB, ROWS, CHECKPOINTS})
"""What an interrupted training needs, except its images, which are made anew. An artifact is not among it: it holds a
sample of the images."""
RESUMABLE_DAYS: Final = 7
"""An older checkpoint is removed: nobody has gone on with it."""


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A recipe's answers to the images that a fold holds out, and what its training cost."""

    recipe: str
    rows: NDArray[np.int64]
    """Places of the held-out images among the entries."""
    probabilities: NDArray[np.float32]
    """(rows, classes)"""
    parameters: int
    seconds: float
    images_per_s: float
    """In training."""
    epochs: int
    """Epochs that were run."""
    backend: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingTerms:
    """Settings that all trainings of a tournament or a cross-validation share."""

    folds: int
    """0: one split."""
    seed: int
    """Of the folds and of each training."""
    epochs: int | None
    """At most; None: the recipe's."""
    minutes: float | None
    """For each training: no epoch begins that would make it last longer; None: no limit."""
    code_version: str
    pretrained_dir: Path | None = None
    """Folder of the pretrained weights that a recipe may begin with; None: they are downloaded."""


class TournamentError(RuntimeError):
    """A recipe gave no answers, or another tournament is running on this machine; the message says which."""


def finished_fold(cache: Path, entries: Entries, recipe: Recipe, fold: int, terms: TrainingTerms) -> FoldResult | None:
    """Return the result of a training that this or an earlier run finished; None if there is none."""
    path = _answers(cache, _key(entries, recipe, fold, terms))
    try:
        with np.load(path, allow_pickle=False) as found:
            told = json.loads(str(found["told"]))
            told["notes"] = tuple(told["notes"])
            return FoldResult(rows=found["rows"], probabilities=found["probabilities"], **told)
    except Exception:  # noqa: BLE001 - missing, of another form, or whatever a damaged file makes zipfile raise
        return None


def train_fold(
    cache: Path, entries: Entries, recipe: Recipe, fold: int, split: NDArray[np.str_], terms: TrainingTerms,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> FoldResult:  # fmt: skip
    """Train a recipe on a fold, and keep its answers to the images that the fold holds out.

    Args:
        cache: folder that is safe to delete.
        entries: the images.
        recipe: what to train.
        fold: number of the fold, from 0.
        split: (n,) of train, validation and test.
        terms: shared by all trainings.
        on_epoch: called with each epoch (from 1) and its figures.

    Raises:
        TournamentError: the training diverged, ran out of memory or failed; the message says which.
    """
    if done := finished_fold(cache, entries, recipe, fold, terms):
        return done
    key = _key(entries, recipe, fold, terms)
    folder = cache / FOLDER / key[:16]
    # Images of another view than the recipe's are not learned from; if held out, they are answered like all others.
    other = [bool(recipe.views and image.view and image.view not in recipe.views) for image in entries.images]
    learned = np.where(other, "test", split)
    job = TrainingJob(
        recipe=recipe,
        classes=entries.classes,
        labels=tuple(entries.labels.tolist()),
        splits=tuple(learned.tolist()),
        contents=contents_digest(entries.contents),
        seed=terms.seed,
        epochs=min(recipe.epochs, terms.epochs or recipe.epochs),
        budget_s=60 * terms.minutes if terms.minutes else None,
        data_fingerprint=entries.fingerprint,
        code_version=terms.code_version,
        made_data=entries.made,
        pretrained_dir=terms.pretrained_dir,
    )
    # A second name for the file: the job removes its own when it ends, and the other recipes still need the images.
    jobs.prepare_training(folder, job, lambda file: os.link(images(cache, entries, recipe.preprocessing), file))
    outcome = jobs.train_in_worker(folder, on_epoch)
    if outcome.state != "trained":
        raise TournamentError(f"{outcome.state}: {outcome.message}")
    rows = np.flatnonzero(split == "test")
    about = artifact.read_metadata(folder / ARTIFACT).training
    notes = list(about["notes"])
    if any(other):
        notes.append(f"{counted(sum(other), 'image')} of {dataset.OTHER_VIEW}: scored, but not trained on")
    result = FoldResult(
        recipe.name, rows, jobs.held_out_answers(folder, rows.tolist()), about["parameters"], about["seconds"],
        about["images_per_s"], about["epochs_run"], about["backend"], tuple(notes),
    )  # fmt: skip
    _keep(_answers(cache, key), result)
    jobs.discard(folder)
    return result


def remove_pixels(cache: Path) -> None:
    """Remove all pixels of tournaments. Answers stay, and so do the checkpoints of trainings that can resume."""
    for path in (cache / FOLDER).glob("*"):
        if path.is_dir() and path.name != ANSWERS_FOLDER:
            _remove_pixels_of_job(path)
        elif path.suffix == ".npy":
            path.unlink(missing_ok=True)


def _remove_pixels_of_job(folder: Path) -> None:
    checkpoints = folder / CHECKPOINTS
    newest = max((epoch.stat().st_mtime for epoch in checkpoints.glob("epoch-*")), default=0.0)
    if newest < time.time() - RESUMABLE_DAYS * 24 * 60 * 60:
        jobs.discard(folder)
        return
    for path in folder.iterdir():
        if path.name in RESUMABLE:
            continue
        if path.is_dir():
            jobs.discard(path)
        else:
            path.unlink(missing_ok=True)


def _key(entries: Entries, recipe: Recipe, fold: int, terms: TrainingTerms) -> str:
    about = [TRAINING_VERSION, ORDER, entries.fingerprint, recipe.to_dict(), fold, terms.folds, terms.seed,
             terms.epochs, terms.minutes]  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _answers(cache: Path, key: str) -> Path:
    return cache / FOLDER / ANSWERS_FOLDER / f"{key[:32]}.npz"


def _keep(path: Path, result: FoldResult) -> None:
    told = {name: value for name, value in asdict(result).items() if name not in ("rows", "probabilities")}
    files.make_private_folders(path.parent)
    files.write_arrays(path, told=np.array(json.dumps(told)), rows=result.rows, probabilities=result.probabilities)


@contextmanager
def machine_lock(cache: Path) -> Iterator[None]:
    """Run only one tournament or cross-validation on this machine: two would remove each other's images.

    Raises:
        TournamentError: another one is running.
    """
    files.make_private_folders(cache / FOLDER)
    with (cache / FOLDER / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TournamentError(
                "another tournament or cross-validation is running on this machine: wait until it has ended"
            ) from None
        yield
