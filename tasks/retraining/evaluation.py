"""Evaluation: the gate's inputs: the test set, and the answers of the contenders and the shortcut baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.shortcuts import BORDER_BASELINE, FILE_BASELINE
from models.serving.artifact import MODEL_FILE
from tasks.datasets import dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.evaluation.test_set import TestSet
    from models.gate.decision import Contender
    from tasks.datasets.dataset import Dataset, Item
    from tasks.registry.model_versions import ModelVersion
    from tasks.training.jobs import ModelAnswers


def places(data: Dataset, split: str) -> NDArray[np.intp]:
    """Return the positions in `items` of the images of a split."""
    return np.flatnonzero([item.split == split for item in data.items])


def test_set(data: Dataset) -> TestSet:
    """Return the test set, in the order of the items."""
    from models.evaluation.test_set import TestSet

    rows = places(data, "test")
    items = [data.items[row] for row in rows]
    return TestSet(
        labels=np.array(data.labels, np.int64)[rows],
        patients=tuple(item.patient for item in items),
        classes=data.classes,
        contents=tuple(item.content_sha256 for item in items),
        subgroups=dataset.subgroups(items),
    )


def contender(version: ModelVersion, folder: Path, answers: ModelAnswers, classes: Sequence[str]) -> Contender:
    """Return a model with its answers to the test set.

    Args:
        version: the model version.
        folder: the folder of its artifact.
        answers: its answers, in the order of its own classes.
        classes: the test set's classes. One that the model lacks gets probability 0; the model's other classes are
            dropped.
    """
    from models.gate.decision import Contender

    return Contender(
        model_version=version.model_version,
        model_sha256=version.artifact_sha256,
        probabilities=aligned(answers.probabilities, version.classes, classes),
        milliseconds=answers.milliseconds,
        artifact_bytes=(folder / MODEL_FILE).stat().st_size,
    )


def aligned(
    probabilities: NDArray[np.floating[Any]], theirs: Sequence[str], ours: Sequence[str]
) -> NDArray[np.float32]:
    """Reorder columns from one class list to another; rows are normalised to sum to 1 again.

    Args:
        probabilities: (n, classes) in the order of `theirs`.
        theirs: the model's classes.
        ours: the test set's.
    """
    found = np.zeros((len(probabilities), len(ours)), np.float32)
    for place, name in enumerate(ours):
        if name in theirs:
            found[:, place] = probabilities[:, list(theirs).index(name)]
    total = found.sum(axis=1, keepdims=True)
    # A row without probability in any known class says nothing, so it becomes uniform.
    return np.where(total > 0, found / np.where(total > 0, total, 1), np.float32(1 / len(ours)))


def baselines(data: Dataset, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Train the shortcut audit's baselines on the training split and predict the test set with them.

    Args:
        data: the labelled images.
        images: (n, height, width, channels), one for each of its items; a memory map is not loaded whole.

    Returns:
        (test images, classes) probabilities, by what the baseline sees.
    """
    from models.data import shortcuts

    train, test, truth = places(data, "train"), places(data, "test"), np.array(data.labels, np.int64)
    classes = len(data.classes)
    features, frames = file_features(data.items), shortcuts.border_pixels(images)
    return {
        FILE_BASELINE: shortcuts.file_baseline(features.iloc[train], truth[train], features.iloc[test], classes),
        BORDER_BASELINE: shortcuts.border_baseline(frames[train], truth[train], frames[test], classes),
    }


def file_features(items: Sequence[Item]) -> Any:
    """Return a DataFrame of what is known about each file without its pixels."""
    import pandas as pd

    from models.data.shortcuts import FILE_FEATURES

    return pd.DataFrame(
        [{name: getattr(item, name) for name in FILE_FEATURES} for item in items], columns=list(FILE_FEATURES)
    )
