"""The gate, the ranking and the look at drift on made-up answers: how often they take nothing for something."""

from __future__ import annotations

from models.data import drift
from models.evaluation.ranking import SIGNIFICANCE_LEVEL, pairwise_p_values
from tests.simulation.drift import THRESHOLD, window
from tests.simulation.gate import simulate
from tests.soak.campaign import Campaign

IMAGES = (200, 400, 1000)
GATE_SHARE, DRIFT_SHARE = 0.05, 0.02
SETS = 25


class Simulations(Campaign):
    """Many seeds at small size."""

    def prepare(self) -> None:
        """Nothing is needed."""

    def round(self) -> None:
        """Some test sets for the gate, a tournament of equal models, and two windows that are alike."""
        seed = int(self.random.integers(2**31))
        equal = simulate(int(self.random.choice(IMAGES)), 0.0, SETS, seed)
        self.count("gates with an equal challenger", SETS)
        self.count("promoted", equal.whole.promoted)
        losing = simulate(1000, 0.1, SETS, seed, losing=0.3)
        self.count("gates with a challenger that loses a class", SETS)
        if losing.whole.promoted:
            self.violated(f"seed {seed}: a challenger that loses a class was promoted")
        right = self.random.random((4, 120)) < 0.8
        found = pairwise_p_values(right, [f"p{row // 2}" for row in range(120)], seed)
        self.count("rankings of equal models")
        self.count("called different", int((found < SIGNIFICANCE_LEVEL).any()))
        alike = drift.compare(window(300, seed), window(300, seed + 1), threshold=THRESHOLD, least=20)
        self.count("equal windows")
        self.count("called drift", int(any(one.drifted for one in alike)))

    def end(self) -> None:
        """Hold the shares against what is promised."""
        self.at_most(GATE_SHARE, "promoted", "gates with an equal challenger")
        self.at_most(SIGNIFICANCE_LEVEL, "called different", "rankings of equal models")
        self.at_most(DRIFT_SHARE, "called drift", "equal windows")
        super().end()
