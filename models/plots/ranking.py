"""The plot of a tournament: the recipes' accuracies with their intervals, one below the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from models.plots.svg import FONT_SIZE, INK, SERIES, SOFT, style_axes, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RankedModel:
    """A recipe's accuracy with its interval; `is_baseline` marks a model that does not compete, such as a shortcut."""

    name: str
    value: float
    low: float
    high: float
    is_baseline: bool = False
    significant: bool = False
    """Whether its difference from the first entry is significant."""


def accuracy_plot(entries: Sequence[RankedModel], chance: float, alt: str, name: str = "accuracies") -> bytes:
    """Draw accuracies with their intervals, and the numbers next to them.

    A marker is filled for the first entry and for each entry that differs significantly from it.

    Args:
        entries: from top to bottom.
        chance: the accuracy of always predicting the most frequent class, 0 to 1.
        alt: alternative text: what the drawing shows.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(7.4, 0.75 + 0.3 * len(entries)), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(entries))[::-1]
    for height, entry in zip(heights, entries, strict=True):
        colour = SOFT if entry.is_baseline else SERIES[1]
        filled = (entry.significant or entry is entries[0]) and not entry.is_baseline
        axes.plot([entry.low, entry.high], [height, height], color=colour, linewidth=1.8)
        axes.plot(
            entry.value, height, "D" if entry.is_baseline else "o", color=colour, markersize=6, markeredgewidth=1.6,
            markerfacecolor=colour if filled else "none",
        )  # fmt: skip
        axes.annotate(f"{entry.value:.3f}  ({entry.low:.3f} to {entry.high:.3f})", (1.02, height),
                      xycoords=("axes fraction", "data"), va="center", fontsize=FONT_SIZE, color=INK)  # fmt: skip
    axes.axvline(chance, color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    lowest = min([chance, *(entry.low for entry in entries)])
    axes.set(xlim=(max(0.0, lowest - 0.03), 1.0), ylim=(-0.6, len(entries) - 0.4))
    axes.set_yticks(heights, [entry.name for entry in entries])
    axes.set_xlabel("accuracy; dashed: always the most frequent class", fontsize=FONT_SIZE, color=SOFT)
    style_axes(axes, grid="x")
    for label, entry in zip(axes.get_yticklabels(), entries, strict=True):
        label.set(color=SOFT if entry.is_baseline else INK, parse_math=False)
    return to_svg(figure, alt, name)
