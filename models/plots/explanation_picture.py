"""Plate: an explanation as one picture, for a slide or a case file.

Radiograph, heat maps, probabilities, and what these are not. Drawn with matplotlib without pyplot, as
`models.plots.curves`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

INK: Final = "#16222c"
SOFT: Final = "#566472"
BAR: Final = "#0072b2"
WARNING: Final = "#ffd23f"
SIDE: Final = 3.1
"""Inches of a panel."""
DOTS: Final = 150
CHARACTERS: Final = 15.5
"""Of small text in an inch."""


def plate(
    panels: Sequence[tuple[str, NDArray[Any]]],
    probabilities: Mapping[str, tuple[float, str]],
    title: str,
    notes: Sequence[str],
    warning: str | None = None,
) -> bytes:
    """Draw an explanation.

    Args:
        panels: what is written above each picture, and the picture: (height, width), or (height, width, 3) with blue
            first; uint8.
        probabilities: by class, in the order shown: the number, and how it is written.
        title: in one line.
        notes: what must be known, one paragraph each, the most important first.
        warning: shown across the top.

    Returns:
        A PNG without metadata.
    """
    width = SIDE * (len(panels) + 1)
    text = _wrapped(notes, width)
    head, below = 0.5 + 0.35 * bool(warning), 0.3 + 0.17 * len(text)
    height = head + SIDE + 0.3 + below
    figure = Figure(figsize=(width, height), dpi=DOTS, facecolor="white")
    if warning:
        figure.text(
            0.5, 1 - 0.2 / height, warning, ha="center", va="center", fontsize=9, fontweight="bold", color=INK,
            backgroundcolor=WARNING, parse_math=False,
        )  # fmt: skip
    figure.text(
        0.12 / width, 1 - (head - 0.22) / height, title, va="center", fontsize=12, fontweight="bold", color=INK,
        parse_math=False,
    )  # fmt: skip
    bottom = below / height
    for place, (words, picture) in enumerate(panels):
        axes = figure.add_axes(((SIDE * place + 0.12) / width, bottom, (SIDE - 0.16) / width, SIDE / height))
        shown = picture[..., ::-1] if picture.ndim > 2 else picture  # noqa: PLR2004 - with colours
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(words, fontsize=9, color=INK, parse_math=False)
    _bars(
        figure.add_axes(((SIDE * len(panels) + 0.3) / width, bottom, (SIDE - 0.5) / width, SIDE / height)),
        probabilities,
    )
    for line, words in enumerate(text):
        figure.text(
            0.12 / width, (below - 0.22 - 0.17 * line) / height, words, va="center", fontsize=8,
            color=SOFT if line else INK, fontweight="normal" if line else "bold", parse_math=False,
        )  # fmt: skip
    written = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(written, metadata={"Software": None})
    return written.getvalue()


def _bars(axes: Axes, probabilities: Mapping[str, tuple[float, str]]) -> None:
    places = range(len(probabilities) - 1, -1, -1)
    axes.barh(list(places), [value for value, _ in probabilities.values()], height=0.32, color=BAR)
    axes.barh(list(places), [1.0] * len(probabilities), height=0.32, color=BAR, alpha=0.1)
    for place, (name, (_, written)) in zip(places, probabilities.items(), strict=True):
        axes.text(0, place + 0.24, name, fontsize=10, color=INK, va="bottom", parse_math=False)
        axes.text(1, place + 0.24, written, fontsize=10, color=INK, va="bottom", ha="right", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(probabilities) - 0.2))
    axes.set_axis_off()


def _wrapped(notes: Sequence[str], width: float) -> list[str]:
    from textwrap import wrap

    return [line for note in notes for line in wrap(note, int(width * CHARACTERS))]
