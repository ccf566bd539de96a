"""The histogram of a radiograph's grey values, and the statistics that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.radiographs.opencv import cv2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.float64]
    """Pixels of each grey value: (256,) for uint8, (65536,) for uint16."""

LEVELS_8: Final = 256
BLACK_AND_WHITE_TAIL: Final = 0.01
"""Share of the grey range at either end that counts as black or white."""
USED_QUANTILES: Final = (0.005, 0.995)
"""Quantiles of the pixels that bound the used range of a 16-bit image; the same as preprocessing's default."""


def histogram(grey: NDArray[Any]) -> Counts:
    """Count the pixels of each grey value: shape (256,) for uint8, (65536,) for uint16."""
    bins = LEVELS_8 if grey.dtype == np.uint8 else 65536
    return cv2.calcHist([grey], [0], None, [bins], [0, bins]).ravel().astype(np.float64)


def statistics(counts: Counts) -> dict[str, Any]:
    """Return an image's grey statistics, with the names and units of `radiograph.Measurement`."""
    share = counts / counts.sum()
    cumulative = np.cumsum(share)
    lowest, highest = (0, 255) if counts.size == LEVELS_8 else np.searchsorted(cumulative, USED_QUANTILES).tolist()
    scale = _scale(counts.size, lowest, highest)
    mean = float(share @ scale.values)
    coarse = np.bincount(scale.bins, weights=share, minlength=LEVELS_8)
    filled = coarse[coarse > 0]
    p05, p95 = scale.values[np.minimum(np.searchsorted(cumulative, (0.05, 0.95)), counts.size - 1)].tolist()
    return {
        "mean": mean,
        "std": float(np.sqrt(max(share @ (scale.values - mean) ** 2, 0.0))),
        "p05": p05,
        "p95": p95,
        "black_share": float(share @ scale.black),
        "white_share": float(share @ scale.white),
        "peak_share": float((share * scale.inner).max()),
        "entropy": float(-(filled @ np.log2(filled))),
    }


@dataclass(frozen=True, slots=True)
class _Scale:
    """For each grey value: its position in the used range (0..1), its bin of 256, and masks (0 or 1)."""

    values: NDArray[np.float64]
    bins: NDArray[np.intp]
    black: NDArray[np.float64]
    white: NDArray[np.float64]
    inner: NDArray[np.float64]
    """Neither black nor white."""


@lru_cache(maxsize=2)
def _scale(levels: int, lowest: int, highest: int) -> _Scale:
    values = np.clip((np.arange(levels) - lowest) / max(highest - lowest, 1), 0, 1)
    black, white = values <= BLACK_AND_WHITE_TAIL, values >= 1 - BLACK_AND_WHITE_TAIL
    inner = ~(black | white)
    bins = np.clip(values * 255, 0, 255).astype(np.intp)
    return _Scale(values, bins, black.astype(np.float64), white.astype(np.float64), inner.astype(np.float64))
