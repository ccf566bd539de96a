"""Preprocessing: the single function that turns pixels into the model's input, for training and scoring.

The specification is stored with each model version and read back by the scorer. Size, format and colour depth of the
file leave no trace: every image is cropped to the same aspect, resized, and stretched between the same percentiles.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

import numpy as np

from models.radiographs.histogram import histogram
from models.radiographs.opencv import cv2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.radiographs.histogram import Counts
    from models.radiographs.radiograph import Pixels

Crop = Literal["centre", "none", "chest"]
Equalisation = Literal["none", "clahe", "local"]
CHEST_SHARE: Final = 0.8
"""Share of height and width that the chest crop keeps. Shoulders, arms and most burnt-in marks are outside."""
EQUALISATION_RADIUS: Final = 70
"""Radius of the disk for local equalisation, in pixels of the model's input, as in the Harrisburg report."""


@dataclass(frozen=True, slots=True)
class PreprocessingSpec:
    """The steps applied to each image. Equal specifications have equal hashes."""

    height: int = 224
    width: int = 224
    channels: int = 1
    crop: Crop = "centre"
    """centre: the largest centred rectangle with the target's aspect ratio, so that no image is distorted; none: no
    crop, resizing may distort; chest: the middle of `centre`, see `CHEST_SHARE`."""
    low_percentile: float = 0.5
    high_percentile: float = 99.5
    """Grey values at these percentiles of the resized image become 0 and 255, to remove exposure and bit depth."""
    equalisation: Equalisation = "none"
    """clahe: contrast-limited adaptive histogram equalisation, clip limit 2, 8x8 tiles; local: equalisation over a
    disk around each pixel, see `EQUALISATION_RADIUS`, with scikit-image's rank filter."""

    def __post_init__(self) -> None:
        for name, known in (("crop", Crop), ("equalisation", Equalisation)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"preprocessing: {name} must be one of {get_args(known)}, not {getattr(self, name)!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one preprocessed image: (height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def hash(self) -> str:
        """First 16 hex digits of the sha256 of the specification's canonical JSON."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a specification from the result of `to_dict`; an unknown or missing name raises ValueError."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            difference = sorted(set(values) ^ expected)
            raise ValueError(f"its preprocessing specification has other fields than this code's: {difference}")
        return cls(**values)


def preprocess(pixels: Pixels, spec: PreprocessingSpec) -> NDArray[np.uint8]:
    """Turn grey pixels into the model's input.

    Args:
        pixels: (height, width), uint8 or uint16, any size.
        spec: the steps.

    Returns:
        uint8 array of shape `spec.shape`; grey is repeated for a model with three channels.
    """
    height, width = pixels.shape
    rows, columns = crop_slices(height, width, spec)
    resized = _resize(pixels[rows, columns], spec.height, spec.width)
    low, high = _percentiles(histogram(resized), spec.low_percentile, spec.high_percentile)
    scale = 255.0 / max(high - low, 1)

    def stretch(grey: NDArray[Any]) -> NDArray[np.uint8]:
        stretched: NDArray[np.uint8] = np.clip((grey.astype(np.float32) - low) * scale + 0.5, 0, 255).astype(np.uint8)
        return stretched

    if resized.dtype == np.uint8:  # a lookup table is faster than computing each pixel
        stretched = cast("NDArray[np.uint8]", cv2.LUT(resized, stretch(np.arange(256))))
    else:
        stretched = stretch(resized)
    if spec.equalisation == "clahe":
        stretched = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(stretched)  # type: ignore[assignment]
    elif spec.equalisation == "local":
        from skimage.filters import rank
        from skimage.morphology import disk

        stretched = rank.equalize(stretched, disk(EQUALISATION_RADIUS))
    grey = stretched[:, :, None]
    return grey if spec.channels == 1 else np.repeat(grey, spec.channels, axis=2)


def crop_slices(height: int, width: int, spec: PreprocessingSpec) -> tuple[slice, slice]:
    """Return the rows and columns of an image of this size that the crop keeps."""
    if spec.crop == "none":
        return slice(0, height), slice(0, width)
    rows, columns = _centre(height, width, spec.width / spec.height)
    return (_chest_part(rows), _chest_part(columns)) if spec.crop == "chest" else (rows, columns)


def _chest_part(whole: slice) -> slice:
    """The middle part of a slice that the chest crop keeps."""
    size = whole.stop - whole.start
    kept = max(1, round(size * CHEST_SHARE))
    start = whole.start + (size - kept) // 2
    return slice(start, start + kept)


def _centre(height: int, width: int, aspect: float) -> tuple[slice, slice]:
    """Rows and columns of the largest centred rectangle with an aspect ratio (width over height)."""
    if width > height * aspect:
        kept = max(1, round(height * aspect))
        left = (width - kept) // 2
        return slice(0, height), slice(left, left + kept)
    kept = max(1, round(width / aspect))
    top = (height - kept) // 2
    return slice(top, top + kept), slice(0, width)


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize by repeated halving, as in a mipmap (Williams, 1983), then by bilinear interpolation.

    The remaining factor is below two, so bilinear interpolation reads every pixel. This takes a third of the time of
    area averaging in one step. Halving drops an odd last row or column.
    """
    while pixels.shape[0] >= 2 * height and pixels.shape[1] >= 2 * width:
        size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = cv2.resize(pixels[: 2 * size[1], : 2 * size[0]], size, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)


def _percentiles(counts: Counts, low: float, high: float) -> tuple[int, int]:
    cumulative = np.cumsum(counts)
    bounds = np.searchsorted(cumulative, cumulative[-1] * np.array([low, high]) / 100)
    return int(bounds[0]), int(bounds[1])
