"""The worker process: trains or answers one job, and ends.

``python -m models.training.worker train FOLDER`` or ``... answer FOLDER``.
A process can run out of memory, hang in a driver, or keep a GPU's memory until it ends; so each training, and each
model that answers, gets a process of its own. `models.training.job` says what lies in the folder.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.errors import is_explained
from models.files import write_arrays, write_json
from models.serving import artifact, quiet_imports
from models.training.job import (
    ANSWERS,
    ARTIFACT,
    BATCH_SIZE,
    CHECKPOINTS,
    HEATMAPS,
    HISTORY,
    IMAGES,
    OUTCOME,
    TIMING,
    AnsweringJob,
    TrainingJob,
    WorkerOutcome,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.training.job import EndState

PARENT_EVERY_S: Final = 1.0
PATH: Final = re.compile(r"(?<![\w./:])(?:~|\.{1,2})?/(?:[^\s/'\"`:;,()\[\]]+/)*([^\s/'\"`:;,()\[\]]+)/?")
"""The path of a file or folder; the group is its last part."""
QUOTED_PATH: Final = re.compile(r"(['\"])(?:~|\.{1,2})?/(?:(?!\1).)*?([^/'\"]*)\1")
"""The same in quotation marks, where a path may hold blanks."""


def train(folder: Path) -> WorkerOutcome:
    """Train the folder's job; a training that is finished is not done again."""
    return finished_training(folder) or _with_outcome(folder, lambda: _train(folder))


def answer(folder: Path) -> WorkerOutcome:
    """Answer all images of the folder with the job's artifact."""
    return _with_outcome(folder, lambda: _answer(folder))


def finished_training(folder: Path) -> WorkerOutcome | None:
    """Return the outcome of a training that is finished and whose artifact is whole; else None."""
    outcome = WorkerOutcome.read(folder)
    if outcome is None or outcome.state != "trained" or outcome.model_sha256 is None:
        return None
    try:
        artifact.load(folder / ARTIFACT, outcome.model_sha256)
    except (OSError, artifact.ArtifactError):
        return None
    return outcome


def without_paths(words: str) -> str:
    """Shorten each path in a message to its last part: a report must not say where the cache is."""
    return PATH.sub(r".../\1", QUOTED_PATH.sub(r"\1\2\1", words))


def _train(folder: Path) -> WorkerOutcome:
    from models.training import train as training

    job = TrainingJob.read(folder)
    images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    splits = np.array(job.splits)
    history: list[dict[str, float]] = []
    write_json(folder / HISTORY, history)

    def tell(epoch: int, figures: dict[str, float]) -> None:
        history.append({"epoch": epoch, **figures})
        write_json(folder / HISTORY, history)

    trained = training.train(
        job.recipe, images, np.array(job.labels, np.int64), splits, job.classes,
        seed=job.seed, epochs=job.epochs, budget_s=job.budget_s,
        checkpoint=folder / CHECKPOINTS, on_epoch=tell, pretrained=job.pretrained_dir,
    )  # fmt: skip
    about = trained.metadata(
        data_fingerprint=job.data_fingerprint, code_version=job.code_version, made_data=job.made_data
    )
    about = artifact.save(folder / ARTIFACT, trained.model, about, trained.sample)
    saved = artifact.load(folder / ARTIFACT, about.model_sha256).open_model()
    held_out = np.flatnonzero(splits != "train")
    write_arrays(folder / ANSWERS, rows=held_out, probabilities=training.probabilities(saved, images, held_out))
    notes = tuple(trained.settings["notes"])
    return WorkerOutcome("trained", _sentence(trained.settings), about.model_version, about.model_sha256, notes)


def _sentence(settings: dict[str, Any]) -> str:
    return (
        f"{settings['epochs_run']} epochs in {settings['seconds']:.0f} s, epoch {settings['best_epoch']} is best "
        f"({settings['best_by']} {settings['best_value']:.4f}), temperature {settings['temperature']:.2f}"
    )


def _answer(folder: Path) -> WorkerOutcome:
    import keras

    from models.serving import devices, engines

    job = AnsweringJob.read(folder)
    loaded = artifact.load(job.artifact, job.sha256)
    images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    if images.dtype != np.uint8 or images.shape[1:] != loaded.metadata.preprocessing.shape or not len(images):
        raise ValueError(f"images are {images.dtype} {images.shape}, not (n, *{loaded.metadata.preprocessing.shape})")
    gpu, size, notes = bool(devices.available_gpus()), job.batch_size, []
    with keras.device("gpu:0" if gpu else "cpu:0"):
        model = loaded.open_model()
        engine = engines.KerasEngine(model, size, gpu=gpu)
        engine(np.asarray(images[:size]))  # the first batch compiles
        parts, milliseconds = [], []
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size])
            began = time.perf_counter()
            parts.append(engine(batch))
            milliseconds.append(1000 * (time.perf_counter() - began) / size)  # the last batch is filled up
        answers = np.concatenate(parts)
        write_arrays(folder / ANSWERS, probabilities=answers)
        timing = {"milliseconds": float(np.median(milliseconds)), "runtime": engine.name, "batch_size": size}
        write_json(folder / TIMING, timing)
        if job.explain:
            rows = np.array([row for row, _ in job.explain])
            predicted = answers[rows].argmax(axis=1).tolist()
            classes = [own if asked is None else asked for (_, asked), own in zip(job.explain, predicted, strict=True)]
            notes = _explain(folder, model, images, rows, np.array(classes))
    return WorkerOutcome("answered", f"{len(images)} images by {engine.name}", notes=tuple(notes))


def _explain(
    folder: Path, model: Any, images: NDArray[np.uint8], rows: NDArray[np.int64], classes: NDArray[np.int64]
) -> list[str]:
    """Write a heatmap for each of the rows. Where the network cannot have one, return why: its answers stand."""
    from models.networks.grad_cam import grad_cam

    parts = []
    for start in range(0, len(rows), BATCH_SIZE):
        some = slice(start, start + BATCH_SIZE)
        try:
            parts.append(grad_cam(model, np.asarray(images[rows[some]]), classes[some]))
        except (ValueError, NotImplementedError) as error:  # this network, or this Keras backend
            return [_first_line(error)]
    write_arrays(folder / HEATMAPS, rows=rows, classes=classes, heatmaps=np.concatenate(parts).astype(np.float16))
    return []


def _with_outcome(folder: Path, work: Callable[[], WorkerOutcome]) -> WorkerOutcome:
    """Do the work and write the outcome, whichever it is; until then there is no outcome.json."""
    (folder / OUTCOME).unlink(missing_ok=True)
    try:
        outcome = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        outcome = WorkerOutcome(_state(error), _words(error))
    outcome.write(folder)
    return outcome


def _state(error: Exception) -> EndState:
    from models.serving import engines

    names = {kind.__name__ for kind in type(error).__mro__}
    if "Diverged" in names:
        return "diverged"
    if "OutOfMemory" in names or isinstance(error, MemoryError) or engines.is_out_of_memory(error):
        return "out of memory"
    return "failed"


def _words(error: Exception) -> str:
    first, name = _first_line(error), type(error).__name__
    if not first:
        return name
    return first if is_explained(error) else f"{name}: {first}"


def _first_line(error: Exception) -> str:
    return without_paths(next((line.strip() for line in str(error).splitlines() if line.strip()), ""))


def _end_with(parent: int) -> None:
    """End this process once its parent is gone: nobody would use what it computes."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one job; return 0 if it is done, and 1 if outcome.json says why it is not."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.worker", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("work", choices=("train", "answer"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, help="process id; the worker ends once this is no longer its parent")
    given = parser.parse_args(arguments)
    if given.parent:
        _end_with(given.parent)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet_imports.import_keras()
    outcome = (train if given.work == "train" else answer)(given.folder)
    return 0 if outcome.state in ("trained", "answered") else 1


if __name__ == "__main__":
    sys.exit(main())
