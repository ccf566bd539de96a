"""Train a recipe on preprocessed images: from arrays and labels to a model with figures on held-out patients.

Pure Keras 3, so it trains on whichever backend is configured. Augmentation lives in a wrapper around the model and is
gone when the wrapper is: the model that is kept is the scoring graph and nothing else.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import keras
import numpy as np

from models import architectures
from models.artifact import ArtifactMetadata
from models.metrics import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.recipes import Augmentation, Recipe

    Split = Literal["train", "validation", "test"]

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15
SAMPLE_SIZE: Final = 24
MIN_CLASSES: Final = 2


class TrainingError(RuntimeError):
    """The data cannot be trained on; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and what is known of it."""

    model: keras.Model
    recipe: Recipe
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    """`models.metrics.evaluate` on the test split, plus `splits`: images and patients in each."""
    settings: dict[str, Any]
    """The recipe's values, seed, epochs run, best epoch, seconds, backend."""
    sample: NDArray[np.uint8]
    """(up to 24, height, width, channels): validation images across the classes, to be stored in the artifact."""
    history: list[dict[str, float]]
    """Loss and accuracy of each epoch, training and validation."""

    def metadata(self, *, data_fingerprint: str, code_version: str, made_data: bool) -> ArtifactMetadata:
        """What `models.artifact.save` writes beside the model."""
        return ArtifactMetadata(
            recipe=self.recipe.name,
            classes=self.classes,
            preprocessing=self.recipe.preprocessing,
            metrics=self.metrics,
            training=self.settings,
            data_fingerprint=data_fingerprint,
            code_version=code_version,
            made_data=made_data,
        )


def split_of(patient: str) -> Split:
    """Say which split a patient belongs to, for ever: the first 32 bits of the identifier's sha256 decide.

    70 % of patients train, 15 % validate, 15 % test, whatever the data set; so the test set stays frozen as data grows.
    """
    share = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    if share < TRAIN_SHARE:
        return "train"
    return "validation" if share < TRAIN_SHARE + VALIDATION_SHARE else "test"


def data_fingerprint(content_hashes: Sequence[str], labels: Sequence[str]) -> str:
    """Sha256 over the images' content hashes with their labels, independent of their order."""
    lines = sorted(f"{content} {label}" for content, label in zip(content_hashes, labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def train(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    patients: Sequence[str],
    classes: tuple[str, ...],
    *,
    seed: int = 0,
    epochs: int | None = None,
    time_budget_s: float | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Trained:
    """Train a recipe; the weights of the epoch with the lowest validation loss are kept.

    Args:
        recipe: what to train.
        images: (n, height, width, channels), preprocessed with `recipe.preprocessing`.
        labels: (n,), index into `classes`.
        patients: n patient identifiers; all images of a patient fall into one split.
        classes: names of the classes, in the order of the model's outputs.
        seed: of weights, order and augmentation.
        epochs: instead of the recipe's.
        time_budget_s: no epoch is begun that would not end within so many seconds.
        on_epoch: called after each epoch with its number (from 1) and its figures.

    Raises:
        TrainingError: the arrays do not fit each other or the recipe, or a class has no training image.
    """
    started = time.monotonic()
    rows = _split(recipe, images, labels, patients, classes)
    keras.utils.set_random_seed(seed)
    model = architectures.build(recipe.architecture, recipe.preprocessing.shape, len(classes), seed)
    epochs = epochs or recipe.epochs
    batches = _Batches(
        images, labels, rows["train"], recipe.batch_size, _weights(labels[rows["train"]], len(classes)), seed
    )
    watched = "val_loss" if len(rows["validation"]) else "loss"
    stopping = keras.callbacks.EarlyStopping(
        monitor=watched, mode="min", patience=recipe.patience, restore_best_weights=True
    )
    history = _History(time_budget_s, on_epoch)
    trainer = _with_augmentation(model, recipe.augmentation, seed)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, epochs * len(batches), alpha=0.02)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    trainer.compile(optimizer, loss="sparse_categorical_crossentropy", weighted_metrics=[], metrics=["accuracy"])
    trainer.fit(
        batches,
        validation_data=_Batches(images, labels, rows["validation"], 32) if len(rows["validation"]) else None,
        epochs=epochs,
        callbacks=[stopping, history],
        verbose=0,
    )
    best = min(range(len(history.epochs)), key=lambda index: history.epochs[index][watched])
    test = rows["test"]
    metrics = evaluate(labels[test], _probabilities(model, images, test), classes)
    metrics["splits"] = {
        name: {"images": len(rows[name]), "patients": len({patients[row] for row in rows[name]})} for name in SPLITS
    }
    settings = recipe.to_dict() | {
        "seed": seed,
        "epochs": epochs,
        "epochs_run": len(history.epochs),
        "best_epoch": best + 1,
        "best_by": watched,
        "best_value": history.epochs[best][watched],
        "seconds": round(time.monotonic() - started, 1),
        "backend": keras.backend.backend(),
        "parameters": model.count_params(),
    }
    source = rows["validation"] if len(rows["validation"]) else rows["train"]
    sample = images[_across_classes(source, labels, SAMPLE_SIZE)]
    return Trained(model, recipe, classes, metrics, settings, sample, history.epochs)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc] # Keras has no type stubs
    """Batches straight from the array, shuffled by an own seed; the array may be a memory map."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        rows: NDArray[np.intp],
        batch_size: int,
        weights: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.images, self.labels, self.weights = images, labels, weights
        self.batch_size = batch_size
        self.random = None if seed is None else np.random.default_rng(seed)
        self.rows = rows if self.random is None else self.random.permutation(rows)

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], ...]:
        rows = np.sort(self.rows[index * self.batch_size : (index + 1) * self.batch_size])
        labels = self.labels[rows]
        weights = np.ones(len(rows), np.float32) if self.weights is None else self.weights[labels]
        return self.images[rows], labels, weights

    def on_epoch_end(self) -> None:
        if self.random is not None:
            self.rows = self.random.permutation(self.rows)


class _History(keras.callbacks.Callback):  # type: ignore[misc] # as above
    """Keeps each epoch's figures and stops in time."""

    def __init__(self, time_budget_s: float | None, on_epoch: Callable[[int, dict[str, float]], None] | None) -> None:
        super().__init__()
        self.started = time.monotonic()
        self.budget, self.on_epoch = time_budget_s, on_epoch
        self.epochs: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append(figures)
        if self.on_epoch is not None:
            self.on_epoch(epoch + 1, figures)
        elapsed = time.monotonic() - self.started
        if self.budget is not None and elapsed * (epoch + 2) / (epoch + 1) > self.budget:
            self.model.stop_training = True


def _split(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    patients: Sequence[str],
    classes: tuple[str, ...],
) -> dict[Split, NDArray[np.intp]]:
    """Rows of each split, after checking that they can be trained on."""
    if images.dtype != np.uint8 or images.shape[1:] != recipe.preprocessing.shape:
        raise TrainingError(
            f"recipe {recipe.name} takes uint8 images of shape {recipe.preprocessing.shape}, "
            f"not {images.dtype} of {images.shape[1:]}"
        )
    if not len(images) == len(labels) == len(patients):
        raise TrainingError(f"{len(images)} images, {len(labels)} labels and {len(patients)} patients do not match")
    if len(classes) < MIN_CLASSES or (len(labels) and not 0 <= labels.min() <= labels.max() < len(classes)):
        raise TrainingError(
            f"labels must lie within the {len(classes)} classes {classes}, and these must be two or more"
        )
    splits = np.array([split_of(patient) for patient in patients], dtype=object)
    rows: dict[Split, NDArray[np.intp]] = {name: np.flatnonzero(splits == name) for name in SPLITS}
    counts = np.bincount(labels[rows["train"]], minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise TrainingError(
            f"no training image of {', '.join(missing)}: of {len(images)} images {len(rows['train'])} fall into the "
            "training split, which the hash of the patient identifier decides; more patients are needed"
        )
    return rows


def _weights(labels: NDArray[np.integer[Any]], classes: int) -> NDArray[np.float32]:
    """Weight of each class, so that all count alike: n / (classes * count)."""
    weights: NDArray[np.float32] = (len(labels) / (classes * np.bincount(labels, minlength=classes))).astype(np.float32)
    return weights


def _with_augmentation(model: keras.Model, augmentation: Augmentation, seed: int) -> keras.Model:
    """Wrap the model so that training images vary; the layers do nothing in validation."""
    brightness = keras.layers.RandomBrightness(augmentation.brightness, value_range=(0, 255), seed=seed + 1)
    return keras.Sequential([keras.Input(model.input_shape[1:]), _RandomShift(augmentation, seed), brightness, model])


class _RandomShift(keras.layers.Layer):  # type: ignore[misc] # as above
    """Turns, zooms and moves images in one resampling.

    Keras's own layers for the three resample once each, which smooths an image three times: the model would then be
    trained on smoother images than it scores. For the same reason a share of the images passes untouched.
    """

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.seeds = keras.random.SeedGenerator(seed)
        # TensorFlow's resampling is not in XLA, which Keras would use on a GPU; JAX needs its jit.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, images: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras passes it by name
        if not training:
            return images
        ops, how = keras.ops, self.augmentation
        height, width = images.shape[1:3]
        moved, turn, zoom, down, right = (
            keras.random.uniform((ops.shape(images)[0],), minval=low, maxval=high, seed=self.seeds)
            for low, high in (
                (0.0, 1.0),
                (-how.rotation * 2 * math.pi, how.rotation * 2 * math.pi),
                (1 - how.zoom, 1 + how.zoom),
                (-how.translation * height, how.translation * height),
                (-how.translation * width, how.translation * width),
            )
        )
        # Rows of the matrix that maps a pixel of the result to where it comes from, about the image's centre.
        a, b = zoom * ops.cos(turn), zoom * ops.sin(turn)
        x, y = (width - 1) / 2, (height - 1) / 2
        nothing = ops.zeros_like(a)
        matrix = ops.stack([a, -b, x - a * x + b * y + right, b, a, y - b * x - a * y + down, nothing, nothing], axis=1)
        identity = ops.convert_to_tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
        matrix = ops.where((moved < how.share)[:, None], matrix, identity)
        return ops.image.affine_transform(images, matrix, interpolation="bilinear", fill_mode="nearest")


def _probabilities(model: keras.Model, images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    parts = [
        np.asarray(keras.ops.convert_to_numpy(model.predict_on_batch(images[rows[start : start + 32]])))
        for start in range(0, len(rows), 32)
    ]
    return np.concatenate(parts) if parts else np.empty((0, model.output_shape[-1]), np.float32)


def _across_classes(rows: NDArray[np.intp], labels: NDArray[np.integer[Any]], size: int) -> NDArray[np.intp]:
    """Up to `size` of the rows, taken in turn from each class."""
    turn = np.zeros(len(rows), np.intp)
    for value in np.unique(labels[rows]):
        turn[labels[rows] == value] = np.arange((labels[rows] == value).sum())
    return np.sort(rows[np.argsort(turn, kind="stable")[:size]])
