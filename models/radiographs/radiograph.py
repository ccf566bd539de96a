"""One radiograph: from the bytes of a file to grey pixels and measurements, or a reason in words why not.

The format is told by the content (Pillow reads headers lazily), limits are held against the header before a pixel is
decoded, and OpenCV decodes, because it releases the GIL. OpenCV accepts files that are cut off, so completeness is
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
from models.vocabulary import MARKER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[Any]
    """Grey pixels (height, width), uint8 or uint16."""

# Pillow's own limit would refuse a bomb before its size is known; ours is held against the header below.
Image.MAX_IMAGE_PIXELS = None

FORMATS: Final = ("PNG", "JPEG")
DICOM_MARK: Final = (slice(128, 132), b"DICM")
"""Where a DICOM file says that it is one, behind its preamble (DICOM part 10, 7.1); Pillow does not know the format."""
SAME_FORMAT: Final = {"MPO": "JPEG"}
"""A JPEG with more pictures behind the first one (CIPA DC-007), from phones and some scanners: the first is read."""
JPEG_END: Final = b"\xff\xd9"
ORIENTATION_TAG: Final = 0x0112
PNG_DEPTH_OFFSET: Final = 24  # signature (8) + IHDR's length, type, width and height (16): ISO/IEC 15948, 11.2.2
COLOUR_CHANNELS: Final = 3
MEASURED_ROWS: Final = 128
"""Rows that statistics are taken of at least, where there are as many: they settle what is asked of a radiograph."""
BLOCK_ROWS: Final = 256
"""Rows that are made opaque at a time: the products are float32, for a whole film a multiple of the decoded file."""

# EXIF 2.3, tag Orientation: what to do to the stored pixels to see the image upright.
UPRIGHT: Final[dict[int, tuple[int | None, int | None]]] = {  # (rotate code, flip code)
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
    """What is refused before decoding."""

    max_bytes: int = 64 * 1024**2
    max_pixels: int = 64_000_000

    def too_large(self, n_bytes: int) -> str | None:
        """Say in words why a file of so many bytes is refused; None where it is not."""
        if n_bytes <= self.max_bytes:
            return None
        return f"the file has {n_bytes:,} bytes, more than the limit of {self.max_bytes:,}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known of one file. Fields that could not be measured are None.

    Grey statistics are in units of the full grey range of the data (0..1), taken over evenly spread rows of the decoded
    image at its own size (all rows below 256, at least 128 above). 16-bit images, of which many use 12 bits only, span
    the range between the 0.5th and the 99.5th percentile of their pixels, and what lies beyond counts as its ends:
    burnt-in text must not make a film look dark.
    """

    n_bytes: int
    sha256: str | None
    """None where the file was too large to be fetched."""
    made: bool = False
    format: str | None = None
    """Format told by the content, as Pillow names it: PNG, JPEG, GIF ..."""
    width: int | None = None
    height: int | None = None
    """Size in pixels as displayed (EXIF orientation applied)."""
    bit_depth: int | None = None
    """Bits per channel in the file (a palette's entries count as 8)."""
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
    """Share of pixels in the darkest hundredth of the range."""
    white_share: float | None = None
    peak_share: float | None = None
    """Share of pixels that have the most frequent value among those neither black nor white."""
    entropy: float | None = None
    """Shannon entropy of the 256-bin grey histogram, bits."""
    colour: float | None = None
    """Mean difference between the largest and smallest colour channel, 0 (grey) to 1."""

    @property
    def aspect(self) -> float | None:
        """Width over height."""
        return self.width / self.height if self.width and self.height else None

    @property
    def contrast(self) -> float | None:
        """Distance between the 5th and 95th percentile of grey, 0..1."""
        return self.p95 - self.p05 if self.p95 is not None and self.p05 is not None else None


class Unreadable(Exception):  # noqa: N818 - a verdict in words, caught in this file, not an error of the program
    """The file cannot become pixels; the message says why in words that end up in the images table."""


def read(data: bytes, limits: Limits) -> tuple[Pixels | None, Measurement]:
    """Decode and measure one file.

    Args:
        data: the file's bytes.
        limits: what is refused before decoding.

    Returns:
        Grey pixels (height, width), uint8 or uint16, upright, or None; and the measurement, which says why not.
        Never raises for bad input.
    """
    known: dict[str, Any] = {"n_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        orientation = _header(data, limits, known)
        complete = _complete(data, known["format"])
        stored = cv2.imdecode(np.frombuffer(complete, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise Unreadable("the decoder rejects its contents")  # noqa: TRY301 - one way out for every reason
        if stored.dtype not in (np.uint8, np.uint16):
            raise Unreadable(f"its pixels are of type {stored.dtype}, not integers")  # noqa: TRY301 - as above
        grey, colour = _grey(stored)
        grey = _upright(grey, orientation)
    except (Unreadable, cv2.error, MemoryError) as error:
        problem = str(error) if isinstance(error, Unreadable) else "the decoder fails on its contents"
        return None, Measurement(**known, decodable=False, problem=problem)
    rows = grey[:: max(1, len(grey) // MEASURED_ROWS)]
    return grey, Measurement(**known, **statistics(histogram(rows)), colour=colour, decodable=True)


def _header(data: bytes, limits: Limits, known: dict[str, Any]) -> int:
    """Fill in what the header tells; return the EXIF orientation."""
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
        known["format"] = SAME_FORMAT.get(str(image.format), image.format)
        known["mode"] = image.mode
        known["width"], known["height"] = image.size
        known["channels"] = len(image.getbands())
        known["bit_depth"] = _bit_depth(data, image)
        known["made"] = MARKER.encode() in _notes(image)
        if image.width * image.height > limits.max_pixels:
            raise Unreadable(
                f"decoding it would take {image.width * image.height:,} pixels, more than {limits.max_pixels:,}"
            )
        if known["format"] not in FORMATS:
            raise Unreadable(f"it is a {image.format} file; PNG and JPEG are read")
        orientation = _orientation(data, image)
        if orientation in UPRIGHT and UPRIGHT[orientation][0] in (
            cv2.ROTATE_90_CLOCKWISE,
            cv2.ROTATE_90_COUNTERCLOCKWISE,
        ):
            known["width"], known["height"] = image.height, image.width
    return orientation


def _orientation(data: bytes, image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none."""
    # Pillow decodes a whole PNG to look for EXIF behind the pixels; nearly none has any.
    if image.format == "PNG" and not png.may_be_turned(data):
        return 1
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - a broken EXIF block says nothing about the pixels
        return 1


def _bit_depth(data: bytes, image: Image.Image) -> int:
    """Bits per channel in the file: Pillow converts deep colour to 8 bits, so a PNG's own header is asked."""
    if image.format == "PNG" and image.mode != "P":
        return data[PNG_DEPTH_OFFSET]
    if image.mode == "1":
        return 1
    return 16 if image.mode.startswith("I") else 8


def _notes(image: Image.Image) -> bytes:
    """Free text of the header: a PNG's text chunks, a JPEG's comment."""
    notes = [image.info.get("Software", ""), image.info.get("comment", b"")]
    return b" ".join(note if isinstance(note, bytes) else str(note).encode() for note in notes)


def _complete(data: bytes, kind: str) -> bytes:
    """Return the file for the decoder, or say that it is cut off."""
    if kind == "JPEG":
        if JPEG_END not in data[-4096:] and JPEG_END not in data[len(data) // 2 :]:
            raise Unreadable("the JPEG is cut off: its end marker is missing")
        return data
    try:
        return png.stored(list(png.chunks(data))) or data
    except png.DamagedPngError as error:
        raise Unreadable(f"the PNG is cut off or damaged: {error}") from None


def _grey(stored: NDArray[Any]) -> tuple[Pixels, float]:
    """Grey pixels and how colourful the file was; transparent parts become black."""
    if stored.ndim == 2:  # noqa: PLR2004 - height, width
        return stored, 0.0
    if stored.shape[2] < COLOUR_CHANNELS:
        return np.ascontiguousarray(stored[:, :, 0]), 0.0
    step = max(1, min(stored.shape[:2]) // 256)
    sparse = _opaque(stored[::step, ::step])
    spread = sparse.max(axis=2).astype(np.float32) - sparse.min(axis=2)
    colour = float(spread.mean() / np.iinfo(stored.dtype).max)
    if stored.shape[2] == COLOUR_CHANNELS:
        return cv2.cvtColor(stored, cv2.COLOR_BGR2GRAY), colour
    grey = np.empty(stored.shape[:2], stored.dtype)
    for top in range(0, len(stored), BLOCK_ROWS):
        rows = slice(top, top + BLOCK_ROWS)
        grey[rows] = cv2.cvtColor(_opaque(stored[rows]), cv2.COLOR_BGR2GRAY)
    return grey, colour


def _opaque(stored: NDArray[Any]) -> NDArray[Any]:
    """Three colour channels, over black where there is a fourth, alpha."""
    if stored.shape[2] == COLOUR_CHANNELS:
        return stored
    colours, alpha, opaque = stored[:, :, :3], stored[:, :, 3:], np.iinfo(stored.dtype).max
    if int(alpha.min()) == opaque:
        return colours
    product: NDArray[Any] = (colours * (alpha.astype(np.float32) / opaque)).astype(stored.dtype)
    return product


def _upright(grey: Pixels, orientation: int) -> Pixels:
    rotate, flip = UPRIGHT.get(orientation, (None, None))
    if rotate is not None:
        grey = cv2.rotate(grey, rotate)
    return cv2.flip(grey, flip) if flip is not None else grey
