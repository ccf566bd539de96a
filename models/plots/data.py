"""Plots for the page about labelled images, in the style of `plots.curves`: each class has its marker and colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from models.plots.pictures import LONGER_SIDE, encode_jpeg
from models.plots.svg import DASHES, FONT_SIZE, INK, MARKERS, SERIES, SOFT, style_axes, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from numpy.typing import NDArray

MOST_POINTS: Final = 250
"""Of a class in a scatter plot: more points make the page large and show nothing new."""
FEW_VALUES: Final = 60
"""A box plot of up to this many values shows each value too."""
WHISKERS: Final = (5, 95)
"""Percentiles."""
MAX_WIDTH_INCHES: Final = 4.8
"""Width in inches; a wider drawing would be cut off or too small to read on a phone."""
LEGEND_STYLE: Final[dict[str, Any]] = {"fontsize": FONT_SIZE, "frameon": False, "labelcolor": INK, "handlelength": 2.4}
NO_SERIES: Final = -1
"""The `series` of a group that is no class or finding; it is drawn in grey."""
DIVERGING: Final = "PuOr_r"
"""Orange for lighter, purple for darker: safe for readers who cannot tell red from green (ColorBrewer)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Values of one class or finding; `series` is its position on the page, which determines its marker and colour."""

    name: str
    series: int
    values: Sequence[float]
    others: Sequence[float] = ()
    """The heights in a scatter plot, the second number in a bar chart."""


def class_balance(groups: Sequence[Group], alt: str, name: str = "balance") -> bytes:
    """Draw two bars for each class: its images, and below them, in a lighter shade, its patients.

    Args:
        groups: each with one value (images) and one in `others` (patients).
        alt: alternative text: what the drawing shows.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(MAX_WIDTH_INCHES, 0.55 + 0.6 * len(groups)), layout="constrained")
    axes = figure.subplots()
    largest = max(max(*group.values, *group.others) for group in groups)
    for height, group in zip(range(len(groups))[::-1], groups, strict=True):
        for numbers, shift, alpha, noun in ((group.values, 0.2, 1.0, "images"), (group.others, -0.2, 0.45, "patients")):
            axes.barh(height + shift, numbers[0], height=0.34, color=_colour(group.series), alpha=alpha)
            axes.annotate(
                f"{numbers[0]:,.0f} {noun}", (numbers[0], height + shift), xytext=(5, 0), textcoords="offset points",
                va="center", fontsize=FONT_SIZE, color=INK if noun == "images" else SOFT,
            )  # fmt: skip
    axes.set(xlim=(0, largest * 1.3), ylim=(-0.55, len(groups) - 0.45))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    style_axes(axes, grid="x")
    _label_groups(axes, groups)
    return to_svg(figure, alt, name)


def grey_distributions(groups: Sequence[Group], top: float, alt: str, name: str) -> bytes:
    """Draw the distributions of grey values.

    Args:
        groups: shares of pixels in equally wide grey bins, from black to white.
        top: share at the top of the y axis, from `highest_share`: equal for drawings that stand side by side.
        alt: as for `class_balance`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(3.7, 3.4), layout="constrained")
    axes = figure.subplots()
    for group in groups:
        grey = (np.arange(len(group.values)) + 0.5) / len(group.values)
        axes.plot(
            grey, 100 * np.array(group.values), color=_colour(group.series), linestyle=_dashes(group.series),
            linewidth=1.9, label=group.name,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 112 * top or 1))
    axes.set_xlabel("grey value, 0 black to 1 white", fontsize=FONT_SIZE, color=SOFT)
    axes.set_ylabel(f"% of pixels in each 1/{len(groups[0].values)}", fontsize=FONT_SIZE, color=SOFT)
    style_axes(axes, grid="both")
    _disable_math(figure.legend(loc="outside upper left", ncols=2, **LEGEND_STYLE))
    return to_svg(figure, alt, name)


def highest_share(distributions: Sequence[Sequence[float]]) -> float:
    """Return the largest share outside the two bins at either end, where borders or overexposure hide all the rest."""
    return max(max(shares[2:-2]) for shares in distributions)


def size_scatter(groups: Sequence[Group], alt: str, name: str = "sizes") -> bytes:
    """Draw the images' sizes: a marker for each image at its width and height.

    Args:
        groups: widths and (in `others`) heights in pixels; at most 250 of each group are drawn, evenly spread.
        alt: as for `class_balance`.
        name: unique on its page.

    Returns:
        SVG to embed in a page.
    """
    figure = Figure(figsize=(3.7, 3.5), layout="constrained")
    axes = figure.subplots()
    for group in groups:
        chosen = np.unique(np.linspace(0, len(group.values) - 1, MOST_POINTS).astype(int))
        axes.plot(
            np.array(group.values)[chosen], np.array(group.others)[chosen], _marker(group.series),
            color=_colour(group.series), markersize=5, alpha=0.65, markerfacecolor="none", linestyle="none",
            label=group.name,
        )  # fmt: skip
    axes.set_xlabel("width, pixels", fontsize=FONT_SIZE, color=SOFT)
    axes.set_ylabel("height, pixels", fontsize=FONT_SIZE, color=SOFT)
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    style_axes(axes, grid="both")
    _disable_math(axes.legend(loc="best", **LEGEND_STYLE))
    return to_svg(figure, alt, name)


def box_plot(groups: Sequence[Group], axis: str, alt: str, name: str, *, wide: bool = False) -> bytes:
    """Draw a box for each group: the interquartile range, the median, whiskers from the 5th to the 95th percentile.

    Args:
        groups: their values; a group of up to 60 values shows each value too.
        axis: label of the x axis, with its unit.
        alt: as for `class_balance`.
        name: unique on its page.
        wide: a drawing 4.8 inches wide instead of 3.7.

    Returns:
        SVG to embed in a page.
    """
    size = (MAX_WIDTH_INCHES, 0.7 + 0.5 * len(groups)) if wide else (3.7, max(2.4, 0.9 + 0.55 * len(groups)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    heights = list(range(len(groups)))[::-1]
    for height, group in zip(heights, groups, strict=True):
        colour = _colour(group.series)
        if not group.values:
            axes.annotate("none known", (0.02, height), xycoords=("axes fraction", "data"), va="center",
                          fontsize=FONT_SIZE, color=SOFT)  # fmt: skip
            continue
        line: dict[str, Any] = {"color": colour, "linewidth": 1.6}
        axes.boxplot(
            [list(group.values)], positions=[height], widths=0.55, orientation="horizontal", whis=WHISKERS,
            showfliers=False, manage_ticks=False, boxprops=line, whiskerprops=line, capprops=line,
            medianprops={"color": INK, "linewidth": 2.2},
        )  # fmt: skip
        if len(group.values) <= FEW_VALUES:
            jitter = 0.16 * np.cos(2.4 * np.arange(len(group.values)))  # the same each time
            axes.plot(
                group.values, height + jitter, _marker(group.series), color=colour, markersize=4, alpha=0.6,
                linestyle="none",
            )  # fmt: skip
    axes.set_ylim(-0.6, len(groups) - 0.4)
    axes.margins(x=0.06)
    axes.set_xlabel(axis, fontsize=FONT_SIZE, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    style_axes(axes, grid="x")
    _label_groups(axes, groups)
    return to_svg(figure, alt, name)


def mean_difference_jpeg(mean: NDArray[np.float64], overall_mean: NDArray[np.float64], limit: float) -> bytes:
    """Return a JPEG of a class's mean picture minus the mean of all classes: orange is lighter, purple is darker.

    Args:
        mean: (height, width), grey values.
        overall_mean: the same over all classes.
        limit: difference that gets the deepest colour.
    """
    share = 0.5 + 0.5 * np.clip((mean - overall_mean) / max(limit, 1e-9), -1, 1)
    colours = mpl.colormaps[DIVERGING](share)[..., 2::-1] * 255  # OpenCV expects blue first
    scale = LONGER_SIDE / max(mean.shape)
    return encode_jpeg(np.asarray(cv2.resize(colours.round().astype(np.uint8), None, fx=scale, fy=scale), np.uint8))


def difference_colours(steps: int = 9) -> list[str]:
    """Return the colour scale of `mean_difference_jpeg`, from darker to lighter, as #rrggbb."""
    return [mpl.colors.to_hex(mpl.colormaps[DIVERGING](share)) for share in np.linspace(0, 1, steps)]


def _colour(series: int) -> str:
    return SOFT if series == NO_SERIES else SERIES[series % len(SERIES)]


def _marker(series: int) -> str:
    """A group whose colour repeats has another marker."""
    return MARKERS[(series + series // len(SERIES)) % len(MARKERS)]


def _dashes(series: int) -> Any:
    return DASHES[(series + series // len(SERIES)) % len(DASHES)]


def _label_groups(axes: Axes, groups: Sequence[Group]) -> None:
    axes.set_yticks(range(len(groups))[::-1], [group.name for group in groups])
    for label in axes.get_yticklabels():
        label.set(color=INK, parse_math=False)


def _disable_math(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
