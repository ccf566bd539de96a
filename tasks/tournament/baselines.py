"""Baselines: simple models that see no lungs, or only their outlines, answer the images of a tournament."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.data.survey import SURVEY_SPEC
from tasks.tournament.entries import images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.tournament.entries import Entries

HOG: Final = "outlines"
METHODS: Final = {HOG: "a linear model on oriented gradients (HOG)"}
"""How a baseline sees it, where its name does not say so."""


def with_method(sees: str) -> str:
    """Return what a baseline sees, with how it sees it where that says more."""
    return f"{sees}: {METHODS[sees]}" if sees in METHODS else sees


def baselines(cache: Path, entries: Entries, splits: Sequence[NDArray[np.str_]]) -> dict[str, NDArray[np.float32]]:
    """Let simple models answer the held-out images. They learn from training and validation images together.

    All of them see the images as the data report does, whatever preprocessing the recipes use: in an image that a
    recipe has cropped, the border is not that of the film.

    Args:
        cache: folder that is safe to delete.
        entries: the images.
        splits: one for each fold, (n,) of train, validation and test.

    Returns:
        Probabilities (n, classes) by what the model sees; rows that no fold holds out are 0.
    """
    from models.data import shortcuts
    from models.evaluation.crossvalidation import hog_features, linear_baseline

    pixels = np.load(images(cache, entries, SURVEY_SPEC), mmap_mode="r", allow_pickle=False)
    classes, labels, outlines = len(entries.classes), entries.labels, hog_features(pixels)
    files, frames = shortcuts.features_of_measurements(entries.measurements), shortcuts.border_pixels(pixels)
    found = {
        what: np.zeros((len(labels), classes), np.float32)
        for what in (HOG, shortcuts.BORDER_BASELINE, shortcuts.FILE_BASELINE)
    }
    for split in splits:
        train, test = np.flatnonzero(split != "test"), np.flatnonzero(split == "test")
        found[HOG][test] = linear_baseline(outlines, labels, train, test)
        found[shortcuts.BORDER_BASELINE][test] = shortcuts.border_baseline(
            frames[train], labels[train], frames[test], classes
        )
        found[shortcuts.FILE_BASELINE][test] = shortcuts.file_baseline(
            files.iloc[train], labels[train], files.iloc[test], classes
        )
    return found
