"""Many models on the same images: which differences in accuracy are significant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_PERMUTATIONS: Final = 9_999
"""Minimum number of sign flips; the smallest possible p-value of one pair is 1 / (this + 1)."""
P_VALUE_RESOLUTION: Final = 40
"""The smallest possible corrected p-value is the significance level divided by this, for any number of pairs."""
SIGNIFICANCE_LEVEL: Final = 0.05
"""Significance level."""
MAX_NUMBERS: Final = 2**22
"""Numbers in memory at once: 16 MB."""


def pairwise_p_values(right: NDArray[np.bool_], patients: Sequence[str], seed: int = 0) -> NDArray[np.float64]:
    """Test each pair of models for a difference in accuracy, by patient, corrected for the number of pairs.

    This is a paired permutation test on the difference in a patient's correct images. A patient's images are not
    independent, so it exchanges patients, not images; McNemar's test exchanges images and would find differences that
    do not exist. The p-values are adjusted by Holm's method (Scand. J. Statist. 6, 1979), so the probability that any
    pair of equal models is called different stays below the significance level. Holm multiplies the smallest p-value by
    the number of pairs, so the number of permutations grows with it.

    Args:
        right: (models, n) whether a model is right about an image.
        patients: n identifiers.
        seed: of the permutations.

    Returns:
        (models, models) symmetric adjusted p-values, 1 on the diagonal.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.ones((len(right), len(right)))
    first, second = np.tril_indices(len(right), -1)
    if not len(first):
        return adjusted
    _, owners = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.stack([np.bincount(owners, weights=row) for row in right.astype(np.float64)]).astype(np.float32)
    sums = sums[:, (sums != sums[0]).any(axis=0)]  # a patient with the same sum in all models changes no difference
    permutations = max(MIN_PERMUTATIONS, math.ceil(P_VALUE_RESOLUTION * len(first) / SIGNIFICANCE_LEVEL))
    extreme = _count_as_extreme(sums, first, second, permutations, np.random.default_rng(seed))
    corrected = multipletests((1 + extreme) / (1 + permutations), method="holm")[1]
    adjusted[first, second] = adjusted[second, first] = corrected
    return adjusted


def _count_as_extreme(
    sums: NDArray[np.float32],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    permutations: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Count for each pair the sign flips that give at least the observed difference, in either direction.

    All pairs share the flips, so a pair's difference is that of two models' totals. The totals are integers, which
    float32 holds exactly for up to 16 million images.
    """
    patients = sums.shape[1]
    observed_totals = sums.sum(axis=1)
    observed = np.abs(observed_totals[first] - observed_totals[second])
    if not patients:
        return np.full(len(first), permutations)
    counts = np.zeros(len(first), np.int64)
    batch = max(1, MAX_NUMBERS // max(patients, len(first)))
    for start in range(0, permutations, batch):
        size = min(batch, permutations - start)
        random_bytes = np.frombuffer(random.bytes(math.ceil(patients * size / 8)), np.uint8)
        flips = np.unpackbits(random_bytes, count=patients * size).reshape(patients, size).astype(np.float32)
        totals = 2 * (sums @ flips) - observed_totals[:, None]
        counts += (np.abs(totals[first] - totals[second]) >= observed[:, None]).sum(axis=1)
    return counts
