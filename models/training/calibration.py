"""Temperature scaling: one number that makes a network's probabilities mean what they say.

Guo et al., On calibration of modern neural networks, ICML 2017. It never changes which class is the likeliest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_IMAGES: Final = 30
"""On fewer a temperature would be fitted to chance."""
BOUNDS: Final = (1 / 3, 20.0)
"""Below 1 probabilities get sharper: without end, if it were allowed, where all of a few dozen images are right."""
SMALLEST: Final = 1e-12
"""A probability that single precision has rounded to 0 is taken for this one."""


def temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Temperature with the lowest log loss on validation images; 1 where there are fewer than 30 of them.

    The logarithms of the probabilities are the network's logits but for a constant in each row, which the softmax
    takes away again, so the probabilities are all that is needed.

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
    """Probabilities (n, classes) at temperature t: flatter above 1, sharper below.

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
