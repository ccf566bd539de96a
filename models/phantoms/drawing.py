"""The small plane of fixed size on which a phantom is drawn, and the few shapes that it is drawn with.

All coordinates are in units (see `models.phantoms.anatomy`): the plane is `SPAN` units wide, and x is 0 in the middle.
Shapes are float32 planes of (SIDE, SIDE), 1 inside and 0 outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]
    Points = NDArray[np.float64]

SIDE = 512
SPAN = 1.4
SCALE = SIDE / SPAN
ORIGIN = np.array([SPAN / 2, 0.2])
SHIFT = 4
"""Fractional bits of OpenCV's fixed-point coordinates: with whole pixels, small differences between patients vanish."""
X, Y = (
    plane.astype(np.float32)
    for plane in np.meshgrid(np.arange(SIDE) / SCALE - ORIGIN[0], np.arange(SIDE) / SCALE - ORIGIN[1])
)
SIDES = (-1, 1)
"""Signs of x on the left and on the right of the picture."""


def fill(knots: Points, soft: float = 0.0) -> Plane:
    """Fill a closed curve, then soften its edge."""
    plane = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(plane, [pixels(smooth(knots, closed=True))], 255, cv2.LINE_AA, SHIFT)
    return blur(unit(plane), soft)


def stroke(lines: Sequence[Points], width: float, soft: float = 0.0) -> Plane:
    """Draw smooth curves of equal width through the lines' knots."""
    plane = np.zeros((SIDE, SIDE), np.uint8)
    trace(plane, [smooth(line, closed=False) for line in lines], width, 255)
    return blur(unit(plane), soft)


def tube(lines: Sequence[Points], width: float, soft: float) -> Plane:
    """Draw hollow bones, whose rims are denser than their middle."""
    plane = np.zeros((SIDE, SIDE), np.uint8)
    curves = [smooth(line, closed=False) for line in lines]
    trace(plane, curves, width, 255)
    trace(plane, curves, width / 2, 150)
    return blur(unit(plane), soft)


def unit(plane: NDArray[np.uint8]) -> Plane:
    """Scale a uint8 plane to 0 to 1."""
    return np.asarray(plane, np.float32) / np.float32(255)


def trace(plane: NDArray[np.uint8], lines: Sequence[Points] | Points, width: float, value: float) -> None:
    """Draw lines into a uint8 plane in place, without smoothing."""
    thickness = max(1, round(width * SCALE))
    cv2.polylines(plane, [pixels(line) for line in lines], False, int(value), thickness, cv2.LINE_AA, SHIFT)


def pair(line: Points) -> list[Points]:
    """Return the line on both sides of the spine."""
    return [line * (side, 1) for side in SIDES]


def ellipse(centre: tuple[float, float], radii: tuple[float, float], soft: float = 0.0) -> Plane:
    """Fill an ellipse."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return fill(np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], 1), soft)


def noise(rng: np.random.Generator, cells: int, shape: tuple[int, ...] = (SIDE, SIDE)) -> Plane:
    """Smooth noise: standard normal values on a grid of `cells` by `cells`, interpolated to the plane."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def blur(plane: Plane, sigma: float) -> Plane:
    """Blur by `sigma` units."""
    if not sigma:
        return plane
    if sigma <= 0.01:  # noqa: PLR2004 - about four pixels; for more, a quarter of the resolution is enough
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma * SCALE), np.float32)
    small = cv2.resize(plane, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * SCALE / 4)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def smooth(knots: Points, *, closed: bool) -> Points:
    """Turn a polyline into a curve by cutting its corners (Chaikin's algorithm)."""
    points = np.asarray(knots, np.float64)
    for _ in range(3 if closed else 2):
        after = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def pixels(points: Points) -> NDArray[np.int32]:
    """Convert points from units to OpenCV's fixed-point pixel coordinates."""
    fixed: NDArray[np.int32] = np.round((points + ORIGIN) * SCALE * 2**SHIFT).astype(np.int32)
    return fixed
