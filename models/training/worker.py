"""Training and answering in a process of its own.

``python -m models.training.worker train FOLDER`` or ``... answer FOLDER``.
A process can be killed by lack of memory, hang in a driver, or keep a GPU's memory to itself; so each model is trained,
and each contender answers, in one that ends. Everything goes through the folder, nothing through a network.

A training's folder holds job.json (recipe, classes, seed, epochs, budget_s, pretrained_dir, data_fingerprint,
code_version, made_data), images.npy and rows.npz (labels, splits as positions in `SPLITS`). There come history.json
after each epoch, checkpoints, artifact/, answers.npz (rows, probabilities of the saved artifact for validation and test
images) and outcome.json. An answer's folder holds job.json (artifact, sha256, explain, if need be classes and
batch_size) and images.npy; there come answers.npz (probabilities), timing.json, heatmaps.npz where there are rows to
explain (each for its place in classes, or for the class that is predicted), and outcome.json.
"""

from __future__ import annotations

import argparse
import json
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
from models.recipes.catalogue import SPLITS, Recipe
from models.serving import artifact, quiet_imports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

JOB, IMAGES, ROWS, HISTORY = "job.json", "images.npy", "rows.npz", "history.json"
CHECKPOINTS, ARTIFACT, ANSWERS, OUTCOME = "checkpoints", "artifact", "answers.npz", "outcome.json"
TIMING, HEATMAPS = "timing.json", "heatmaps.npz"
BATCH: Final = 32
PARENT_EVERY_S: Final = 1.0
PATH: Final = re.compile(r"(?<![\w./:])(?:~|\.{1,2})?/(?:[^\s/'\"`:;,()\[\]]+/)*([^\s/'\"`:;,()\[\]]+)/?")
"""A file's or folder's path with its last part."""
QUOTED_PATH: Final = re.compile(r"(['\"])(?:~|\.{1,2})?/(?:(?!\1).)*?([^/'\"]*)\1")
"""The same in quotation marks, where it may hold blanks."""


def train(folder: Path) -> dict[str, Any]:
    """Train as the folder's job says; one that is finished already is not trained again.

    Returns:
        What outcome.json holds: state (trained, diverged, out of memory, failed), message, and the model's version and
        sha256 where it is trained.
    """
    if finished := read_outcome(folder):
        return finished
    return _with_outcome(folder, lambda: _train(folder))


def answer(folder: Path) -> dict[str, Any]:
    """Answer all images of the folder with the job's artifact; returns as `train` does, with the state answered."""
    return _with_outcome(folder, lambda: _answer(folder))


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """Return the outcome of a training that is finished and whose artifact is whole; else None."""
    try:
        told: dict[str, Any] = json.loads((folder / OUTCOME).read_text())
        if told["state"] != "trained":
            return None
        artifact.load(folder / ARTIFACT, told["model_sha256"])
    except (OSError, ValueError, KeyError, artifact.ArtifactError):
        return None
    return told


def without_paths(words: str) -> str:
    """Return a message with no more of each path than its last part: where the cache lies is nothing for a report."""
    return PATH.sub(r".../\1", QUOTED_PATH.sub(r"\1\2\1", words))


def _train(folder: Path) -> dict[str, Any]:
    from models.training import train as training

    job = json.loads((folder / JOB).read_text())
    recipe = Recipe.from_dict(job["recipe"])
    images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    with np.load(folder / ROWS, allow_pickle=False) as rows:
        labels, splits = rows["labels"], rows["splits"]
    history: list[dict[str, float]] = []
    write_json(folder / HISTORY, history)

    def tell(epoch: int, figures: dict[str, float]) -> None:
        history.append({"epoch": epoch, **figures})
        write_json(folder / HISTORY, history)

    trained = training.train(
        recipe, images, labels, splits, tuple(job["classes"]),
        seed=job["seed"], epochs=job.get("epochs"), budget_s=job.get("budget_s"),
        checkpoint=folder / CHECKPOINTS, on_epoch=tell,
        pretrained=Path(job["pretrained_dir"]) if job.get("pretrained_dir") else None,
    )  # fmt: skip
    about = trained.metadata(
        data_fingerprint=job["data_fingerprint"], code_version=job["code_version"], made_data=job["made_data"]
    )
    about = artifact.save(folder / ARTIFACT, trained.model, about, trained.sample)
    saved = artifact.load(folder / ARTIFACT, about.model_sha256).open_model()
    held_out = np.flatnonzero(splits != SPLITS.index("train"))
    write_arrays(folder / ANSWERS, rows=held_out, probabilities=training.probabilities(saved, images, held_out))
    told = {"model_version": about.model_version, "model_sha256": about.model_sha256}
    return {"state": "trained", "message": _sentence(trained.settings), "notes": trained.settings["notes"], **told}


def _sentence(settings: dict[str, Any]) -> str:
    return (
        f"{settings['epochs_run']} epochs in {settings['seconds']:.0f} s, epoch {settings['best_epoch']} is best "
        f"({settings['best_by']} {settings['best_value']:.4f}), temperature {settings['temperature']:.2f}"
    )


def _answer(folder: Path) -> dict[str, Any]:
    import keras

    from models.serving import devices, engines

    job = json.loads((folder / JOB).read_text())
    loaded = artifact.load(Path(job["artifact"]), job["sha256"])
    images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    if images.dtype != np.uint8 or images.shape[1:] != loaded.metadata.preprocessing.shape or not len(images):
        raise ValueError(f"images are {images.dtype} {images.shape}, not (n, *{loaded.metadata.preprocessing.shape})")
    gpu, size, notes = bool(devices.gpus()), job.get("batch_size", BATCH), []
    with keras.device("gpu:0" if gpu else "cpu:0"):
        model = loaded.open_model()
        engine = engines.Keras(model, size, gpu=gpu)
        engine(np.asarray(images[:size]))  # the first batch compiles
        parts, milliseconds = [], []
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size])
            began = time.perf_counter()
            parts.append(engine(batch))
            milliseconds.append(1000 * (time.perf_counter() - began) / size)  # the last batch is filled up
        write_arrays(folder / ANSWERS, probabilities=np.concatenate(parts))
        timing = {"milliseconds": float(np.median(milliseconds)), "runtime": engine.name, "batch_size": size}
        write_json(folder / TIMING, timing)
        if rows := job.get("explain"):
            predicted = np.concatenate(parts)[rows].argmax(axis=1)
            asked = job.get("classes") or [None] * len(rows)
            classes = [own if one is None else one for own, one in zip(predicted, asked, strict=True)]
            notes = _explain(folder, model, images, np.asarray(rows), np.asarray(classes))
    return {"state": "answered", "message": f"{len(images)} images by {engine.name}", "notes": notes}


def _explain(
    folder: Path, model: Any, images: NDArray[np.uint8], rows: NDArray[np.int64], classes: NDArray[np.int64]
) -> list[str]:
    """Write a heatmap for each of the rows; where the network has none, say so: its answers are good without."""
    from models.networks.grad_cam import grad_cam

    parts = []
    for start in range(0, len(rows), BATCH):
        some = slice(start, start + BATCH)
        try:
            parts.append(grad_cam(model, np.asarray(images[rows[some]]), classes[some]))
        except (ValueError, NotImplementedError) as error:  # this network, or this Keras backend
            return [_words(error).removeprefix("ValueError: ")]
    write_arrays(folder / HEATMAPS, rows=rows, classes=classes, heatmaps=np.concatenate(parts).astype(np.float16))
    return []


def _with_outcome(folder: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work; however it ends, outcome.json says so, and nothing says so before."""
    (folder / OUTCOME).unlink(missing_ok=True)
    try:
        outcome = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        outcome = {"state": _state(error), "message": _words(error)}
    write_json(folder / OUTCOME, outcome)
    return outcome


def _state(error: Exception) -> str:
    from models.serving import engines

    names = {kind.__name__ for kind in type(error).__mro__}
    if "Diverged" in names:
        return "diverged"
    if "OutOfMemory" in names or isinstance(error, MemoryError) or engines.is_out_of_memory(error):
        return "out of memory"
    return "failed"


def _words(error: Exception) -> str:
    first = without_paths(next((line.strip() for line in str(error).splitlines() if line.strip()), ""))
    return first if is_explained(error) and first else f"{type(error).__name__}: {first}".removesuffix(": ")


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a GPU must not go on computing for nobody."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one job; 0 where it is done, 1 where outcome.json says why it is not."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.worker", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("work", choices=("train", "answer"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, help="process id: the worker ends when it is no longer its parent")
    given = parser.parse_args(arguments)
    if given.parent:
        _end_with(given.parent)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet_imports.import_keras()
    outcome = (train if given.work == "train" else answer)(given.folder)
    return 0 if outcome["state"] in ("trained", "answered") else 1


if __name__ == "__main__":
    sys.exit(main())
