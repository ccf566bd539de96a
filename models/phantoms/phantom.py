"""Phantoms as image files, in every format that the scorer reads, each marked as made data.

No property of a file hints at its class: size, format, bit depth and orientation are drawn independently of the label.
The marker in the bytes separates made data from real data even after a file has left its folder.
"""

from __future__ import annotations

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from models.phantoms.anatomy import draw_phantom
from models.vocabulary import CLASSES, PHANTOM_MARKER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "CLASSES",
    "FORMATS",
    "PHANTOM_MARKER",
    "PLAIN_FORMATS",
    "Phantom",
    "draw_phantom",
    "encode",
    "png_marker",
    "write_phantoms",
]


FORMATS = (
    "png-grey-8",
    "png-grey-16",
    "png-grey-12-in-16",
    "png-grey-alpha",
    "png-palette",
    "png-rgb",
    "png-rgba",
    "jpeg-grey",
    "jpeg-rgb",
    "jpeg-exif-3",
    "jpeg-exif-6",
    "jpeg-exif-8",
)
PLAIN_FORMATS = ("png-grey-8", "jpeg-grey")
"""The two formats that are quick to write, for benchmarks."""

_ORIENTATION_TAG = 0x0112
_QUARTER_TURNS = {3: 2, 6: 1, 8: 3}
"""EXIF orientation to the anticlockwise quarter turns that the stored pixels have undergone."""
_SMALLEST, _LARGEST = 600, 1100
_PNG_EFFORT = 1
"""zlib level: noise hardly compresses, so a higher level gains little."""


@dataclass(frozen=True)
class Phantom:
    """One phantom file.

    Attributes:
        path: The file.
        label: Its class.
        patient_id: Its patient, such as ``made-00012``.
        format: One of `FORMATS`.
    """

    path: Path
    label: str
    patient_id: str
    format: str


@dataclass(frozen=True)
class _Plan:
    phantom: Phantom
    patient: int
    view: int
    size: tuple[int, int]
    quality: int


def write_phantoms(
    folder: Path,
    count: int,
    seed: int = 0,
    size: int | None = None,
    *,
    formats: Sequence[str] = FORMATS,
    jobs: int | None = None,
) -> list[Phantom]:
    """Write phantoms as ``<label>/<patient id>-<n>.<suffix>`` and their labels as ``labels.csv``.

    Each patient has one to three images, and all classes have about the same number of patients. The formats take
    turns in shuffled rounds, so a set of at least ``len(formats)`` images contains every format. The same arguments
    give the same files.

    Args:
        folder: Where to write; created if it is missing.
        count: Number of images.
        seed: Seed of the whole set, 0 or more.
        size: Height and width in pixels; None draws a size for each image, 600 to 1,100 pixels a side.
        formats: Which of `FORMATS` to use.
        jobs: Number of threads; None for one per processor.

    Returns:
        The files in the order of ``labels.csv``, whose columns are file (relative to the folder), label and patient_id.

    Raises:
        ValueError: A format is not one of `FORMATS`, or no format is given.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"unknown formats {unknown}: choose from {', '.join(FORMATS)}")
    plans = _plan(folder, count, seed, size, formats)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)

    def write(plan: _Plan) -> None:
        phantom = plan.phantom
        picture = draw_phantom(phantom.label, plan.patient, plan.view, seed, plan.size)
        phantom.path.write_bytes(encode(picture, phantom.format, plan.quality))

    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        for _ in pool.map(write, plans):
            pass
    phantoms = [plan.phantom for plan in plans]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label", "patient_id"))
        rows.writerows((one.path.relative_to(folder).as_posix(), one.label, one.patient_id) for one in phantoms)
    return phantoms


def _plan(folder: Path, count: int, seed: int, size: int | None, formats: Sequence[str]) -> list[_Plan]:
    rng = np.random.default_rng((seed, len(CLASSES)))
    plans: list[_Plan] = []
    labels: list[str] = []
    names: list[str] = []
    patient = -1
    while len(plans) < count:
        patient += 1
        labels = labels or [str(label) for label in rng.permutation(CLASSES)]
        label, patient_id = labels.pop(), f"made-{patient:05d}"
        for view in range(min(int(rng.integers(1, 4)), count - len(plans))):
            names = names or [str(name) for name in rng.permutation(formats)]
            name = names.pop()
            shape = (int(rng.integers(_SMALLEST, _LARGEST + 1)), int(rng.integers(_SMALLEST, _LARGEST + 1)))
            suffix = "png" if name.startswith("png") else rng.choice(("jpg", "jpeg"))
            path = folder / label / f"{patient_id}-{view + 1}.{suffix}"
            phantom = Phantom(path, label, patient_id, name)
            shape = (size, size) if size else shape
            plans.append(_Plan(phantom, patient, view, shape, int(rng.integers(85, 96))))
    return plans


def encode(picture: NDArray[np.float32], name: str, quality: int = 90) -> bytes:
    """Encode a picture in one of `FORMATS`, with `PHANTOM_MARKER` in its bytes.

    Args:
        picture: Brightness within 0 to 1, shape (height, width), upright.
        name: One of `FORMATS`.
        quality: JPEG quality.

    Returns:
        The file's bytes. Pillow's ``info`` shows the marker as ``Software`` (PNG) or ``comment`` (JPEG, bytes).

    Raises:
        ValueError: The name is not one of `FORMATS`.
    """
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    out = io.BytesIO()
    if name == "png-grey-16":
        image = Image.fromarray(_quantise(picture, 65535).astype(np.uint16))
    elif name == "png-grey-12-in-16":
        image = Image.fromarray(_quantise(picture, 4095).astype(np.uint16))
    else:
        image = Image.fromarray(_quantise(picture, 255).astype(np.uint8))
    if name.startswith("png"):
        _to_png_mode(image, name).save(out, "PNG", pnginfo=png_marker(), compress_level=_PNG_EFFORT)
    elif name.startswith("jpeg-exif"):
        orientation = int(name[-1])
        exif = Image.Exif()
        exif[_ORIENTATION_TAG] = orientation
        stored = Image.fromarray(np.rot90(np.asarray(image), _QUARTER_TURNS[orientation]))
        stored.save(out, "JPEG", quality=quality, comment=PHANTOM_MARKER, exif=exif)
    else:
        image = image.convert("RGB") if name == "jpeg-rgb" else image
        image.save(out, "JPEG", quality=quality, comment=PHANTOM_MARKER)
    return out.getvalue()


def png_marker() -> PngImagePlugin.PngInfo:
    """Return `PHANTOM_MARKER` as a PNG text chunk, which Pillow writes before the pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", PHANTOM_MARKER)
    return text


def _to_png_mode(image: Image.Image, name: str) -> Image.Image:
    modes = {"png-grey-alpha": "LA", "png-rgb": "RGB", "png-rgba": "RGBA"}
    if name != "png-palette":
        return image.convert(modes[name]) if name in modes else image
    # The palette runs from white to black: a decoder that takes an index for a brightness returns a negative image.
    indexed = Image.fromarray(255 - np.asarray(image)).convert("P")
    indexed.putpalette([level for grey in range(255, -1, -1) for level in (grey, grey, grey)])
    return indexed


def _quantise(picture: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = np.rint(picture * np.float32(top))
    return levels
