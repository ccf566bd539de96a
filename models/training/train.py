"""Training: from preprocessed images, labels and splits to a calibrated model with its learning curves.

It is plain Keras 3 and runs on any backend. Augmentation is in a wrapper around the model, so the stored model is the
scoring graph and nothing else. Images of the test split are never read here: the gate judges the model on them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from models.evaluation.metrics import compute_metrics
from models.recipes.catalogue import SPLITS
from models.serving import engines
from models.serving.artifact import ArtifactMetadata
from models.training.batches import across_classes, probabilities
from models.training.calibration import apply, temperature
from models.training.callbacks import Diverged, OutOfMemory, TrainingError
from models.training.fitting import Fitted, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.recipes.catalogue import Recipe

__all__ = ["SPLITS", "Diverged", "OutOfMemory", "TrainedModel", "TrainingError", "probabilities", "train"]

SAMPLE_SIZE: Final = 24
"""Images that are stored with the model."""
MIN_CLASSES: Final = 2
TEMPERATURE_LAYER: Final = "temperature"
"""Name of the layer that divides the logits."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained, calibrated model and what is known of it."""

    model: keras.Model
    """float32, without augmentation; its probabilities are calibrated."""
    recipe: Recipe
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    """`models.evaluation.metrics.compute_metrics` on the validation split, with `split` (validation) and `splits` (the
    number of images in each). They flatter the model: the validation split chose the epoch and the temperature."""
    settings: dict[str, Any]
    """The recipe's values, seed, epochs run, best epoch, learning curves, temperature, seconds, backend, precision."""
    sample: NDArray[np.uint8]
    """(up to 24, height, width, channels): validation images of all classes, for the artifact."""
    history: list[dict[str, float]]
    """Loss and accuracy of each epoch, training and validation."""

    def metadata(self, *, data_fingerprint: str, code_version: str, made_data: bool) -> ArtifactMetadata:
        """Return what `models.serving.artifact.save` stores with the model."""
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


def train(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    splits: Sequence[str] | NDArray[Any],
    classes: tuple[str, ...],
    *,
    seed: int = 0,
    epochs: int | None = None,
    budget_s: float | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    pretrained: Path | None = None,
) -> TrainedModel:
    """Train a recipe, keep the weights of the epoch with the lowest validation loss, and calibrate the model.

    Args:
        recipe: what to train.
        images: (n, height, width, channels), preprocessed with `recipe.preprocessing`; may be a memory map.
        labels: (n,), index into `classes`.
        splits: (n,) of train, validation and test, or their positions in `SPLITS`.
        classes: names of the classes, in the order of the model's outputs.
        seed: of weights, order and augmentation.
        epochs: instead of the recipe's.
        budget_s: no epoch begins that would make the training last longer than so many seconds.
        checkpoint: folder of this training alone. The newest epoch is stored there, and training resumes after it as
            if it had never been interrupted. If the checkpoint cannot be used, training starts over, and `settings`
            says so.
        on_epoch: called after each epoch with its number (from 1) and its figures.
        pretrained: folder of the pretrained weights that a recipe may begin with; None: they are downloaded.

    Raises:
        TrainingError: the arrays do not fit each other or the recipe, or a class has no training image.
        Diverged: the loss is not finite.
        OutOfMemory: of the GPU or of the machine.
        PretrainedError: the recipe begins with pretrained weights, and they are not available.
    """
    began = time.monotonic()
    rows = _rows(recipe, images, labels, splits, classes)
    epochs = epochs or recipe.epochs
    validation = rows["validation"]
    try:
        fitted = fit(
            recipe, images, labels, rows, len(classes),
            seed=seed, epochs=epochs, budget_s=budget_s, folder=checkpoint, on_epoch=on_epoch,
            pretrained=pretrained,
        )  # fmt: skip
        heat, how, answers = _calibrate(fitted.model, images, labels, validation)
    except Exception as error:
        if isinstance(error, MemoryError) or engines.is_out_of_memory(error):
            raise OutOfMemory(
                f"memory ran out with batches of {recipe.batch_size} images of {recipe.preprocessing.height} x "
                f"{recipe.preprocessing.width}: a recipe with a smaller batch_size or smaller images needs less"
            ) from error
        raise
    metrics = compute_metrics(labels[validation], answers, classes)
    metrics["split"] = "validation"
    metrics["splits"] = {name: {"images": len(rows[name])} for name in SPLITS}
    settings = recipe.to_dict() | _told(fitted, time.monotonic() - began) | {
        "seed": seed, "epochs": epochs, "temperature": heat, "calibration": how,
    }  # fmt: skip
    sample = images[across_classes(validation if len(validation) else rows["train"], labels, SAMPLE_SIZE)]
    return TrainedModel(fitted.model, recipe, classes, metrics, settings, sample, fitted.state.history)


def _told(fitted: Fitted, seconds: float) -> dict[str, Any]:
    """Return the figures of the fit, ready for JSON."""
    state = fitted.state
    return {
        "epochs_run": len(state.history),
        "epochs_resumed": fitted.resumed,
        "best_epoch": state.best_epoch + 1,
        "best_by": fitted.watched,
        "best_value": state.best,
        "history": state.history,
        "seconds": round(max(seconds, state.seconds), 1),
        "images_per_s": round(median(state.rates), 1),
        "backend": keras.backend.backend(),
        "precision": fitted.precision,
        "parameters": fitted.model.count_params(),
        "trainable_parameters": fitted.trainable,
        "pretrained": fitted.read or None,
        "notes": list(fitted.notes),
    }


def _calibrate(
    model: keras.Model, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]], rows: NDArray[np.intp]
) -> tuple[float, str, NDArray[np.floating[Any]]]:
    """Fit a temperature to the validation images and put it into the model (Guo et al., ICML 2017).

    Returns:
        The temperature, how it was found, and the calibrated probabilities of those rows.
    """
    answers = probabilities(model, images, rows)
    layer = next((layer for layer in model.layers if layer.name == TEMPERATURE_LAYER), None)
    if not len(rows):
        return 1.0, "none: there are no validation images", answers
    if layer is None:
        return 1.0, f"none: the architecture has no layer called {TEMPERATURE_LAYER}", answers
    heat = float(temperature(answers, labels[rows]))
    layer.scale = 1.0 / heat
    model.make_predict_function(force=True)  # the compiled one holds the old scale
    return heat, "temperature scaling on the validation images", apply(answers, heat)


def _rows(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    splits: Sequence[str] | NDArray[Any],
    classes: tuple[str, ...],
) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each split, after checking that a model can be trained on them."""
    if images.dtype != np.uint8 or images.shape[1:] != recipe.preprocessing.shape:
        raise TrainingError(
            f"recipe {recipe.name} takes uint8 images of shape {recipe.preprocessing.shape}, "
            f"not {images.dtype} of {images.shape[1:]}"
        )
    if not len(images) == len(labels) == len(splits):
        raise TrainingError(f"{len(images)} images, {len(labels)} labels and {len(splits)} splits do not match")
    given = np.asarray(splits)
    rows: dict[str, NDArray[np.intp]] = {
        name: np.flatnonzero(given == (name if given.dtype.kind in "UO" else code)) for code, name in enumerate(SPLITS)
    }
    if (unknown := len(given) - sum(map(len, rows.values()))) > 0:
        raise TrainingError(f"splits must be among {', '.join(SPLITS)}; {unknown} images have another one")
    used = labels[np.concatenate([rows["train"], rows["validation"]])]
    if len(classes) < MIN_CLASSES or (len(used) and not 0 <= used.min() <= used.max() < len(classes)):
        raise TrainingError(f"labels must be places in the list of classes {classes}, which must hold two or more")
    counts = np.bincount(labels[rows["train"]], minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise TrainingError(
            f"no training image of {', '.join(missing)}: of {len(images)} images {len(rows['train'])} are in the "
            "training split, to which whole patients are assigned; more patients are needed"
        )
    return rows
