"""Many models on the same images: which differences in accuracy are real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PERMUTATIONS: Final = 9_999
"""Sign flips drawn for each pair; the smallest p-value is one in so many and one."""
SIGNIFICANT: Final = 0.05


def differences(right: NDArray[np.bool_], patients: Sequence[str], seed: int = 0) -> NDArray[np.float64]:
    """Test each pair of models for a difference in accuracy, by patient, corrected for the number of pairs.

    A paired permutation test on how many more of a patient's images the one model has right: a patient's images are not
    independent, so patients are exchanged and not images (McNemar's test, which exchanges images, would find
    differences that are none). The p-values are Holm's (Scand. J. Statist. 6, 1979): the chance that any pair of equal
    models is called different stays below the level.

    Args:
        right: (models, n) whether a model is right about an image.
        patients: n identifiers.
        seed: of the permutations.

    Returns:
        (models, models) symmetric adjusted p-values, 1 on the diagonal.
    """
    from scipy.stats import permutation_test
    from statsmodels.stats.multitest import multipletests

    _, people = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.stack([np.bincount(people, weights=row) for row in right.astype(np.float64)])
    adjusted = np.ones((len(right), len(right)))
    pairs = [(one, other) for one in range(len(right)) for other in range(one)]
    found = []
    for one, other in pairs:
        gained = sums[one] - sums[other]
        gained = gained[gained != 0]  # a patient about whom both are alike says nothing, whichever the sign
        if not len(gained):
            found.append(1.0)
            continue
        tested: Any = permutation_test(
            (gained,), _total, permutation_type="samples", vectorized=True, n_resamples=PERMUTATIONS, batch=512,
            rng=np.random.default_rng([seed, one, other]),
        )  # fmt: skip
        found.append(float(tested.pvalue))
    if pairs:
        for (one, other), value in zip(pairs, multipletests(found, method="holm")[1], strict=True):
            adjusted[one, other] = adjusted[other, one] = value
    return adjusted


def _total(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    total: NDArray[np.float64] = values.sum(axis=axis)
    return total
