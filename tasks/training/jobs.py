"""Training and answering apart: jobs for `models.training.worker`, which works on one in a process of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models import files
from models.files import read_json
from models.recipes.catalogue import FORM, SPLITS
from models.training import worker
from tasks.training import arrays
from tasks.training.worker_process import Outcome, outcome_of, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes.catalogue import Recipe
    from tasks.datasets.dataset import Item

FOLDER: Final = "training"
INTERRUPTED_S: Final = 7 * 24 * 3600.0
"""How long an interrupted training is kept for somebody who goes on with it."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What an artifact answered."""

    probabilities: NDArray[np.float32]
    """(n, classes), in the order of the job's images."""
    milliseconds: float
    """For one image: the median over batches of 32."""
    runtime: str
    """What answered, such as keras-tensorflow-cpu."""
    heatmaps: NDArray[np.float16]
    """(rows to explain, height, width), 0 to 1, for the class that was asked for or predicted; none where a network
    cannot be explained."""
    notes: tuple[str, ...] = ()
    """Why it cannot, in words."""


class AnswersMissing(RuntimeError):  # noqa: N818 - reads as what it says
    """An artifact did not answer; the message says why in words."""


def job_key(learning_fingerprint: str, recipe: Recipe, seed: int, epochs: int | None) -> str:
    """Name a training: what learns from the same data by the same recipe and seed is not trained twice.

    The recipe says which weights its backbone begins with: see `models.recipes.catalogue.recipe_named`.
    """
    about = [FORM, learning_fingerprint, recipe.to_dict(), seed, epochs or recipe.epochs]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def job_folder(cache: Path, key: str) -> Path:
    """Return where a training works: the same one after a kill, so that it goes on from its checkpoint."""
    return cache / FOLDER / key[:16]


def prepare_job(
    folder: Path,
    recipe: Recipe,
    items: Sequence[Item],
    classes: tuple[str, ...],
    cache: Path,
    *,
    data_fingerprint: str,
    code_version: str,
    made_data: bool,
    seed: int = 0,
    epochs: int | None = None,
    budget_s: float | None = None,
    pretrained_dir: Path | None = None,
) -> None:
    """Write a training's job; one that is prepared already stays, with its checkpoints or what came of it.

    Args:
        folder: of this training alone, see `job_folder`.
        recipe: what to train.
        items: whose arrays `tasks.training.arrays.keep` has kept.
        classes: in the order of the model's outputs.
        cache: given to `tasks.training.arrays.keep`.
        data_fingerprint: of the data set.
        code_version: of this code.
        made_data: the data set is made data.
        seed: of weights, order and augmentation.
        epochs: instead of the recipe's.
        budget_s: no epoch is begun that would not end within it.
        pretrained_dir: folder of the learned weights that the recipe may begin with; None: they are fetched.

    Raises:
        FileNotFoundError: an array is not in the cache.
    """

    def write(target: Path) -> None:
        arrays.assemble(target, [item.content_sha256 for item in items], recipe.preprocessing, cache)

    write_job(
        folder, recipe, [classes.index(item.label) for item in items], [item.split for item in items], classes,
        [item.content_sha256 for item in items], write, data_fingerprint=data_fingerprint, code_version=code_version,
        made_data=made_data, seed=seed, epochs=epochs, budget_s=budget_s, pretrained_dir=pretrained_dir,
    )  # fmt: skip


def write_job(
    folder: Path,
    recipe: Recipe,
    labels: Sequence[int],
    splits: Sequence[str],
    classes: tuple[str, ...],
    contents: Sequence[str],
    write_images: Callable[[Path], None],
    *,
    data_fingerprint: str,
    code_version: str,
    made_data: bool,
    seed: int,
    epochs: int | None,
    budget_s: float | None,
    pretrained_dir: Path | None = None,
) -> None:
    """Write a training's job on n images, wherever they come from; see `prepare_job`.

    Args:
        folder: of this training alone.
        recipe: what to train.
        labels: n indices into `classes`.
        splits: n of train, validation and test.
        classes: in the order of the model's outputs.
        contents: n sha256: a job on other images is another one.
        write_images: writes all images, preprocessed, (n, height, width, channels) uint8, to a .npy file.
        data_fingerprint: of the data set.
        code_version: of this code.
        made_data: the data set is made data.
        seed: of weights, order and augmentation.
        epochs: instead of the recipe's.
        budget_s: no epoch is begun that would not end within it.
        pretrained_dir: folder of the learned weights that the recipe may begin with; None: they are fetched.
    """
    job = {
        "recipe": recipe.to_dict(), "classes": list(classes), "seed": seed, "epochs": epochs,
        "data_fingerprint": data_fingerprint, "code_version": code_version, "made_data": made_data,
        "contents": hashlib.sha256("".join(contents).encode()).hexdigest(),
    }  # fmt: skip
    _begin(folder, job, {"code_version"})
    if worker.read_outcome(folder) is None and not (folder / worker.IMAGES).is_file():
        codes = np.array([SPLITS.index(split) for split in splits], np.uint8)
        np.savez(folder / worker.ROWS, labels=np.array(labels, np.int64), splits=codes)
        write_images(folder / worker.IMAGES)
    folder_of_weights = str(pretrained_dir.absolute()) if pretrained_dir else None
    files.write_json(folder / worker.JOB, job | {"budget_s": budget_s, "pretrained_dir": folder_of_weights})


def prepare_answers(
    folder: Path, artifact: Path, sha256: str, items: Sequence[Item], cache: Path, *, explain: Sequence[int] = ()
) -> None:
    """Write the job of answering some items with an artifact.

    Args:
        folder: of this job alone; what was there is removed.
        artifact: its folder.
        sha256: of its model, from the registry.
        items: whose arrays `tasks.training.arrays.keep` has kept for the artifact's preprocessing.
        cache: given to `tasks.training.arrays.keep`.
        explain: places of items that get a heatmap.

    Raises:
        ArtifactError: the artifact's metadata cannot be read.
        FileNotFoundError: an array is not in the cache.
    """
    from models.serving.artifact import read_metadata

    shutil.rmtree(folder, ignore_errors=True)
    _make(folder)
    spec = read_metadata(artifact).preprocessing
    arrays.assemble(folder / worker.IMAGES, [item.content_sha256 for item in items], spec, cache)
    job = {"artifact": str(artifact.absolute()), "sha256": sha256, "explain": [int(place) for place in explain]}
    files.write_json(folder / worker.JOB, job)


def prepare_explanations(
    folder: Path, artifact: Path, sha256: str, images: NDArray[np.uint8], wanted: Sequence[tuple[int, int | None]]
) -> None:
    """Write the job of answering a few images that are at hand, with a heatmap for each pair wanted.

    Args:
        folder: of this job alone, there already; it holds patients' pixels, so the caller removes it.
        artifact: its folder.
        sha256: of its model, from the registry.
        images: (n, height, width, channels), preprocessed.
        wanted: pairs of an image's row and a class's place; None: the class that is predicted.
    """
    np.save(folder / worker.IMAGES, images)
    rows = [int(row) for row, _ in wanted]
    classes = [place for _, place in wanted]
    job = {
        "artifact": str(artifact.absolute()), "sha256": sha256, "explain": rows, "classes": classes,
        "batch_size": min(worker.BATCH, len(images)),
    }  # fmt: skip
    files.write_json(folder / worker.JOB, job)


def train_apart(
    folder: Path, on_epoch: Callable[[int, dict[str, float]], None] | None = None, timeout_s: float | None = None
) -> Outcome:
    """Train a prepared job in a process of its own; what is trained already is not trained again.

    Args:
        folder: prepared by `prepare_job`. A trained one holds the artifact below `worker.ARTIFACT`.
        on_epoch: called with each epoch (from 1) that is run and its figures.
        timeout_s: after which the process is ended; what it has done so far stays in its checkpoint.
    """
    if finished := worker.read_outcome(folder):
        return outcome_of(finished)
    (folder / worker.HISTORY).unlink(missing_ok=True)
    told = 0

    def tell() -> None:
        nonlocal told
        for figures in read_json(folder / worker.HISTORY, [])[told:]:
            told += 1
            if on_epoch is not None:
                on_epoch(int(figures["epoch"]), {name: value for name, value in figures.items() if name != "epoch"})

    outcome = run("train", folder, tell, timeout_s)
    tell()
    if outcome.state == "trained":
        for name in (worker.IMAGES, worker.CHECKPOINTS):  # patients' pixels, and weights that the artifact holds
            _remove(folder / name)
    return outcome


def answer_apart(folder: Path, timeout_s: float | None = None) -> Answers:
    """Answer a prepared job in a process of its own. The images are removed from the folder afterwards.

    Raises:
        AnswersMissing: it did not answer.
    """
    outcome = run("answer", folder, lambda: None, timeout_s)
    _remove(folder / worker.IMAGES)
    if outcome.state != "answered":
        raise AnswersMissing(f"{outcome.state}: {outcome.message}")
    with np.load(folder / worker.ANSWERS, allow_pickle=False) as found:
        probabilities = found["probabilities"]
    heatmaps: NDArray[np.float16] = np.empty((0, 0, 0), np.float16)
    if (folder / worker.HEATMAPS).is_file():
        with np.load(folder / worker.HEATMAPS, allow_pickle=False) as found:
            heatmaps = found["heatmaps"]
    timing = read_json(folder / worker.TIMING, {})
    return Answers(probabilities, timing["milliseconds"], timing["runtime"], heatmaps, outcome.notes)


def discard(folder: Path) -> None:
    """Remove a job with all that it holds."""
    shutil.rmtree(folder, ignore_errors=True)


def prune(cache: Path, wanted: Sequence[str], data_fingerprint: str) -> None:
    """Remove the jobs of trainings: their images may be those of patients who have withdrawn.

    Args:
        cache: given to `job_folder`.
        wanted: keys of trainings whose jobs stay.
        data_fingerprint: of the data set as it is now: others that were interrupted and learn from just that may go on
            where they were, so they stay for a week, without their images, which are made anew.
    """
    kept = {job_folder(cache, key) for key in wanted}
    for folder in (cache / FOLDER).glob("*"):
        if folder in kept:
            continue
        if _interrupted(folder, data_fingerprint):
            _remove(folder / worker.IMAGES)
        else:
            discard(folder)


def _interrupted(folder: Path, data_fingerprint: str) -> bool:
    """Tell whether a training can go on there; its job is written anew whenever it does."""
    job = folder / worker.JOB
    if read_json(job, {}).get("data_fingerprint") != data_fingerprint:
        return False
    failed = read_json(folder / worker.OUTCOME, {}).get("state", "trained") != "trained"
    return not failed and time.time() - job.stat().st_mtime < INTERRUPTED_S


def _begin(folder: Path, job: dict[str, Any], free: set[str]) -> None:
    """Keep the folder where it was prepared for the same job, but for what may differ; else make it anew."""
    before = read_json(folder / worker.JOB, {})
    if any(before.get(name) != value for name, value in json.loads(json.dumps(job)).items() if name not in free):
        shutil.rmtree(folder, ignore_errors=True)
    _make(folder)


def _make(folder: Path) -> None:
    files.private(folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
