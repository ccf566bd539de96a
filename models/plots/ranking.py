"""Drawings of a tournament: accuracies with their intervals, one below the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from models.plots.svg import INK, SERIES, SIZE, SOFT, plain, svg

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Entry:
    """A recipe's accuracy with its interval; `beside`: a model that is no competitor, such as a shortcut."""

    name: str
    value: float
    low: float
    high: float
    beside: bool = False
    real: bool = False
    """Its distance from the first one is real."""


def accuracies(entries: Sequence[Entry], chance: float, alt: str, name: str = "accuracies") -> bytes:
    """Draw accuracies with their intervals, their figures beside them.

    Args:
        entries: from top to bottom.
        chance: the accuracy of always saying the most frequent class, 0 to 1.
        alt: what the drawing shows, for those who do not see it.
        name: unique on its page.

    Returns:
        SVG for use inside a page. A filled mark: its distance from the first one is real, or it is the first one.
    """
    figure = Figure(figsize=(7.4, 0.75 + 0.3 * len(entries)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(entries))[::-1]
    for height, one in zip(places, entries, strict=True):
        colour = SOFT if one.beside else SERIES[1]
        filled = one.real or one is entries[0]
        axes.plot([one.low, one.high], [height, height], color=colour, linewidth=1.8)
        axes.plot(one.value, height, "D" if one.beside else "o", color=colour, markersize=6, markeredgewidth=1.6,
                  markerfacecolor=colour if filled and not one.beside else "none")  # fmt: skip
        axes.annotate(f"{one.value:.3f}  ({one.low:.3f} to {one.high:.3f})", (1.02, height),
                      xycoords=("axes fraction", "data"), va="center", fontsize=SIZE, color=INK)  # fmt: skip
    axes.axvline(chance, color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    lowest = min([chance, *(one.low for one in entries)])
    axes.set(xlim=(max(0.0, lowest - 0.03), 1.0), ylim=(-0.6, len(entries) - 0.4))
    axes.set_yticks(places, [one.name for one in entries])
    axes.set_xlabel("accuracy; dashed: always the most frequent class", fontsize=SIZE, color=SOFT)
    plain(axes, grid="x")
    for label, one in zip(axes.get_yticklabels(), entries, strict=True):
        label.set(color=SOFT if one.beside else INK, parse_math=False)
    return svg(figure, alt, name)
