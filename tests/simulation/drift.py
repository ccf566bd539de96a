"""Windows of measurements such as a hospital's, for the look at drift."""

from __future__ import annotations

from typing import Any

import numpy as np

THRESHOLD = 0.25
CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
SHARES = (0.35, 0.45, 0.2)
Window = dict[str, list[Any]]


def window(
    size: int, seed: int, *, brighter: float = 0.0, shares: tuple[float, ...] = SHARES, scanned: float = 0.1
) -> Window:
    """A window such as a hospital's: mean grey values scatter by 0.09 as those of real chest radiographs do."""
    rng = np.random.default_rng(seed)
    return {
        "mean": list(rng.normal(0.55 + brighter, 0.09, size)),
        "std": list(rng.normal(0.21, 0.04, size)),
        "contrast": list(rng.normal(0.6, 0.1, size)),
        "width": list(rng.choice([1024, 2048, 2500], size)),
        "height": list(rng.choice([1024, 2048, 3056], size)),
        "aspect": list(rng.normal(0.9, 0.1, size)),
        "bit_depth": list(rng.choice([8, 12, 16], size, p=[scanned, 0.2, 0.8 - scanned])),
        "channels": list(rng.choice([1, 3], size, p=[1 - scanned, scanned])),
        "format": list(rng.choice(["DICOM", "JPEG", "PNG"], size, p=[0.8 - scanned, scanned, 0.2])),
        "predicted_class": list(rng.choice(CLASSES, size, p=shares)),
        "top_probability": list(rng.beta(8, 2, size)),
    }
