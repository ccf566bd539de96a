"""Training beside bare `model.fit`, in turns; `python -m tests.bench.training ROUNDS IMAGES EPOCHS` measures here.

Both train the same network with the same augmentation, optimiser and batch size, and validate after each epoch. Ours
reads a memory-mapped file, weighs classes, watches the loss and writes a checkpoint after each epoch; the bare one has
its arrays in memory and does nothing else. The first epoch, in which Keras compiles, is left out on both sides.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench import night
from tests.bench.table import Row, ratio, spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Labels = NDArray[np.int64]

TARGET = 0.9
VALIDATED = 5
"""One image in so many validates."""


def rows(rounds: int, images: int, epochs: int) -> Iterable[Row]:
    """Measure in a process of its own, and lay out what came of it."""
    command = [sys.executable, "-m", "tests.bench.training", str(rounds), str(images), str(epochs)]
    told = night.watch(command, {"TF_CPP_MIN_LOG_LEVEL": "3"}).answer
    where = f"training {told['recipe']} on {images:,} images, {told['backend']}, {told['precision']}"
    yield Row(
        where,
        f"{spread(told['ours'], '{:,.1f}')} images/s",
        f"bare model.fit on arrays in memory {spread(told['bare'], '{:,.1f}')}",
        ratio(told["ours"], told["bare"]),
        ">=",
        TARGET,
    )


def main(rounds: int, count: int, epochs: int) -> None:
    """Measure in this process and print JSON."""
    from models.recipes.catalogue import DEFAULT_RECIPE, RECIPES

    recipe = RECIPES[DEFAULT_RECIPE]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, *recipe.preprocessing.shape), dtype=np.uint8)
    labels = np.arange(count) % 3
    validates = np.arange(count) % VALIDATED == 0
    ours, bare, settings = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        for turn in range(rounds):
            rate, settings = _ours(Path(folder), labels, validates, epochs, turn)
            ours.append(rate)
            bare.append(_bare(images, labels, validates, epochs, turn, settings["precision"]))
    told = {"ours": ours, "bare": bare} | {name: settings[name] for name in ("backend", "precision")}
    print(json.dumps(told | {"recipe": recipe.name}))  # noqa: T201 - how the parent process learns of it


def _ours(
    folder: Path, labels: Labels, validates: NDArray[np.bool_], epochs: int, seed: int
) -> tuple[float, dict[str, Any]]:
    from models.recipes.catalogue import DEFAULT_RECIPE, RECIPES
    from models.training.train import train

    ended: list[float] = []
    trained = train(
        RECIPES[DEFAULT_RECIPE],
        np.load(folder / "images.npy", mmap_mode="r"),
        labels,
        np.where(validates, "validation", "train"),
        ("a", "b", "c"),
        seed=seed,
        epochs=epochs,
        checkpoint=folder / f"checkpoints-{seed}",
        on_epoch=lambda *_: ended.append(time.perf_counter()),
    )
    return _rate(int((~validates).sum()), ended), trained.settings


def _bare(
    images: Images, labels: Labels, validates: NDArray[np.bool_], epochs: int, seed: int, precision: str
) -> float:
    import keras

    from models.networks import architectures
    from models.recipes.catalogue import DEFAULT_RECIPE, RECIPES
    from models.serving import engines
    from models.training.augmentation import with_augmentation

    recipe = RECIPES[DEFAULT_RECIPE]
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, 3, seed)
    trainer = with_augmentation(
        model if precision == "float32" else engines.with_policy(model, precision), recipe.augmentation, seed
    )
    learned = int((~validates).sum())
    steps = epochs * -(-learned // recipe.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    trainer.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    ended: list[float] = []
    trainer.fit(
        images[~validates],
        labels[~validates],
        batch_size=recipe.batch_size,
        validation_data=(images[validates], labels[validates]),
        validation_batch_size=32,
        epochs=epochs,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ended.append(time.perf_counter()))],
        verbose=0,
    )
    return _rate(learned, ended)


def _rate(images: int, ended: list[float]) -> float:
    """Training images a second, whole epochs with all that happens in them; the median of all but the first."""
    return images / median(np.diff(ended).tolist())


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(*map(int, sys.argv[1:]))
