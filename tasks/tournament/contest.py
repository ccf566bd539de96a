"""A contest: recipes trained on the same folds of labelled images, each training in a process of its own.

What a training answered is kept, so that a contest that was killed goes on: what is done is not done again, and what
was under way goes on after the last epoch that it finished. Kept are answers and figures, and of a training that did
not end its checkpoint, for a week at most; pixels are not.
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
from models.recipes.recipe import FORM
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

ANSWERS: Final = "answers"
RESUMABLE: Final = frozenset({JOB, ROWS, CHECKPOINTS})
"""What a training needs to go on, beside pixels, which are made anew; an artifact holds pixels too, its sample."""
RESUMABLE_DAYS: Final = 7
"""A checkpoint older than that is of a contest that nobody wants any more."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What came of one training: its answers to the images that were held out, and what it cost."""

    recipe: str
    rows: NDArray[np.int64]
    """Of the entries."""
    probabilities: NDArray[np.float32]
    """(rows, classes)"""
    parameters: int
    seconds: float
    images_per_s: float
    """In training."""
    epochs: int
    """That were run."""
    backend: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What all recipes of a contest have alike."""

    folds: int
    """0: one split."""
    seed: int
    epochs: int | None
    """At most; None: the recipe's."""
    minutes: float | None
    """For each training: no epoch is begun that would not end within it."""
    code_version: str
    pretrained_dir: Path | None = None
    """Folder with the learned weights that a recipe may begin with; None: they are fetched."""


class ContestError(RuntimeError):
    """A recipe gave no answers; the message says why."""


def known(cache: Path, entries: Entries, recipe: Recipe, fold: int, terms: Terms) -> Fold | None:
    """Return what a training of an earlier run came to; None where it has not ended."""
    path = _answers(cache, _key(entries, recipe, fold, terms))
    try:
        with np.load(path, allow_pickle=False) as found:
            told = json.loads(str(found["told"]))
            told["notes"] = tuple(told["notes"])
            return Fold(rows=found["rows"], probabilities=found["probabilities"], **told)
    except Exception:  # noqa: BLE001 - missing, of another form, or whatever a damaged file makes zipfile raise
        return None


def compete(
    cache: Path, entries: Entries, recipe: Recipe, fold: int, split: NDArray[np.str_], terms: Terms,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fold:  # fmt: skip
    """Train a recipe on a fold and keep what it answers to the images that were held out.

    Args:
        cache: folder that is safe to delete.
        entries: the images.
        recipe: what to train.
        fold: its number, from 0.
        split: (n,) of train, validation and test.
        terms: of the contest.
        on_epoch: called with each epoch (from 1) and its figures.

    Raises:
        ContestError: it diverged, ran out of memory or failed; the message says which.
    """
    if done := known(cache, entries, recipe, fold, terms):
        return done
    key = _key(entries, recipe, fold, terms)
    folder = cache / FOLDER / key[:16]
    # Another view than the recipe's is not learned from, but answered like all others.
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
    jobs.prepare_training(folder, job, lambda file: os.link(images(cache, entries, recipe.preprocessing), file))
    outcome = jobs.train_in_worker(folder, on_epoch)
    if outcome.state != "trained":
        raise ContestError(f"{outcome.state}: {outcome.message}")
    rows = np.flatnonzero(split == "test")
    about = artifact.read_metadata(folder / ARTIFACT).training
    notes = list(about["notes"])
    if any(other):
        notes.append(f"{counted(sum(other), 'image')} {dataset.OTHER_VIEW}: asked, and not learned from")
    result = Fold(
        recipe.name, rows, jobs.held_out_answers(folder, rows.tolist()), about["parameters"], about["seconds"],
        about["images_per_s"], about["epochs_run"], about["backend"], tuple(notes),
    )  # fmt: skip
    _keep(_answers(cache, key), result)
    jobs.discard(folder)
    return result


def clear(cache: Path) -> None:
    """Remove all pixels of contests; answers stay, and so do the checkpoints of trainings that can go on."""
    for path in (cache / FOLDER).glob("*"):
        if path.is_dir() and path.name != ANSWERS:
            _clear_job(path)
        elif path.suffix == ".npy":
            path.unlink(missing_ok=True)


def _clear_job(folder: Path) -> None:
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


def _key(entries: Entries, recipe: Recipe, fold: int, terms: Terms) -> str:
    about = [FORM, ORDER, entries.fingerprint, recipe.to_dict(), fold, terms.folds, terms.seed, terms.epochs,
             terms.minutes]  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _answers(cache: Path, key: str) -> Path:
    return cache / FOLDER / ANSWERS / f"{key[:32]}.npz"


def _keep(path: Path, result: Fold) -> None:
    told = {name: value for name, value in asdict(result).items() if name not in ("rows", "probabilities")}
    files.private(path.parent)
    files.write_arrays(path, told=np.array(json.dumps(told)), rows=result.rows, probabilities=result.probabilities)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold this machine's contests: two at once would remove each other's images.

    Raises:
        ContestError: another one is at work.
    """
    files.private(cache / FOLDER)
    with (cache / FOLDER / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ContestError(
                "another tournament or cross-validation is at work on this machine: wait for it"
            ) from None
        yield
