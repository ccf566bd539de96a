"""An explanation as one picture, for a slide or a case file: radiograph, heat maps, probabilities and caveats.

Drawn with matplotlib without pyplot, as in `models.plots.curves`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.plots.svg import INK, SERIES, SOFT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

WARNING_COLOUR: Final = "#ffd23f"
PANEL_INCHES: Final = 3.1
"""Side of a panel in inches."""
DOTS_PER_INCH: Final = 150
"""Dots per inch."""
CHARACTERS_PER_INCH: Final = 15.5
"""Characters of small text per inch."""


def draw_explanation(
    panels: Sequence[tuple[str, NDArray[Any]]],
    probabilities: Mapping[str, tuple[float, str]],
    title: str,
    notes: Sequence[str],
    warning: str | None = None,
) -> bytes:
    """Draw an explanation.

    Args:
        panels: (caption, picture) each; a picture is uint8, (height, width) or (height, width, 3) with blue first.
        probabilities: by class, in the order shown: the number, and the text shown for it.
        title: one line.
        notes: caveats, one paragraph each, the most important first.
        warning: shown across the top.

    Returns:
        A PNG without metadata.
    """
    width = PANEL_INCHES * (len(panels) + 1)
    lines = _wrap(notes, width)
    head, foot = 0.5 + 0.35 * bool(warning), 0.3 + 0.17 * len(lines)
    height = head + PANEL_INCHES + 0.3 + foot
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    if warning:
        figure.text(
            0.5, 1 - 0.2 / height, warning, ha="center", va="center", fontsize=9, fontweight="bold", color=INK,
            backgroundcolor=WARNING_COLOUR, parse_math=False,
        )  # fmt: skip
    figure.text(
        0.12 / width, 1 - (head - 0.22) / height, title, va="center", fontsize=12, fontweight="bold", color=INK,
        parse_math=False,
    )  # fmt: skip
    bottom = foot / height
    for column, (caption, picture) in enumerate(panels):
        axes = figure.add_axes(
            ((PANEL_INCHES * column + 0.12) / width, bottom, (PANEL_INCHES - 0.16) / width, PANEL_INCHES / height)
        )
        rgb = picture[..., ::-1] if picture.ndim > 2 else picture  # noqa: PLR2004 - with colours
        axes.imshow(rgb, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(caption, fontsize=9, color=INK, parse_math=False)
    _draw_bars(
        figure.add_axes(
            ((PANEL_INCHES * len(panels) + 0.3) / width, bottom, (PANEL_INCHES - 0.5) / width, PANEL_INCHES / height)
        ),
        probabilities,
    )
    for number, line in enumerate(lines):
        figure.text(
            0.12 / width, (foot - 0.22 - 0.17 * number) / height, line, va="center", fontsize=8,
            color=SOFT if number else INK, fontweight="normal" if number else "bold", parse_math=False,
        )  # fmt: skip
    png = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(png, metadata={"Software": None})
    return png.getvalue()


def _draw_bars(axes: Axes, probabilities: Mapping[str, tuple[float, str]]) -> None:
    heights, colour = range(len(probabilities) - 1, -1, -1), SERIES[0]
    axes.barh(list(heights), [value for value, _ in probabilities.values()], height=0.32, color=colour)
    axes.barh(list(heights), [1.0] * len(probabilities), height=0.32, color=colour, alpha=0.1)
    for height, (name, (_, text)) in zip(heights, probabilities.items(), strict=True):
        axes.text(0, height + 0.24, name, fontsize=10, color=INK, va="bottom", parse_math=False)
        axes.text(1, height + 0.24, text, fontsize=10, color=INK, va="bottom", ha="right", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(probabilities) - 0.2))
    axes.set_axis_off()


def _wrap(notes: Sequence[str], width: float) -> list[str]:
    from textwrap import wrap

    return [line for note in notes for line in wrap(note, int(width * CHARACTERS_PER_INCH))]
