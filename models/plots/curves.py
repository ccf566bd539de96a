"""Plots for the pages about models: SVG drawings in the page's colours, and JPEG pictures of radiographs.

They use matplotlib's object-oriented interface, without pyplot, so there is no global state and no display is needed.
Text stays text, in the page's own font. Colours are CSS custom properties of the page, with the light theme's colours
as fallback, so a drawing is readable on a dark page and on paper too. Series differ in marker and dashes as well as in
colour (Okabe and Ito, 2008), for readers who cannot tell the colours apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.plots.svg import (
    DASHES,
    INK,
    MARGINS,
    MARKERS,
    MINUS,
    SIZE,
    SOFT,
    SQUARE,
    WIDE,
    _colour,
    _number,
    plain,
    svg,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of a forest plot: a difference with its interval; `strong` for the row that decides."""

    name: str
    value: float
    low: float
    high: float
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One model's ROC curve: points (1 - specificity, sensitivity), and the area under it.

    `place` is the model's position on the page, which determines its marker and colour; 0 is the champion.
    """

    name: str
    place: int
    points: Sequence[Sequence[float]]
    area: float | None


def forest(rows: Sequence[Difference], alt: str, axis: str, place: int = 1, name: str = "forest") -> bytes:
    """Draw differences with their intervals around zero, and the numbers next to them.

    A marker is filled where the interval excludes zero, and open where it contains zero.

    Args:
        rows: from top to bottom.
        alt: alternative text: what the drawing shows.
        axis: label of the x axis: the measure and which side is better.
        place: the challenger's position on the page, which determines its marker and colour.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(7.4, 0.75 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    heights, colour, marker = np.arange(len(rows))[::-1], _colour(place), MARKERS[place % len(MARKERS)]
    for height, row in zip(heights, rows, strict=True):
        excludes_zero = row.low > 0 or row.high < 0
        axes.plot([row.low, row.high], [height, height], color=colour, linewidth=3 if row.strong else 1.8)
        axes.plot(
            row.value, height, marker, color=colour, markersize=8 if row.strong else 6,
            markerfacecolor=colour if excludes_zero else "none", markeredgewidth=1.6,
        )  # fmt: skip
        figures = f"{row.value:+.3f}  ({row.low:+.3f} to {row.high:+.3f})".replace("-", MINUS)
        weight = "bold" if row.strong else "normal"
        axes.annotate(
            figures, (1.02, height), xycoords=("axes fraction", "data"), va="center", fontsize=SIZE, color=INK,
            fontweight=weight,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    limit = max([abs(edge) for row in rows for edge in (row.low, row.high)], default=0.01) * 1.08 or 0.01
    axes.set(xlim=(-limit, limit), ylim=(-0.6, len(rows) - 0.4))
    axes.set_yticks(heights, [row.name for row in rows])
    axes.set_xlabel(axis, fontsize=SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    plain(axes, grid="x")
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color=INK, fontweight="bold" if row.strong else "normal", parse_math=False)
    return svg(figure, alt, name)


def roc(curves: Sequence[Curve], alt: str, name: str = "roc") -> bytes:
    """Draw the ROC curves of several models for one class against the rest.

    Args:
        curves: one for each model.
        alt: as for `forest`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=SQUARE)
    axes = figure.subplots(gridspec_kw=MARGINS)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    for curve in curves:
        points = np.array(curve.points, float).reshape(-1, 2)
        area = "" if curve.area is None else f": {curve.area:.3f}"
        axes.plot(
            *points.T, color=_colour(curve.place), linestyle=DASHES[curve.place % len(DASHES)], linewidth=1.8,
            label=curve.name + area,
        )  # fmt: skip
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xlabel(f"1 {MINUS} specificity", fontsize=SIZE, color=SOFT)
    axes.set_ylabel("sensitivity", fontsize=SIZE, color=SOFT)
    plain(axes, grid="both")
    legend = axes.legend(
        loc="lower right", fontsize=SIZE, frameon=False, labelcolor=INK, title="area under the curve",
        title_fontproperties={"size": SIZE - 1}, handlelength=2.6,
    )  # fmt: skip
    legend.get_title().set_color(SOFT)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
    return svg(figure, alt, name)


def reliability(bins: Sequence[Mapping[str, Any]], place: int, alt: str, name: str = "reliability") -> bytes:
    """Draw a reliability diagram: accuracy (y) by confidence (x), with the number of images below.

    Args:
        bins: each with `confidence`, `accuracy` (0 to 1; None where empty) and `n`.
        place: the model's position on the page, which determines its colour.
        alt: as for `forest`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    filled = [one for one in bins if one["n"]]
    confidence, accuracy, images = (
        np.array([one[key] for one in filled], float) for key in ("confidence", "accuracy", "n")
    )
    lower, upper = np.minimum(confidence, accuracy), np.maximum(confidence, accuracy)
    figure = Figure(figsize=(SQUARE[0], SQUARE[1] + 0.6))
    axes, counts = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True, gridspec_kw=MARGINS)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    colour = _colour(place)
    axes.vlines(confidence, lower, upper, color=colour, alpha=0.35, linewidth=5)
    axes.plot(confidence, accuracy, color=colour, linewidth=1.4, marker=MARKERS[place % len(MARKERS)], markersize=6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
    axes.set_ylabel("share that is right", fontsize=SIZE, color=SOFT)
    counts.bar(confidence, images, width=0.03, color=colour)
    counts.set_xlabel("probability of the predicted class", fontsize=SIZE, color=SOFT)
    counts.set_ylabel("images", fontsize=SIZE, color=SOFT)
    counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for part in (axes, counts):
        plain(part, grid="both")
    figure.align_ylabels([axes, counts])
    return svg(figure, alt, name)


def learning_curve(
    history: Sequence[Mapping[str, Any]], measure: str, place: int, alt: str, name: str = "learning"
) -> bytes:
    """Draw a measure over the epochs, in training and in validation.

    Args:
        history: per epoch `{measure}` and `val_{measure}`; a missing or non-numeric value leaves a gap.
        measure: loss or accuracy.
        place: the model's position on the page, which determines its colour.
        alt: as for `forest`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=WIDE)
    axes = figure.subplots(gridspec_kw=MARGINS)
    epochs = np.arange(1, len(history) + 1)
    for key, words, colour, dashes in (
        (measure, "training", SOFT, DASHES[1]),
        (f"val_{measure}", "validation", _colour(place), DASHES[0]),
    ):
        values = [_number(epoch.get(key)) for epoch in history]
        if not all(math.isnan(value) for value in values):
            marker = MARKERS[place % len(MARKERS)] if key != measure else "."
            axes.plot(
                epochs, values, color=colour, linestyle=dashes, linewidth=1.8, marker=marker, markersize=4, label=words
            )
    axes.set_xlabel("epoch", fontsize=SIZE, color=SOFT)
    axes.set_ylabel(measure, fontsize=SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if axes.lines:
        axes.legend(fontsize=SIZE, frameon=False, labelcolor=INK, handlelength=2.6)
    plain(axes, grid="both")
    return svg(figure, alt, name)
