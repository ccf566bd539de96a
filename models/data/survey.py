"""The survey of a data set: what is measured on each radiograph, and the sums for each class.

Means and distributions are computed from sums, so memory does not grow with the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from models.data import shortcuts
from models.radiographs.histogram import LEVELS_8, USED_QUANTILES, histogram
from models.radiographs.preprocessing import PreprocessingSpec, preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.radiographs.histogram import Counts
    from models.radiographs.radiograph import Pixels

SURVEY_SPEC: Final = PreprocessingSpec()
"""Preprocessing for the survey, whatever the recipes: the centre square, 224 pixels, stretched between percentiles."""
GREY_BINS: Final = 64
"""Of the grey-value distributions; 256 would show gaps and spikes that come from rescaled grey values."""
SMALL_SIDE: Final = 64
"""Side of the picture in which near-duplicates are searched (`models.data.near_duplicates.REDUCED_SIDE`)."""


@dataclass(frozen=True, slots=True)
class ImageSurvey:
    """What the survey keeps of one image."""

    picture: NDArray[np.uint8]
    """(224, 224), preprocessed."""
    original: NDArray[np.float64]
    """(64,) shares of the stored pixels by grey value; see `grey_shares` for 16-bit images."""
    prepared: NDArray[np.float64]
    """(64,) the same after preprocessing."""
    small: NDArray[np.uint8]
    """(64, 64, 1)"""
    border: NDArray[np.float32]
    """(768,), from `models.data.shortcuts.border_pixels`."""


@dataclass(slots=True)
class ClassSums:
    """The sums of one class; every image has the same weight, whatever its size."""

    n: int = 0
    picture: NDArray[np.float64] = field(default_factory=lambda: np.zeros(SURVEY_SPEC.shape[:2]))
    original: NDArray[np.float64] = field(default_factory=lambda: np.zeros(GREY_BINS))
    prepared: NDArray[np.float64] = field(default_factory=lambda: np.zeros(GREY_BINS))

    def add(self, glance: ImageSurvey) -> None:
        """Add an image."""
        self.n += 1
        self.picture += glance.picture
        self.original += glance.original
        self.prepared += glance.prepared


def survey_image(pixels: Pixels) -> ImageSurvey:
    """Survey one radiograph: grey pixels (height, width), uint8 or uint16."""
    prepared = preprocess(pixels, SURVEY_SPEC)
    picture = prepared[..., 0]
    small = cv2.resize(picture, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA)
    return ImageSurvey(
        picture=picture,
        original=grey_shares(histogram(pixels)),
        prepared=grey_shares(histogram(picture)),
        small=np.asarray(small, np.uint8)[..., None],
        border=shortcuts.border_pixels(prepared[None])[0],
    )


def grey_shares(counts: Counts) -> NDArray[np.float64]:
    """Return the shares (64,) of pixels by grey value from a histogram with 256 or 65,536 values.

    Many 16-bit images use only 12 bits, so their bins span the range from the 0.5th to the 99.5th percentile, as in
    `models.radiographs.radiograph.Measurement`.
    """
    shares = counts / counts.sum()
    if counts.size == LEVELS_8:
        return np.asarray(shares.reshape(GREY_BINS, -1).sum(axis=1), np.float64)
    low, high = np.searchsorted(np.cumsum(shares), USED_QUANTILES)
    values = np.clip((np.arange(counts.size) - low) / max(int(high - low), 1), 0, 1)
    binned = np.bincount((values * (GREY_BINS - 1e-9)).astype(np.intp), weights=shares, minlength=GREY_BINS)
    return np.asarray(binned, np.float64)


def distribution_overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the overlap of two distributions, 0 to 1: the area under both (Weitzman, 1970)."""
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())
