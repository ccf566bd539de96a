"""How often the gate errs, by simulation: `python -m tests.simulation.gate` prints the table in docs/gate.md.

Test sets are made with the shares of the classes in the public data and one to three images a patient. Whether a model
is right on an image is drawn with what the two models share (some images and some patients are hard for both) and what
each has of its own, which differs between patients as well. The gate's own code then decides:
`models.evaluation.bootstrap` for the resamples, `models.gate.checks` for the rules about the gain and about each
class's sensitivity.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest, norm

from models.evaluation.bootstrap import confusion_cells, confusion_figures, resample_weights, weighted_sums
from models.evaluation.comparison import difference_with_interval
from models.evaluation.test_set import TestSet
from models.gate import checks
from models.gate.rules import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
SHARES = (0.11, 0.445, 0.445)
IMAGES_A_PATIENT = (0.6, 0.25, 0.15)
ACCURACY = 0.85
SHARED = 0.78
"""Of the variance of what decides whether a model is right; with equal models about 12 % of images are discordant."""
PATIENT = 0.4
"""Share of the variance, of the shared part and of each model's own, that the images of a patient have in common."""
SETS_A_COHORT = 25
"""Test sets drawn with the same patients, and so with the same resamples."""


@dataclass(frozen=True)
class Share:
    """How many of the simulated challengers were promoted."""

    promoted: int
    sets: int

    @property
    def value(self) -> float:
        return self.promoted / self.sets

    def __str__(self) -> str:
        low, high = binomtest(self.promoted, self.sets).proportion_ci(0.95)
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


@dataclass(frozen=True)
class SimulationResult:
    """Of one kind of challenger: promoted by the rule about the gain alone, and with the rule about sensitivities."""

    gain_alone: Share
    whole: Share
    enough: Share
    """Test sets that the rule about evidence finds large enough; the others are asked here all the same."""
    discordant: float


def simulate(n: int, gain: float, sets: int, seed: int = 0, losing: float = 0.0) -> SimulationResult:
    """Draw test sets and ask the gate about a challenger.

    Args:
        n: images in the test set.
        gain: of the challenger over the champion, in the true sensitivity of every class.
        sets: number of test sets.
        seed: of all that is drawn.
        losing: what it loses of this in the first class instead of gaining.
    """
    random = np.random.default_rng(seed)
    alone = whole = enough = 0
    discordant = 0.0
    for start in range(0, sets, SETS_A_COHORT):
        patients = _cohort(random, n)
        drawn = resample_weights([str(one) for one in patients], DEFAULT.resamples, seed=seed + start)
        batch = [_answers(random, patients, gain, losing) for _ in range(min(SETS_A_COHORT, sets - start))]
        discordant += sum(float(((one == labels) != (other == labels)).mean()) for labels, one, other in batch)
        enough += sum(_enough(labels, patients) for labels, *_ in batch)
        for (labels, *_), counts, resampled in zip(batch, *_tallies(batch, drawn), strict=True):
            gained, kept = _ask(np.bincount(labels, minlength=len(CLASSES)) > 0, counts, resampled)
            alone += gained
            whole += gained and kept
    return SimulationResult(Share(alone, sets), Share(whole, sets), Share(enough, sets), discordant / sets)


def gains_found(n: int, sets: int, seed: int = 0, power: float = 0.8) -> tuple[float, float]:
    """True gain at which so many challengers are promoted, interpolated on a grid.

    Returns:
        By the rule about the gain alone, and with that about sensitivities.
    """
    tried = [0.0]
    shares = [(0.0, 0.0)]
    step = 0.1 * (200 / n) ** 0.5
    while shares[-1][1] < power:
        tried.append(tried[-1] + (0.125 if len(tried) > 1 else 0.625) * step)
        result = simulate(n, tried[-1], sets, seed)
        shares.append((result.gain_alone.value, result.whole.value))
    alone, whole = (float(np.interp(power, column, tried)) for column in zip(*shares, strict=True))
    return alone, whole


def table(sets: int = 2000, sets_for_power: int = 400) -> Iterable[str]:
    """Rows of the table in Markdown."""
    yield (
        "| test images | equal challenger promoted | without the rule about sensitivities "
        "| true gain found in 80 % | without that rule | sets with enough evidence |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for n in (100, 200, 1000, 5000):
        equal = simulate(n, 0.0, sets if n < 5000 else sets // 2, seed=1)
        alone, whole = gains_found(n, sets_for_power, seed=2)
        yield f"| {n:,} | {equal.whole} | {equal.gain_alone} | {whole:.3f} | {alone:.3f} | {equal.enough} |"


def _enough(labels: NDArray[Any], patients: NDArray[np.intp]) -> bool:
    """Whether the rule about evidence lets the gate decide on such a test set."""
    people = tuple(str(one) for one in patients)
    test = TestSet(labels=labels, patients=people, classes=CLASSES, contents=people)
    return all(check.passed for check in checks.evidence(DEFAULT, test))


def _cohort(random: np.random.Generator, n: int) -> NDArray[np.intp]:
    """(n,) whose image it is."""
    images = random.choice((1, 2, 3), n, p=IMAGES_A_PATIENT)
    return np.repeat(np.arange(n), images)[:n]


def _answers(
    random: np.random.Generator, patients: NDArray[np.intp], gain: float, losing: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Labels, and what champion and challenger say: a Gaussian copula, cut at the accuracy of each."""

    def hardness() -> NDArray[np.float64]:
        of_patient, of_image = random.normal(size=(2, len(patients)))
        return np.sqrt(PATIENT) * of_patient[patients] + np.sqrt(1 - PATIENT) * of_image

    def said(*accuracies: float) -> NDArray[Any]:
        right = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * hardness() < norm.ppf(accuracies)[labels]
        return np.where(right, labels, (labels + random.integers(1, len(CLASSES), len(labels))) % len(CLASSES))

    labels = random.choice(len(CLASSES), len(patients), p=SHARES)[patients]  # all images of a patient are of one class
    shared, better = hardness(), ACCURACY + gain
    return labels, said(*(ACCURACY,) * 3), said(better - losing, better, better)


def _tallies(
    batch: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]], drawn: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], ...]:
    """Confusion matrices (sets, models, rows, classes, classes): of the sets themselves and of their resamples.

    As `models.evaluation.bootstrap.confusion_matrices`, with one product for the whole batch.
    """
    size = len(CLASSES)
    columns = np.hstack([confusion_cells(labels, said, size) for labels, *both in batch for said in both])
    shape = (-1, len(batch), 2, size, size)
    whole = weighted_sums(columns, np.ones((1, len(drawn[0])), np.uint8)).reshape(shape)
    resampled = weighted_sums(columns, drawn).reshape(shape)
    return tuple(np.ascontiguousarray(np.moveaxis(one, 0, 2)) for one in (whole, resampled))


def _ask(present: NDArray[np.bool_], counts: NDArray[np.float64], resampled: NDArray[np.float64]) -> tuple[bool, bool]:
    """Whether the gate's rule about the gain, and that about sensitivities, let the challenger pass."""
    points = [confusion_figures(one, present) for one in counts]
    spread = [confusion_figures(one, present) for one in resampled]

    def paired(name: str, *column: int) -> dict[str, float | None]:
        value, other = (float(one[name][0, *column]) for one in points)
        return difference_with_interval(value, other, *(one[name][:, *column] for one in spread), level=DEFAULT.level)

    found = paired("balanced_accuracy")
    gained = checks.gain(DEFAULT, found, DEFAULT.level, challengers=1).passed
    kept = all(
        check.passed
        for index, name in enumerate(CLASSES)
        for check in checks.sensitivity(DEFAULT, name, paired("sensitivity", index), found["value"])
    )
    return gained, kept


if __name__ == "__main__":
    for row in table():
        sys.stdout.write(row + "\n")
        sys.stdout.flush()
