"""Many models on the same images: which differences in accuracy are real."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PERMUTATIONS: Final = 9_999
"""Sign flips drawn at least; a p-value of one pair is at least one in so many and one."""
BELOW_THE_LEVEL: Final = 40
"""The smallest corrected p-value lies so many times below the level, however many pairs it is corrected for."""
SIGNIFICANT: Final = 0.05
AT_ONCE: Final = 2**22
"""Numbers in memory: 16 MB."""


def differences(right: NDArray[np.bool_], patients: Sequence[str], seed: int = 0) -> NDArray[np.float64]:
    """Test each pair of models for a difference in accuracy, by patient, corrected for the number of pairs.

    A paired permutation test on how many more of a patient's images the one model has right: a patient's images are not
    independent, so patients are exchanged and not images (McNemar's test, which exchanges images, would find
    differences that are none). The p-values are Holm's (Scand. J. Statist. 6, 1979): the chance that any pair of equal
    models is called different stays below the level. As he multiplies the smallest one with the number of pairs, the
    more pairs there are, the more permutations are drawn.

    Args:
        right: (models, n) whether a model is right about an image.
        patients: n identifiers.
        seed: of the permutations.

    Returns:
        (models, models) symmetric adjusted p-values, 1 on the diagonal.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.ones((len(right), len(right)))
    one, other = np.tril_indices(len(right), -1)
    if not len(one):
        return adjusted
    _, people = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.stack([np.bincount(people, weights=row) for row in right.astype(np.float64)]).astype(np.float32)
    sums = sums[:, (sums != sums[0]).any(axis=0)]  # a patient about whom all are alike says nothing, whichever the sign
    drawn = max(PERMUTATIONS, math.ceil(BELOW_THE_LEVEL * len(one) / SIGNIFICANT))
    as_far = _as_far(sums, one, other, drawn, np.random.default_rng(seed))
    corrected = multipletests((1 + as_far) / (1 + drawn), method="holm")[1]
    adjusted[one, other] = adjusted[other, one] = corrected
    return adjusted


def _as_far(
    sums: NDArray[np.float32], one: NDArray[np.intp], other: NDArray[np.intp], drawn: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Count for each pair how many sign flips bring it as far apart as it is, in either direction.

    All pairs share the flips, so a pair's total is the difference of two models' totals. These are whole numbers, which
    float32 holds exactly up to 16 million images.
    """
    width = sums.shape[1]
    whole = sums.sum(axis=1)
    apart = np.abs(whole[one] - whole[other])
    if not width:
        return np.full(len(one), drawn)
    found = np.zeros(len(one), np.int64)
    batch = max(1, AT_ONCE // max(width, len(one)))
    for start in range(0, drawn, batch):
        size = min(batch, drawn - start)
        bits = np.unpackbits(np.frombuffer(random.bytes(math.ceil(width * size / 8)), np.uint8), count=width * size)
        totals = 2 * (sums @ bits.reshape(width, size).astype(np.float32)) - whole[:, None]
        found += (np.abs(totals[one] - totals[other]) >= apart[:, None]).sum(axis=1)
    return found
