"""Exposure: from what the body lets through to what the film shows. Knows nothing of the patient or the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.phantoms.drawing import ORIGIN, SCALE, SHIFT

if TYPE_CHECKING:
    from models.phantoms.drawing import Plane

_MARKED = 0.6
"""Share of films with a side marker."""
_COLLIMATED = 0.25
"""Share of films with a dark rim."""

# As lines, not as text: fonts change with the OpenCV version, and the same seed should give the same picture.
_LETTERS = {
    "L": [(0, 0), (0, 1), (0.6, 1)],
    "R": [(0, 1), (0, 0), (0.4, 0), (0.6, 0.12), (0.6, 0.38), (0.4, 0.5), (0, 0.5), (0.25, 0.5), (0.6, 1)],
}


def expose(attenuation: Plane, rng: np.random.Generator, size: tuple[int, int]) -> Plane:
    """Choose a window, place the patient in front of the detector, add the detector's noise and a side marker.

    Args:
        attenuation: What the canvas holds: 0 for air, about 1 for the spine behind the heart.
        rng: Decides on all that differs from one exposure to the next.
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
    centre = (ORIGIN + rng.normal(0, 0.015, 2) + (0, 0.48)) * SCALE
    place = cv2.getRotationMatrix2D(tuple(centre), rng.normal(0, 2.0), short / SCALE * rng.uniform(0.96, 1.10))
    place[:, 2] += (width / 2 - centre[0], height / 2 - centre[1])
    # The scene's outermost rows go on outside it: an image that is taller than wide shows more belly, not a hole.
    rim = cv2.BORDER_REPLICATE
    picture = np.asarray(
        cv2.warpAffine(film, place, (width, height), flags=cv2.INTER_CUBIC, borderMode=rim), np.float32
    )
    # Flat rather than bell-shaped noise: no one sees the difference, and it is drawn ten times as fast.
    grain = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(size)
    picture += (grain - np.float32(127.5)) * np.float32(rng.uniform(0.003, 0.009) / 74)
    if rng.random() < _MARKED:
        _mark(picture, rng)
    if rng.random() < _COLLIMATED:
        edge = max(1, int(short * rng.uniform(0.01, 0.03)))
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), float(floor), 2 * edge)
    return np.clip(picture, 0, 1, out=picture)


def _mark(picture: Plane, rng: np.random.Generator) -> None:
    """Burn a side marker into an upper corner: L on the right of the picture, R on the left."""
    height, width = picture.shape
    letter, x = ("L", 0.93) if rng.integers(2) else ("R", 0.03)
    tall = min(height, width) * rng.uniform(0.03, 0.05)
    corner = np.array((width * x, height * rng.uniform(0.03, 0.12)))
    lead = np.zeros((height, width), np.uint8)
    points = np.round((np.array(_LETTERS[letter]) * tall + corner) * 2**SHIFT).astype(np.int32)
    cv2.polylines(lead, [points], False, 255, max(1, round(tall / 7)), cv2.LINE_AA, SHIFT)
    picture[lead > 0] += (0.95 - picture[lead > 0]) * (lead[lead > 0] / np.float32(255))
