"""What the benchmark prints: figures with their targets, and the verdict."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("what", "measured", "beside", "ratio", "target", "")


@dataclass(frozen=True)
class Row:
    """One line of the table; one that says only `what` is a heading.

    `ratio` is what the target is about; `sign` says on which side of `target` it must lie. Without a target the line
    is there to be read only.
    """

    what: str
    measured: str = ""
    beside: str = ""
    ratio: float | None = None
    sign: str = ">="
    target: float | None = None

    @property
    def verdict(self) -> str:
        if self.target is None or self.ratio is None:
            return ""
        holds = operator.ge if self.sign == ">=" else operator.le
        return "ok" if holds(self.ratio, self.target) else "MISSED"

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:,.2f}" if self.ratio < 1000 else f"{self.ratio:,.0f}"
        target = "" if self.target is None else f"{self.sign} {self.target:,g}"
        return self.what, self.measured, self.beside, ratio, target, self.verdict


def show(rows: Sequence[Row]) -> str:
    """Lay the rows out in columns."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-" * max(map(len, texts)), *texts[1:]])


def spread(values: Sequence[float], form: str = "{:,.0f}") -> str:
    """Write the median with the smallest and largest value."""
    middle = form.format(median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))}-{form.format(max(values))})"


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios of values taken side by side: what slows the machine slows both."""
    return median(one / other for one, other in zip(over, under, strict=True))
