"""Exposure: from the body's attenuation to the brightness of the film. It depends on neither patient nor label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.phantoms.drawing import FIXED_POINT_BITS, ORIGIN, PIXELS_PER_UNIT

if TYPE_CHECKING:
    from models.phantoms.drawing import Plane

_MARKER_SHARE = 0.6
"""Share of films with a side marker."""
_COLLIMATED_SHARE = 0.25
"""Share of films with a dark rim."""

# Lines instead of text: fonts change with the OpenCV version, but the same seed must give the same picture.
_LETTERS = {
    "L": [(0, 0), (0, 1), (0.6, 1)],
    "R": [(0, 1), (0, 0), (0.4, 0), (0.6, 0.12), (0.6, 0.38), (0.4, 0.5), (0, 0.5), (0.25, 0.5), (0.6, 1)],
}


def expose(attenuation: Plane, rng: np.random.Generator, size: tuple[int, int]) -> Plane:
    """Apply a grey-level window and the patient's position, then add detector noise and a side marker.

    Args:
        attenuation: The drawn plane: 0 for air, about 1 for the spine behind the heart.
        rng: Source of everything that differs from one exposure to the next.
        size: Height and width in pixels.

    Returns:
        Brightness within 0 to 1, shape (height, width).
    """
    gain, middle = np.float32(rng.uniform(3.4, 5.2)), np.float32(rng.uniform(0.33, 0.46))
    floor, ceiling = np.float32(rng.uniform(0.01, 0.06)), np.float32(rng.uniform(0.88, 0.99))
    air = 1 / (1 + np.exp(gain * middle))
    film = np.clip((1 / (1 + np.exp(-gain * (attenuation - middle))) - 0.85 * air) / (1 - air), 0, 1)
    film = floor + (ceiling - floor) * film ** np.float32(rng.uniform(0.85, 1.2))

    height, width = size
    short = min(size)
    centre = (ORIGIN + rng.normal(0, 0.015, 2) + (0, 0.48)) * PIXELS_PER_UNIT
    transform = cv2.getRotationMatrix2D(
        tuple(centre), rng.normal(0, 2.0), short / PIXELS_PER_UNIT * rng.uniform(0.96, 1.10)
    )
    transform[:, 2] += (width / 2 - centre[0], height / 2 - centre[1])
    # The outermost rows are repeated outside the plane: an image that is taller than wide shows more belly, not a hole.
    border = cv2.BORDER_REPLICATE
    picture = np.asarray(
        cv2.warpAffine(film, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=border), np.float32
    )
    # Uniform instead of Gaussian noise: the difference is invisible, and it is drawn ten times as fast.
    grain = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(size)
    picture += (grain - np.float32(127.5)) * np.float32(rng.uniform(0.003, 0.009) / 74)
    if rng.random() < _MARKER_SHARE:
        _burn_in_marker(picture, rng)
    if rng.random() < _COLLIMATED_SHARE:
        edge = max(1, int(short * rng.uniform(0.01, 0.03)))
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), float(floor), 2 * edge)
    return np.clip(picture, 0, 1, out=picture)


def _burn_in_marker(picture: Plane, rng: np.random.Generator) -> None:
    """Burn a side marker into an upper corner: L on the right of the picture, R on the left."""
    height, width = picture.shape
    letter, x = ("L", 0.93) if rng.integers(2) else ("R", 0.03)
    letter_height = min(height, width) * rng.uniform(0.03, 0.05)
    corner = np.array((width * x, height * rng.uniform(0.03, 0.12)))
    marker = np.zeros((height, width), np.uint8)
    points = np.round((np.array(_LETTERS[letter]) * letter_height + corner) * 2**FIXED_POINT_BITS).astype(np.int32)
    cv2.polylines(marker, [points], False, 255, max(1, round(letter_height / 7)), cv2.LINE_AA, FIXED_POINT_BITS)
    picture[marker > 0] += (0.95 - picture[marker > 0]) * (marker[marker > 0] / np.float32(255))
