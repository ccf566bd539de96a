"""Pictures for people: small radiographs, and radiographs with a heat map over them, such as Grad-CAM's.

The hotter a place, the more opaque its colour, from matplotlib's `inferno`, which is readable by lightness alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2
import matplotlib as mpl
import numpy as np

from models.radiographs.preprocessing import crop_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.radiographs.preprocessing import PreprocessingSpec


LONGER_SIDE: Final = 288
"""Of a small picture, in pixels."""
OPACITY: Final = 0.6
COLDEST: Final = 0.25
HOTTEST: Final = 0.9
"""The part of the colour map in use: over the lungs its dark end would look like shadow, its pale end greenish."""
UNSEEN_BRIGHTNESS: Final = 0.35
"""Remaining brightness of the parts that the model does not see."""
JPEG_QUALITY: Final = 84


def with_heat_overlay(grey: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Lay a heat map over a picture.

    Args:
        grey: (height, width).
        heat: (h, w) of any size, 0 to 1.

    Returns:
        (height, width, 3), blue first as OpenCV expects it.
    """
    resized = cv2.resize(np.nan_to_num(heat).astype(np.float32), grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    resized = np.clip(resized, 0, 1)
    colours = mpl.colormaps["inferno"](COLDEST + (HOTTEST - COLDEST) * resized)[..., 2::-1] * 255
    opacity = OPACITY * resized[..., None]
    blended: NDArray[np.uint8] = (colours * opacity + grey[..., None] * (1 - opacity)).round().astype(np.uint8)
    return blended


def heat_overlay_on_thumbnail(thumbnail: bytes, heat: NDArray[np.floating[Any]], spec: PreprocessingSpec) -> bytes:
    """Lay a heat map over a picture of the whole radiograph, and darken the parts that the model does not see.

    Args:
        thumbnail: JPEG of the whole radiograph, of any size.
        heat: (h, w), 0 to 1, over the region that preprocessing keeps.
        spec: the model's.

    Returns:
        A JPEG of the same size.
    """
    grey = np.asarray(cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
    height, width = grey.shape
    rows, columns = crop_slices(height, width, spec)
    picture = np.repeat((grey * UNSEEN_BRIGHTNESS).astype(np.uint8)[..., None], 3, axis=2)
    picture[rows, columns] = with_heat_overlay(grey[rows, columns], heat)
    return encode_jpeg(picture)


def radiograph_jpeg(image: NDArray[np.uint8], longer_side: int = LONGER_SIDE) -> bytes:
    """Return a small grey JPEG of a preprocessed image, (height, width) or (height, width, channels)."""
    return encode_jpeg(shrink_to_grey(image, longer_side))


def heat_overlay_jpeg(
    image: NDArray[np.uint8], heat: NDArray[np.floating[Any]], longer_side: int = LONGER_SIDE
) -> bytes:
    """Return a small JPEG of a preprocessed image with a heat map over it.

    Args:
        image: (height, width) or (height, width, channels).
        heat: (h, w) of any size, 0 to 1; see `with_heat_overlay`.
        longer_side: maximum of the picture's longer side, in pixels.
    """
    return encode_jpeg(with_heat_overlay(shrink_to_grey(image, longer_side), heat))


def shrink_to_grey(image: NDArray[np.uint8], longer_side: int) -> NDArray[np.uint8]:
    """Return a preprocessed image as grey (height, width), shrunk until no side exceeds `longer_side` pixels."""
    grey = np.asarray(image)
    grey = grey.mean(axis=2).round().astype(np.uint8) if grey.ndim > 2 else grey  # noqa: PLR2004 - with channels
    scale = min(1.0, longer_side / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(grey), size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels, (height, width) or (height, width, 3) with blue first, as a JPEG."""
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(encoded)
