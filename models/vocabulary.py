"""Words that all of models/ and tasks/ share: classes, splits, and the mark of a phantom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES: Final = ("COVID-19", "NORMAL", "PNEUMONIA")
"""The classes of the five reports. A model version brings its own list."""
NORMAL: Final = "NORMAL"
"""The class that is no finding; the contact sheet of the highest scores leaves it out."""

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
"""What each image is for; their positions are the codes in arrays."""
STRICTNESS: Final[Mapping[str, int]] = {"test": 2, "validation": 1, "train": 0}
"""What an image in a stricter split shows must not be learned from in a laxer one."""

MARKER: Final = "cxr-nightly phantom"
"""Stands in the file of each phantom, so that made data is known wherever it goes."""
