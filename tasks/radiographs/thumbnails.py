"""Thumbnails: small grey pictures of the images on a report's contact sheets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tasks.radiographs.fetching import read_radiograph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.radiograph import Limits, Pixels
    from tasks.radiographs.fetching import Reference

LONGER_SIDE = 200
JPEG_QUALITY = 82
WORKERS = 4


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A JPEG, or the reason why there is none."""

    jpeg: bytes | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class HeatMaps:
    """Heat maps of some of the images, or the reason why there are none."""

    overlays: Mapping[int, bytes]
    """JPEGs by image id: the thumbnail, overlaid with the heat map for the predicted class."""
    note: str | None = None


def thumbnails(
    store: Store, references: Iterable[Reference], limits: Limits, workers: int = WORKERS
) -> dict[int, Thumbnail]:
    """Fetch and shrink images, a few at a time to bound memory.

    Returns:
        A thumbnail, or the reason why there is none, by image id.

    Raises:
        StorageError: the store as a whole is unreachable.
    """
    wanted = {reference.image_id: reference for reference in references}
    with ThreadPoolExecutor(workers, thread_name_prefix="thumbnails") as executor:
        made = executor.map(lambda reference: thumbnail(store, reference, limits), wanted.values())
        return dict(zip(wanted, made, strict=True))


def thumbnail(store: Store, reference: Reference, limits: Limits) -> Thumbnail:
    """Fetch and shrink one image; see `thumbnails`."""
    found = read_radiograph(reference.in_store(store), limits, shrink)
    if found.too_large:
        return Thumbnail(problem="too large to be fetched")
    return Thumbnail(found.prepared, found.problem)


def shrink(pixels: Pixels, longer_side: int = LONGER_SIDE) -> bytes:
    """Return a small grey JPEG of pixels (height, width) with the same aspect ratio.

    8-bit grey values stay as they are, so that a pale image looks pale. 16-bit values are stretched to the full range.
    """
    height, width = pixels.shape
    scale = min(1.0, longer_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = _eight_bits(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(encoded)


def _eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    wide = pixels.astype(np.float32)
    low, high = float(wide.min()), float(wide.max())
    return ((wide - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
