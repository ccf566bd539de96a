"""The small plane of fixed size on which a phantom is drawn, and the few shapes that it is drawn with.

All coordinates are in units (see `models.phantoms.anatomy`): the plane is `PLANE_SPAN` units wide, and x is 0 in the
middle. Shapes are float32 planes of (PLANE_SIDE, PLANE_SIDE), 1 inside and 0 outside.
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

PLANE_SIDE = 512
PLANE_SPAN = 1.4
PIXELS_PER_UNIT = PLANE_SIDE / PLANE_SPAN
ORIGIN = np.array([PLANE_SPAN / 2, 0.2])
FIXED_POINT_BITS = 4
"""Fractional bits of OpenCV's fixed-point coordinates: with whole pixels, small differences between patients vanish."""
X, Y = (
    plane.astype(np.float32)
    for plane in np.meshgrid(
        np.arange(PLANE_SIDE) / PIXELS_PER_UNIT - ORIGIN[0], np.arange(PLANE_SIDE) / PIXELS_PER_UNIT - ORIGIN[1]
    )
)
BOTH_SIDES = (-1, 1)
"""Signs of x on the left and on the right of the picture."""


def fill(knots: Points, soft: float = 0.0) -> Plane:
    """Fill a closed curve, then soften its edge."""
    plane = np.zeros((PLANE_SIDE, PLANE_SIDE), np.uint8)
    cv2.fillPoly(plane, [to_fixed_point(smooth_curve(knots, closed=True))], 255, cv2.LINE_AA, FIXED_POINT_BITS)
    return blur(to_unit_range(plane), soft)


def stroke(lines: Sequence[Points], width: float, soft: float = 0.0) -> Plane:
    """Draw smooth curves of equal width through the lines' knots."""
    plane = np.zeros((PLANE_SIDE, PLANE_SIDE), np.uint8)
    draw_lines(plane, [smooth_curve(line, closed=False) for line in lines], width, 255)
    return blur(to_unit_range(plane), soft)


def tube(lines: Sequence[Points], width: float, soft: float) -> Plane:
    """Draw hollow bones, whose rims are denser than their middle."""
    plane = np.zeros((PLANE_SIDE, PLANE_SIDE), np.uint8)
    curves = [smooth_curve(line, closed=False) for line in lines]
    draw_lines(plane, curves, width, 255)
    draw_lines(plane, curves, width / 2, 150)
    return blur(to_unit_range(plane), soft)


def to_unit_range(plane: NDArray[np.uint8]) -> Plane:
    """Scale a uint8 plane to 0 to 1."""
    return np.asarray(plane, np.float32) / np.float32(255)


def draw_lines(plane: NDArray[np.uint8], lines: Sequence[Points] | Points, width: float, value: float) -> None:
    """Draw lines into a uint8 plane in place, without smoothing."""
    thickness = max(1, round(width * PIXELS_PER_UNIT))
    cv2.polylines(
        plane, [to_fixed_point(line) for line in lines], False, int(value), thickness, cv2.LINE_AA, FIXED_POINT_BITS
    )


def mirrored(line: Points) -> list[Points]:
    """Return the line on both sides of the spine."""
    return [line * (side, 1) for side in BOTH_SIDES]


def ellipse(centre: tuple[float, float], radii: tuple[float, float], soft: float = 0.0) -> Plane:
    """Fill an ellipse."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return fill(np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], 1), soft)


def noise(rng: np.random.Generator, cells: int, shape: tuple[int, ...] = (PLANE_SIDE, PLANE_SIDE)) -> Plane:
    """Smooth noise: standard normal values on a grid of `cells` by `cells`, interpolated to the plane."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def blur(plane: Plane, sigma: float) -> Plane:
    """Blur by `sigma` units."""
    if not sigma:
        return plane
    if sigma <= 0.01:  # noqa: PLR2004 - about four pixels; for more, a quarter of the resolution is enough
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma * PIXELS_PER_UNIT), np.float32)
    small = cv2.resize(plane, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * PIXELS_PER_UNIT / 4)
    return np.asarray(cv2.resize(small, (PLANE_SIDE, PLANE_SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def smooth_curve(knots: Points, *, closed: bool) -> Points:
    """Turn a polyline into a curve by cutting its corners (Chaikin's algorithm)."""
    points = np.asarray(knots, np.float64)
    for _ in range(3 if closed else 2):
        after = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def to_fixed_point(points: Points) -> NDArray[np.int32]:
    """Convert points from units to OpenCV's fixed-point pixel coordinates."""
    fixed: NDArray[np.int32] = np.round((points + ORIGIN) * PIXELS_PER_UNIT * 2**FIXED_POINT_BITS).astype(np.int32)
    return fixed
