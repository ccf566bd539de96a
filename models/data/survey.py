"""Survey: what one radiograph adds to the figures of a whole data set, and the sums that are kept of each class.

Nothing grows with the number of images but what a caller keeps: means and distributions are sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from models.data import shortcuts
from models.radiographs.histogram import LEVELS_8, USED_SHARES, histogram
from models.radiographs.preprocessing import PreprocessingSpec, preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.radiographs.histogram import Counts
    from models.radiographs.radiograph import Pixels

SPEC: Final = PreprocessingSpec()
"""How an image is seen here, whatever a recipe does: the centre square, 224 pixels, stretched between percentiles."""
BINS: Final = 64
"""Of the grey distributions: 256 would show the comb that a stretched or compressed picture has."""
SMALL: Final = 64
"""Side of the picture in which near-duplicates are looked for (tasks/near_duplicates.SIDE)."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What is kept of one image."""

    picture: NDArray[np.uint8]
    """(224, 224), preprocessed."""
    original: NDArray[np.float64]
    """(64,) shares of its pixels by grey value as stored; 16 bits span the range that the film uses."""
    prepared: NDArray[np.float64]
    """(64,) the same after preprocessing."""
    small: NDArray[np.uint8]
    """(64, 64, 1)"""
    frame: NDArray[np.float32]
    """(768,), from `models.data.shortcuts.frames`."""


@dataclass(slots=True)
class Sums:
    """The sums of one class; each image counts the same, however large it is."""

    n: int = 0
    picture: NDArray[np.float64] = field(default_factory=lambda: np.zeros(SPEC.shape[:2]))
    original: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    prepared: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(self, glance: Glance) -> None:
        """Add an image."""
        self.n += 1
        self.picture += glance.picture
        self.original += glance.original
        self.prepared += glance.prepared


def glance(pixels: Pixels) -> Glance:
    """Look at one radiograph: grey pixels (height, width), uint8 or uint16."""
    prepared = preprocess(pixels, SPEC)
    picture = prepared[..., 0]
    small = cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return Glance(
        picture=picture,
        original=grey_shares(histogram(pixels)),
        prepared=grey_shares(histogram(picture)),
        small=np.asarray(small, np.uint8)[..., None],
        frame=shortcuts.frames(prepared[None])[0],
    )


def grey_shares(counts: Counts) -> NDArray[np.float64]:
    """Return the shares (64,) of pixels by grey value, of a histogram with 256 or 65,536 values.

    A film of 16 bits, of which many use 12 only, spans what lies between the 0.5th and the 99.5th percentile, as in
    `models.radiographs.radiograph.Measurement`.
    """
    share = counts / counts.sum()
    if counts.size == LEVELS_8:
        return np.asarray(share.reshape(BINS, -1).sum(axis=1), np.float64)
    low, high = np.searchsorted(np.cumsum(share), USED_SHARES)
    values = np.clip((np.arange(counts.size) - low) / max(int(high - low), 1), 0, 1)
    shares = np.bincount((values * (BINS - 1e-9)).astype(np.intp), weights=share, minlength=BINS)
    return np.asarray(shares, np.float64)


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how much two distributions have in common, 0 to 1 (Weitzman, 1970): the area under both."""
    return float(np.minimum(one / one.sum(), other / other.sum()).sum())
