"""Spoiled files, which a night must not score, each made to fail one named check, and a few that only look wrong.

`Spoiled.fails` names the check of the validation suite. A file fails as few other checks as its kind allows: two-tone
pixels, for example, are saturated as well as of low bit depth.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from models.phantoms.anatomy import draw_phantom
from models.phantoms.phantom import encode, png_marker
from models.vocabulary import CLASSES, PHANTOM_MARKER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_SIDE = 640
_FIRST_PATIENT = 900_000
"""Far above the patient numbers of any phantom set: a spoiled file never shows a phantom of a set of the same seed."""
_BOMB_SIDE = 60_000
_TIFF_SOFTWARE = 305


@dataclass(frozen=True)
class SpoiledFile:
    """One file of the spoiled set.

    Attributes:
        path: The file.
        fails: The check that it must fail; None for a good image with a misleading name, which must be scored.
    """

    path: Path
    fails: str | None


def write_spoiled_files(folder: Path, seed: int = 0) -> list[SpoiledFile]:
    """Write the spoiled files into a folder, which is created if it is missing.

    No two files have the same bytes. Each carries the made-data marker if its format has room for one.

    Args:
        folder: Where to write.
        seed: Seed of the pictures inside, 0 or more.

    Returns:
        The files with the check that each must fail: decodable, format, size, aspect, bit-depth, not-blank,
        not-saturated, contrast, grey or histogram; None for those that must be scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, _FIRST_PATIENT))
    spoiled = []
    for number, (name, fails, make) in enumerate(_SPOILED_SET):
        patient = _FIRST_PATIENT + number
        picture = draw_phantom(CLASSES[number % len(CLASSES)], patient, 0, seed, (_SIDE, _SIDE))
        path = folder / name
        path.write_bytes(make(picture, rng))
        spoiled.append(SpoiledFile(path, fails))
    return spoiled


def _cut_off(name: str) -> Callable[[NDArray[np.float32], np.random.Generator], bytes]:
    def make(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
        data = encode(picture, name)
        return data[: len(data) * 3 // 5]

    return make


def _flipped_byte(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    data = bytearray(encode(picture, "png-grey-8"))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def _text(_: NDArray[np.float32], __: np.random.Generator) -> bytes:
    return f"This is not an image. {PHANTOM_MARKER}\n".encode() * 20


def _empty(_: NDArray[np.float32], __: np.random.Generator) -> bytes:
    return b""


def _gif(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    out = io.BytesIO()
    _image(picture).save(out, "GIF", comment=PHANTOM_MARKER)
    return out.getvalue()


def _tiff(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    out = io.BytesIO()
    _image(picture).save(out, "TIFF", tiffinfo={_TIFF_SOFTWARE: PHANTOM_MARKER})
    return out.getvalue()


def _bmp(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    out = io.BytesIO()
    _image(picture).save(out, "BMP")  # no room for the marker
    return out.getvalue()


def _bomb(_: NDArray[np.float32], __: np.random.Generator) -> bytes:
    """A decompression bomb: a few kilobytes whose header announces 3.6 billion pixels."""
    side = _BOMB_SIDE.to_bytes(4, "big")
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    PngImagePlugin.putchunk(out, b"IHDR", side, side, bytes((8, 0, 0, 0, 0)))  # 8 bit, grey
    PngImagePlugin.putchunk(out, b"tEXt", b"Software\0", PHANTOM_MARKER.encode())
    PngImagePlugin.putchunk(out, b"IDAT", zlib.compress(bytes(100 * (_BOMB_SIDE + 1)), 9))
    PngImagePlugin.putchunk(out, b"IEND")
    return out.getvalue()


def _tiny(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return _png(_image(cv2.resize(picture, (24, 24), interpolation=cv2.INTER_AREA)))


def _strip(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    large = cv2.resize(picture, (1200, 1200), interpolation=cv2.INTER_CUBIC)
    return _png(_image(large[450:600]))


def _two_levels(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return _png(_image(picture).convert("1"))


def _flat(level: float, top: int = 255) -> Callable[[NDArray[np.float32], np.random.Generator], bytes]:
    def make(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
        pixels = np.full(picture.shape, round(level * top))
        return _png(Image.fromarray(pixels.astype(np.uint8 if top == 255 else np.uint16)))  # noqa: PLR2004 - 8 bit

    return make


def _detector_noise(picture: NDArray[np.float32], rng: np.random.Generator) -> bytes:
    """An exposure without a patient in front of the detector."""
    return _png(_image(0.45 + 0.006 * rng.standard_normal(picture.shape, dtype=np.float32)))


def _overexposed(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return _png(_image(picture / float(np.quantile(picture, 0.40))))


def _underexposed(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return _png(_image((picture - float(np.quantile(picture, 0.75))) * 2.5))


def _washed_out(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return _png(_image(0.5 + 0.1 * (picture - 0.5)))


def _meadow(picture: NDArray[np.float32], rng: np.random.Generator) -> bytes:
    """A colour photograph: sky with clouds over a meadow with leaves and flowers."""
    height, width = picture.shape
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    clouds = cv2.resize(rng.random((5, 9), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    sky = np.array((60, 120, 225)) * (1 - down) + np.array((190, 215, 245)) * down
    sky = sky + (250 - sky) * np.clip(2.2 * clouds - 1.2, 0, 1)[..., None]
    blades = rng.normal(0, 18, (height, width, 1))
    meadow = np.array((70, 135, 40)) * (1.25 - 0.6 * down) + blades
    hill = height * (0.5 + 0.05 * np.sin(np.linspace(0, 5, width)))
    scene = np.where((np.arange(height)[:, None] < hill)[..., None], sky, meadow)
    scene = np.clip(cv2.GaussianBlur(scene, (0, 0), 1.2), 0, 255).astype(np.uint8)
    for _ in range(160):
        place = int(rng.integers(width)), int(rng.integers(int(0.58 * height), height))
        colour = ((220, 40, 50), (250, 200, 30), (200, 60, 190), (40, 160, 50))[rng.integers(4)]
        axes = int(rng.integers(4, 16)), int(rng.integers(3, 9))
        cv2.ellipse(scene, place, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    out = io.BytesIO()
    Image.fromarray(scene).save(out, "JPEG", quality=92, comment=PHANTOM_MARKER)
    return out.getvalue()


def _tinted(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    """A phantom in false colours, as a heat map has."""
    colours = cv2.applyColorMap(np.asarray(_image(picture)), cv2.COLORMAP_JET)
    return _png(Image.fromarray(np.ascontiguousarray(colours[..., ::-1])))


def _page(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    """A scanned report."""
    page = Image.new("L", picture.shape[::-1], 238)
    pen = ImageDraw.Draw(page)
    line = "Findings: lungs are clear. No effusion, no pneumothorax. Heart size is normal. "
    for number in range(36):
        pen.text((30, 20 + 17 * number), (line * 3)[number * 7 % 60 :][:88], fill=45)
    return _png(page)


def _drawing(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    """A drawing in two shades of grey, neither black nor white."""
    dark = cv2.GaussianBlur(picture, (0, 0), 3) < np.median(picture) * 0.8
    return _png(Image.fromarray(np.where(dark, 60, 200).astype(np.uint8)))


def _good_jpeg(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return encode(picture, "jpeg-grey")


def _good_png(picture: NDArray[np.float32], _: np.random.Generator) -> bytes:
    return encode(picture, "png-grey-8")


def _image(picture: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=png_marker())
    return out.getvalue()


_SPOILED_SET: tuple[tuple[str, str | None, Callable[[NDArray[np.float32], np.random.Generator], bytes]], ...] = (
    ("cut-off.png", "decodable", _cut_off("png-grey-8")),
    ("cut-off.jpg", "decodable", _cut_off("jpeg-grey")),
    ("flipped-byte.png", "decodable", _flipped_byte),
    ("text.png", "format", _text),
    ("empty.png", "decodable", _empty),
    ("gif.png", "format", _gif),
    ("tiff.png", "format", _tiff),
    ("bmp.jpg", "format", _bmp),
    ("bomb.png", "size", _bomb),
    ("tiny.png", "size", _tiny),
    ("strip.png", "aspect", _strip),
    ("one-bit.png", "bit-depth", _two_levels),
    ("black.png", "not-blank", _flat(0)),
    ("white.png", "not-blank", _flat(1)),
    ("grey.png", "not-blank", _flat(0.5)),
    ("grey-16-bit.png", "not-blank", _flat(0.5, top=65535)),
    ("no-patient.png", "not-blank", _detector_noise),
    ("overexposed.png", "not-saturated", _overexposed),
    ("underexposed.png", "not-saturated", _underexposed),
    ("washed-out.png", "contrast", _washed_out),
    ("meadow.jpg", "grey", _meadow),
    ("false-colours.png", "grey", _tinted),
    ("page.png", "histogram", _page),
    ("drawing.png", "histogram", _drawing),
    ("jpeg-named.png", None, _good_jpeg),
    ("png-named.jpg", None, _good_png),
    ("no-suffix", None, _good_jpeg),
)
