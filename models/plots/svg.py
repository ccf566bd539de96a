"""What all plots share: colours, sizes, the style of axes, and the conversion of figures to SVG."""

from __future__ import annotations

import html
import io
import math
import re
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK: Final = "#16222c"
SOFT: Final = "#566472"
GRID: Final = "#dde3e8"
SERIES: Final = ("#0072b2", "#d55e00", "#009e73", "#a4578a", "#b07d00")
MARKERS: Final = ("o", "s", "^", "D", "v")
DASHES: Final = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.6, 1.4, 1.6)), (0, (9, 3)))
CSS_VARIABLES: Final = {INK: "--ink", SOFT: "--soft", GRID: "--line"} | {
    colour: f"--series-{series}" for series, colour in enumerate(SERIES)
}
"""The page's CSS custom property for each colour."""
MINUS: Final = "\N{MINUS SIGN}"
SQUARE_INCHES: Final = (3.5, 3.5)
WIDE_INCHES: Final = (3.9, 2.9)
MARGINS: Final = {"left": 0.15, "right": 0.97, "bottom": 0.15, "top": 0.97}
"""Edges of the axes as shares of a drawing's size; letting matplotlib find them takes a third of the drawing time."""
FONT_SIZE: Final = 9
_FONT: Final = re.compile(r"'DejaVu Sans'[^;\"]*")
_GLOBAL_STYLE: Final = re.compile(r"<defs>\s*<style.*?</defs>\s*", re.DOTALL)


def series_colour(series: int) -> str:
    """Return the colour of the series at a position on the page."""
    return SERIES[series % len(SERIES)]


def number_or_nan(value: object) -> float:
    """Return a number as it is, and NaN for anything else, which leaves a gap in a line."""
    return float(value) if isinstance(value, int | float) else math.nan


def style_axes(axes: Axes, grid: str) -> None:
    """Style axes plainly: no frame, a light grid, small text."""
    for side in ("top", "right", "left") if grid == "x" else ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)
    axes.tick_params(labelsize=FONT_SIZE, colors=SOFT, length=0 if grid == "x" else 3)
    axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def to_svg(figure: Figure, alt: str, name: str) -> bytes:
    """Return a figure as SVG to embed in a page: ids prefixed with `name`, no prolog, the page's font and colours."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    buffer = io.BytesIO()
    # With the salt, equal figures give equal bytes; without it the ids are random.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawing = buffer.getvalue().decode()
    drawing = drawing[drawing.index("<svg") :]
    drawing = _FONT.sub("system-ui, sans-serif", _GLOBAL_STYLE.sub("", drawing))
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawing)
    for colour, variable in CSS_VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable}, {colour})")
    label = f'<svg role="img" aria-label="{html.escape(alt)}"'
    return drawing.replace("<svg", label, 1).encode()
