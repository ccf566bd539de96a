"""Plots for the pages about models: SVG drawings in the page's colours, and JPEG pictures of radiographs.

Drawn with matplotlib's object-oriented interface, without pyplot: nothing global is kept and no display is needed.
Text stays text, in the page's own font. The colours are names of the page's style (CSS custom properties) with the
light ones as fallback, so a drawing is readable on a dark page and on paper too. Series differ in shape and in dashes
as well as in colour (Okabe and Ito, 2008), for readers who do not tell colours apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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


JPEG_QUALITY: Final = 84


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of a forest plot: a difference with its interval; `strong` for the one that decides."""

    name: str
    value: float
    low: float
    high: float
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One model's ROC curve: points (1 - specificity, sensitivity), and the area with three decimals beside its name.

    `place` is the model's on the page, which gives its shape and colour; 0 is the champion.
    """

    name: str
    place: int
    points: Sequence[Sequence[float]]
    area: float | None


def forest(rows: Sequence[Difference], alt: str, axis: str, place: int = 1, name: str = "forest") -> bytes:
    """Draw differences with their intervals around zero, and their figures beside them.

    An interval that leaves zero out has a filled mark, one that holds zero an open one.

    Args:
        rows: from top to bottom.
        alt: what the drawing shows, for those who do not see it.
        axis: what the axis says: the measure and which side is better.
        place: the challenger's place on the page, which gives its shape and colour.
        name: unique on its page.

    Returns:
        SVG for use inside a page.
    """
    figure = Figure(figsize=(7.4, 0.75 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places, colour, mark = np.arange(len(rows))[::-1], _colour(place), MARKERS[place % len(MARKERS)]
    for height, row in zip(places, rows, strict=True):
        clear = row.low > 0 or row.high < 0
        axes.plot([row.low, row.high], [height, height], color=colour, linewidth=3 if row.strong else 1.8)
        axes.plot(
            row.value, height, mark, color=colour, markersize=8 if row.strong else 6,
            markerfacecolor=colour if clear else "none", markeredgewidth=1.6,
        )  # fmt: skip
        figures = f"{row.value:+.3f}  ({row.low:+.3f} to {row.high:+.3f})".replace("-", MINUS)
        weight = "bold" if row.strong else "normal"
        axes.annotate(
            figures, (1.02, height), xycoords=("axes fraction", "data"), va="center", fontsize=SIZE, color=INK,
            fontweight=weight,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    reach = max([abs(edge) for row in rows for edge in (row.low, row.high)], default=0.01) * 1.08 or 0.01
    axes.set(xlim=(-reach, reach), ylim=(-0.6, len(rows) - 0.4))
    axes.set_yticks(places, [row.name for row in rows])
    axes.set_xlabel(axis, fontsize=SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    plain(axes, grid="x")
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color=INK, fontweight="bold" if row.strong else "normal", parse_math=False)
    return svg(figure, alt, name)


def roc(curves: Sequence[Curve], alt: str, name: str = "roc") -> bytes:
    """Draw the ROC curves of several models for one class against the rest.

    Args:
        curves: the models' curves.
        alt: as in `forest`.
        name: unique on its page.

    Returns:
        SVG for use inside a page.
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
        text.set_parse_math(False)  # a name may hold a dollar sign
    return svg(figure, alt, name)


def reliability(bins: Sequence[Mapping[str, Any]], place: int, alt: str, name: str = "reliability") -> bytes:
    """Draw how often a model is right (y) where it is so sure (x), and below how many images there are.

    Args:
        bins: each with `confidence`, `accuracy` (0 to 1; None where empty) and `n`.
        place: the model's place on the page, which gives its colour.
        alt: as in `forest`.
        name: unique on its page.

    Returns:
        SVG for use inside a page.
    """
    filled = [one for one in bins if one["n"]]
    sure, right, images = (np.array([one[key] for one in filled], float) for key in ("confidence", "accuracy", "n"))
    figure = Figure(figsize=(SQUARE[0], SQUARE[1] + 0.6))
    axes, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True, gridspec_kw=MARGINS)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (2, 2)))
    colour = _colour(place)
    axes.vlines(sure, np.minimum(sure, right), np.maximum(sure, right), color=colour, alpha=0.35, linewidth=5)
    axes.plot(sure, right, color=colour, linewidth=1.4, marker=MARKERS[place % len(MARKERS)], markersize=6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
    axes.set_ylabel("share that is right", fontsize=SIZE, color=SOFT)
    below.bar(sure, images, width=0.03, color=colour)
    below.set_xlabel("probability of the predicted class", fontsize=SIZE, color=SOFT)
    below.set_ylabel("images", fontsize=SIZE, color=SOFT)
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    for part in (axes, below):
        plain(part, grid="both")
    figure.align_ylabels([axes, below])
    return svg(figure, alt, name)


def learning_curve(
    history: Sequence[Mapping[str, Any]], measure: str, place: int, alt: str, name: str = "learning"
) -> bytes:
    """Draw a measure over the epochs, in training and in validation.

    Args:
        history: per epoch `{measure}` and `val_{measure}`; what is missing or no number leaves a gap.
        measure: loss or accuracy.
        place: the model's place on the page, which gives its colour.
        alt: as in `forest`.
        name: unique on its page.

    Returns:
        SVG for use inside a page.
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
            mark = MARKERS[place % len(MARKERS)] if key != measure else "."
            axes.plot(
                epochs, values, color=colour, linestyle=dashes, linewidth=1.8, marker=mark, markersize=4, label=words
            )
    axes.set_xlabel("epoch", fontsize=SIZE, color=SOFT)
    axes.set_ylabel(measure, fontsize=SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if axes.lines:
        axes.legend(fontsize=SIZE, frameon=False, labelcolor=INK, handlelength=2.6)
    plain(axes, grid="both")
    return svg(figure, alt, name)
