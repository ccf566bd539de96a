"""What campaigns have in common: rounds, counts, and what was violated."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

MAY_STILL_BE = 1e-4
"""Probability below which a count contradicts a rate that is promised."""


class Campaign(ABC):
    """Random rounds of one kind, the same for the same seed.

    Args:
        seed: of all that is drawn.
        folder: for what helps to repeat a violation.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = np.random.default_rng([seed, len(type(self).__name__)])
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    @abstractmethod
    def prepare(self) -> None:
        """Make what all rounds need."""

    @abstractmethod
    def round(self) -> None:
        """Do some seconds' work."""

    def end(self) -> None:
        """Judge what only all rounds together tell, and put away what was prepared."""
        self.count("violations", len(self.violations))

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count of the last line."""
        self.counts[what] += number

    def violated(self, words: str, data: bytes | None = None) -> None:
        """Note what must not happen, and keep the file with which it did."""
        if data is not None:
            file = self.folder / f"violation-{hashlib.sha256(data).hexdigest()[:12]}"
            file.write_bytes(data)
            words = f"{words} ({file})"
        self.violations.append(words)

    def told(self) -> str:
        """The counts in words."""
        return ", ".join(f"{number:,} {what}" for what, number in self.counts.items())

    def at_most(self, share: float, happened: str, of: str) -> None:
        """Hold a count against the rate that is promised."""
        from scipy.stats import binomtest

        seen, trials = self.counts[happened], self.counts[of]
        if trials and binomtest(seen, trials, share, alternative="greater").pvalue < MAY_STILL_BE:
            self.violated(f"{seen:,} {happened} of {trials:,} {of}: more than {share:.0%} can explain")
