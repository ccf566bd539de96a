"""Temperature scaling: dividing a network's logits by one number calibrates its probabilities.

Guo et al., On calibration of modern neural networks, ICML 2017. It never changes which class is the most likely.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_IMAGES: Final = 30
"""With fewer validation images, a temperature would be fitted to noise."""
BOUNDS: Final = (1 / 3, 20.0)
"""Of the temperature. Below 1 it sharpens probabilities; without a bound it would go to 0 where a model is right about
all of a few dozen images."""
SMALLEST: Final = 1e-12
"""Replaces probabilities that single precision has rounded to 0."""


def temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Return the temperature with the lowest log loss on validation images; 1 if there are fewer than 30 of them.

    The probabilities are enough: their logarithms are the network's logits plus a constant in each row, which the
    softmax cancels.

    Args:
        probabilities: (n, classes).
        labels: (n,) index of the true class.
    """
    if len(labels) < MIN_IMAGES:
        return 1.0
    from scipy.optimize import minimize_scalar

    logits, rows = _logits(probabilities), np.arange(len(labels))

    def loss(log_t: float) -> float:
        return -float(_log_softmax(logits / math.exp(log_t))[rows, labels].mean())

    low, high = map(math.log, BOUNDS)
    return float(math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def apply(probabilities: NDArray[np.floating[Any]], t: float) -> NDArray[np.float32]:
    """Return probabilities (n, classes) at temperature t: flatter above 1, sharper below.

    Raises:
        ValueError: t is not above 0.
    """
    if not t > 0:
        raise ValueError(f"a temperature is above 0, not {t}")
    return np.exp(_log_softmax(_logits(probabilities) / t)).astype(np.float32)


def _logits(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
