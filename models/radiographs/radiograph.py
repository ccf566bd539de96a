"""One radiograph: from the bytes of a file to grey pixels and a measurement, or the reason why there are no pixels.

Pillow detects the format from the content (it reads headers lazily), and the limits are checked against the header
before any pixel is decoded. OpenCV decodes, because it releases the GIL. It accepts truncated files, so completeness is
checked first: PNG by its chunks' checksums, JPEG by its end-of-image marker.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from models.radiographs import png
from models.radiographs.histogram import histogram, statistics
from models.radiographs.opencv import cv2
from models.vocabulary import PHANTOM_MARKER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[Any]
    """Grey pixels (height, width), uint8 or uint16."""

# Pillow's own limit would raise before the size is known; ours is checked against the header below.
Image.MAX_IMAGE_PIXELS = None

FORMATS: Final = ("PNG", "JPEG")
DICOM_MARK: Final = (slice(128, 132), b"DICM")
"""The prefix that follows a DICOM file's preamble (DICOM part 10, 7.1). Pillow does not know the format."""
FORMAT_ALIASES: Final = {"MPO": "JPEG"}
"""MPO is a JPEG with further pictures after the first (CIPA DC-007), from phones and scanners; the first is read."""
JPEG_END: Final = b"\xff\xd9"
ORIENTATION_TAG: Final = 0x0112
PNG_DEPTH_OFFSET: Final = 24  # signature (8) + IHDR's length, type, width and height (16): ISO/IEC 15948, 11.2.2
COLOUR_CHANNELS: Final = 3
MIN_MEASURED_ROWS: Final = 128
"""Minimum number of rows for grey statistics, if the image has as many: enough for all expectations."""
BLOCK_ROWS: Final = 256
"""Rows composited over black at a time: the float32 products of a whole image would be several times its size."""

# EXIF 2.3, tag Orientation: what to do to the stored pixels to see the image upright.
ORIENTATION_STEPS: Final[dict[int, tuple[int | None, int | None]]] = {  # (rotate code, flip code)
    2: (None, 1),
    3: (cv2.ROTATE_180, None),
    4: (None, 0),
    5: (cv2.ROTATE_90_CLOCKWISE, 1),
    6: (cv2.ROTATE_90_CLOCKWISE, None),
    7: (cv2.ROTATE_90_COUNTERCLOCKWISE, 1),
    8: (cv2.ROTATE_90_COUNTERCLOCKWISE, None),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest file that is fetched, and the largest image that is decoded."""

    max_bytes: int = 64 * 1024**2
    max_pixels: int = 64_000_000

    def too_large(self, n_bytes: int) -> str | None:
        """Return why a file of this many bytes is refused; None if it is not."""
        if n_bytes <= self.max_bytes:
            return None
        return f"the file has {n_bytes:,} bytes, more than the limit of {self.max_bytes:,}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurement of one file. Fields that could not be measured are None.

    Grey statistics are in units of the full grey range (0..1), over evenly spaced rows of the decoded image at full
    resolution (all rows up to 255, at least 128 above). For 16-bit images, many of which use only 12 bits, the range is
    that between the 0.5th and the 99.5th percentile of the pixels, and values beyond it are clipped: burnt-in text must
    not make an image look dark.
    """

    n_bytes: int
    sha256: str | None
    """None if the file was too large to be fetched."""
    made: bool = False
    """Whether this is made data, by the file's marker or its location."""
    format: str | None = None
    """Format detected from the content, as Pillow names it: PNG, JPEG, GIF ..."""
    width: int | None = None
    height: int | None = None
    """Size in pixels as displayed (EXIF orientation applied)."""
    bit_depth: int | None = None
    """Bits per channel in the file (8 for a palette image)."""
    channels: int | None = None
    mode: str | None = None
    """Pillow's mode: L, I;16, RGB, RGBA, P, LA, CMYK, 1 ..."""
    decodable: bool = False
    problem: str | None = None
    """Why the file is not decodable, in words."""
    mean: float | None = None
    std: float | None = None
    p05: float | None = None
    p95: float | None = None
    black_share: float | None = None
    """Share of pixels in the darkest 1 % of the range."""
    white_share: float | None = None
    peak_share: float | None = None
    """Share of pixels with the most frequent value that is neither black nor white."""
    entropy: float | None = None
    """Shannon entropy of the 256-bin grey histogram, bits."""
    colour: float | None = None
    """Mean difference between the largest and the smallest colour channel, 0 (grey) to 1."""

    @property
    def aspect(self) -> float | None:
        """Width divided by height."""
        return self.width / self.height if self.width and self.height else None

    @property
    def contrast(self) -> float | None:
        """Difference between the 95th and the 5th percentile of grey, 0..1."""
        return self.p95 - self.p05 if self.p95 is not None and self.p05 is not None else None


class Unreadable(Exception):  # noqa: N818 - a verdict that is caught in this file, not a program error
    """The file cannot be decoded; the message is the reason that is stored in the images table."""


def decode(data: bytes, limits: Limits) -> tuple[Pixels | None, Measurement]:
    """Decode and measure one file.

    Args:
        data: the file's bytes.
        limits: checked before decoding.

    Returns:
        Grey pixels (height, width), uint8 or uint16, upright, or None; and the measurement, whose `problem` says why.
        Never raises for bad input.
    """
    known: dict[str, Any] = {"n_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        orientation = _header(data, limits, known)
        complete = _checked_bytes(data, known["format"])
        stored = cv2.imdecode(np.frombuffer(complete, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise Unreadable("the decoder rejects its contents")  # noqa: TRY301 - one handler for every reason
        if stored.dtype not in (np.uint8, np.uint16):
            raise Unreadable(f"its pixels are of type {stored.dtype}, not integers")  # noqa: TRY301 - as above
        grey, colour = _grey(stored)
        grey = _upright(grey, orientation)
    except (Unreadable, cv2.error, MemoryError) as error:
        problem = str(error) if isinstance(error, Unreadable) else "the decoder fails on its contents"
        return None, Measurement(**known, decodable=False, problem=problem)
    rows = grey[:: max(1, len(grey) // MIN_MEASURED_ROWS)]
    return grey, Measurement(**known, **statistics(histogram(rows)), colour=colour, decodable=True)


def _header(data: bytes, limits: Limits, known: dict[str, Any]) -> int:
    """Add the header's values to `known` and return the EXIF orientation."""
    if not data:
        raise Unreadable("the file is empty")
    if problem := limits.too_large(len(data)):
        raise Unreadable(problem)
    try:
        image = Image.open(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - Pillow's parsers raise anything on hostile bytes
        place, mark = DICOM_MARK
        if data[place] == mark:
            known["format"] = "DICOM"
            raise Unreadable("it is a DICOM file; PNG and JPEG are read") from None
        raise Unreadable("it is not an image") from None
    with image:
        known["format"] = FORMAT_ALIASES.get(str(image.format), image.format)
        known["mode"] = image.mode
        known["width"], known["height"] = image.size
        known["channels"] = len(image.getbands())
        known["bit_depth"] = _bit_depth(data, image)
        known["made"] = PHANTOM_MARKER.encode() in _header_text(image)
        if image.width * image.height > limits.max_pixels:
            raise Unreadable(
                f"decoding it would take {image.width * image.height:,} pixels, more than {limits.max_pixels:,}"
            )
        if known["format"] not in FORMATS:
            raise Unreadable(f"it is a {image.format} file; PNG and JPEG are read")
        orientation = _orientation(data, image)
        if orientation in ORIENTATION_STEPS and ORIENTATION_STEPS[orientation][0] in (
            cv2.ROTATE_90_CLOCKWISE,
            cv2.ROTATE_90_COUNTERCLOCKWISE,
        ):
            known["width"], known["height"] = image.height, image.width
    return orientation


def _orientation(data: bytes, image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) if there is none."""
    # Pillow decodes a whole PNG to look for EXIF after the pixels, and hardly any PNG has it.
    if image.format == "PNG" and not png.may_have_orientation(data):
        return 1
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - a broken EXIF block says nothing about the pixels
        return 1


def _bit_depth(data: bytes, image: Image.Image) -> int:
    """Bits per channel in the file, read from a PNG's own header since Pillow converts deep colour to 8 bits."""
    if image.format == "PNG" and image.mode != "P":
        return data[PNG_DEPTH_OFFSET]
    if image.mode == "1":
        return 1
    return 16 if image.mode.startswith("I") else 8


def _header_text(image: Image.Image) -> bytes:
    """Free text in the header: a PNG's Software text, a JPEG's comment."""
    notes = [image.info.get("Software", ""), image.info.get("comment", b"")]
    return b" ".join(note if isinstance(note, bytes) else str(note).encode() for note in notes)


def _checked_bytes(data: bytes, kind: str) -> bytes:
    """Return the bytes for the decoder; raise `Unreadable` if the file is truncated or damaged."""
    if kind == "JPEG":
        if JPEG_END not in data[-4096:] and JPEG_END not in data[len(data) // 2 :]:
            raise Unreadable("the JPEG is truncated: its end marker is missing")
        return data
    try:
        return png.with_stored_pixels(list(png.chunks(data))) or data
    except png.DamagedPngError as error:
        raise Unreadable(f"the PNG is truncated or damaged: {error}") from None


def _grey(stored: NDArray[Any]) -> tuple[Pixels, float]:
    """Grey pixels, and the file's colourfulness (see `Measurement.colour`). Transparent parts become black."""
    if stored.ndim == 2:  # noqa: PLR2004 - height, width
        return stored, 0.0
    if stored.shape[2] < COLOUR_CHANNELS:
        return np.ascontiguousarray(stored[:, :, 0]), 0.0
    step = max(1, min(stored.shape[:2]) // 256)
    sparse = _composite_over_black(stored[::step, ::step])
    spread = sparse.max(axis=2).astype(np.float32) - sparse.min(axis=2)
    colour = float(spread.mean() / np.iinfo(stored.dtype).max)
    if stored.shape[2] == COLOUR_CHANNELS:
        return cv2.cvtColor(stored, cv2.COLOR_BGR2GRAY), colour
    grey = np.empty(stored.shape[:2], stored.dtype)
    for top in range(0, len(stored), BLOCK_ROWS):
        rows = slice(top, top + BLOCK_ROWS)
        grey[rows] = cv2.cvtColor(_composite_over_black(stored[rows]), cv2.COLOR_BGR2GRAY)
    return grey, colour


def _composite_over_black(stored: NDArray[Any]) -> NDArray[Any]:
    """The three colour channels; with an alpha channel, composited over black."""
    if stored.shape[2] == COLOUR_CHANNELS:
        return stored
    colours, alpha, opaque = stored[:, :, :3], stored[:, :, 3:], np.iinfo(stored.dtype).max
    if int(alpha.min()) == opaque:
        return colours
    product: NDArray[Any] = (colours * (alpha.astype(np.float32) / opaque)).astype(stored.dtype)
    return product


def _upright(grey: Pixels, orientation: int) -> Pixels:
    rotate, flip = ORIENTATION_STEPS.get(orientation, (None, None))
    if rotate is not None:
        grey = cv2.rotate(grey, rotate)
    return cv2.flip(grey, flip) if flip is not None else grey
