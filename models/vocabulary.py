"""Vocabulary of models/ and tasks/: classes, splits, and the marker of phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES: Final = ("COVID-19", "NORMAL", "PNEUMONIA")
"""The classes of the five reports. Each model version has its own list."""
NORMAL: Final = "NORMAL"
"""The class without a finding."""

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
"""The purpose of each image. Arrays encode a split by its position here."""
STRICTNESS: Final[Mapping[str, int]] = {"test": 2, "validation": 1, "train": 0}
"""A patient or picture in a stricter split must not be used in a laxer one."""

PHANTOM_MARKER: Final = "cxr-nightly phantom"
"""Written into each phantom's file, so that made data is recognised wherever it goes."""
