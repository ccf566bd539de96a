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
    FONT_SIZE,
    INK,
    MARGINS,
    MARKERS,
    MINUS,
    SOFT,
    SQUARE_INCHES,
    WIDE_INCHES,
    number_or_nan,
    series_colour,
    style_axes,
    to_svg,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of a forest plot: a difference with its interval; `emphasised` for the row that decides."""

    name: str
    value: float
    low: float
    high: float
    emphasised: bool = False


@dataclass(frozen=True, slots=True)
class RocCurve:
    """One model's ROC curve: points (1 - specificity, sensitivity), and the area under it.

    `series` is the model's position on the page, which determines its marker and colour; 0 is the champion.
    """

    name: str
    series: int
    points: Sequence[Sequence[float]]
    area: float | None


def forest_plot(rows: Sequence[Difference], alt: str, axis: str, series: int = 1, name: str = "forest") -> bytes:
    """Draw differences with their intervals around zero, and the numbers next to them.

    A marker is filled where the interval excludes zero, and open where it contains zero.

    Args:
        rows: from top to bottom.
        alt: alternative text: what the drawing shows.
        axis: label of the x axis: the measure and which side is better.
        series: the challenger's position on the page, which determines its marker and colour.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(7.4, 0.75 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    heights, colour, marker = np.arange(len(rows))[::-1], series_colour(series), MARKERS[series % len(MARKERS)]
    for height, row in zip(heights, rows, strict=True):
        excludes_zero = row.low > 0 or row.high < 0
        axes.plot([row.low, row.high], [height, height], color=colour, linewidth=3 if row.emphasised else 1.8)
        axes.plot(
            row.value, height, marker, color=colour, markersize=8 if row.emphasised else 6,
            markerfacecolor=colour if excludes_zero else "none", markeredgewidth=1.6,
        )  # fmt: skip
        figures = f"{row.value:+.3f}  ({row.low:+.3f} to {row.high:+.3f})".replace("-", MINUS)
        weight = "bold" if row.emphasised else "normal"
        axes.annotate(
            figures, (1.02, height), xycoords=("axes fraction", "data"), va="center", fontsize=FONT_SIZE, color=INK,
            fontweight=weight,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    limit = max([abs(edge) for row in rows for edge in (row.low, row.high)], default=0.01) * 1.08 or 0.01
    axes.set(xlim=(-limit, limit), ylim=(-0.6, len(rows) - 0.4))
    axes.set_yticks(heights, [row.name for row in rows])
    axes.set_xlabel(axis, fontsize=FONT_SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    style_axes(axes, grid="x")
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color=INK, fontweight="bold" if row.emphasised else "normal", parse_math=False)
    return to_svg(figure, alt, name)


def roc_plot(curves: Sequence[RocCurve], alt: str, name: str = "roc") -> bytes:
    """Draw the ROC curves of several models for one class against the rest.

    Args:
        curves: one for each model.
        alt: as for `forest_plot`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=SQUARE_INCHES)
    axes = figure.subplots(gridspec_kw=MARGINS)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    for curve in curves:
        points = np.array(curve.points, float).reshape(-1, 2)
        area = "" if curve.area is None else f": {curve.area:.3f}"
        axes.plot(
            *points.T, color=series_colour(curve.series), linestyle=DASHES[curve.series % len(DASHES)], linewidth=1.8,
            label=curve.name + area,
        )  # fmt: skip
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xlabel(f"1 {MINUS} specificity", fontsize=FONT_SIZE, color=SOFT)
    axes.set_ylabel("sensitivity", fontsize=FONT_SIZE, color=SOFT)
    style_axes(axes, grid="both")
    legend = axes.legend(
        loc="lower right", fontsize=FONT_SIZE, frameon=False, labelcolor=INK, title="area under the curve",
        title_fontproperties={"size": FONT_SIZE - 1}, handlelength=2.6,
    )  # fmt: skip
    legend.get_title().set_color(SOFT)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
    return to_svg(figure, alt, name)


def reliability_plot(bins: Sequence[Mapping[str, Any]], series: int, alt: str, name: str = "reliability") -> bytes:
    """Draw a reliability diagram: accuracy (y) by confidence (x), with the number of images below.

    Args:
        bins: each with `confidence`, `accuracy` (0 to 1; None where empty) and `n`.
        series: the model's position on the page, which determines its colour.
        alt: as for `forest_plot`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    filled = [one for one in bins if one["n"]]
    confidence, accuracy, images = (
        np.array([one[key] for one in filled], float) for key in ("confidence", "accuracy", "n")
    )
    lower, upper = np.minimum(confidence, accuracy), np.maximum(confidence, accuracy)
    figure = Figure(figsize=(SQUARE_INCHES[0], SQUARE_INCHES[1] + 0.6))
    axes, counts = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True, gridspec_kw=MARGINS)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    colour = series_colour(series)
    axes.vlines(confidence, lower, upper, color=colour, alpha=0.35, linewidth=5)
    axes.plot(confidence, accuracy, color=colour, linewidth=1.4, marker=MARKERS[series % len(MARKERS)], markersize=6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
    axes.set_ylabel("share that is right", fontsize=FONT_SIZE, color=SOFT)
    counts.bar(confidence, images, width=0.03, color=colour)
    counts.set_xlabel("probability of the predicted class", fontsize=FONT_SIZE, color=SOFT)
    counts.set_ylabel("images", fontsize=FONT_SIZE, color=SOFT)
    counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for part in (axes, counts):
        style_axes(part, grid="both")
    figure.align_ylabels([axes, counts])
    return to_svg(figure, alt, name)


def learning_curve(
    history: Sequence[Mapping[str, Any]], measure: str, series: int, alt: str, name: str = "learning"
) -> bytes:
    """Draw a measure over the epochs, in training and in validation.

    Args:
        history: per epoch `{measure}` and `val_{measure}`; a missing or non-numeric value leaves a gap.
        measure: loss or accuracy.
        series: the model's position on the page, which determines its colour.
        alt: as for `forest_plot`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=WIDE_INCHES)
    axes = figure.subplots(gridspec_kw=MARGINS)
    epochs = np.arange(1, len(history) + 1)
    for key, words, colour, dashes in (
        (measure, "training", SOFT, DASHES[1]),
        (f"val_{measure}", "validation", series_colour(series), DASHES[0]),
    ):
        values = [number_or_nan(epoch.get(key)) for epoch in history]
        if not all(math.isnan(value) for value in values):
            marker = MARKERS[series % len(MARKERS)] if key != measure else "."
            axes.plot(
                epochs, values, color=colour, linestyle=dashes, linewidth=1.8, marker=marker, markersize=4, label=words
            )
    axes.set_xlabel("epoch", fontsize=FONT_SIZE, color=SOFT)
    axes.set_ylabel(measure, fontsize=FONT_SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if axes.lines:
        axes.legend(fontsize=FONT_SIZE, frameon=False, labelcolor=INK, handlelength=2.6)
    style_axes(axes, grid="both")
    return to_svg(figure, alt, name)
