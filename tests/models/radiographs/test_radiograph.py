"""One radiograph: every kind of file becomes the same grey picture, or a reason in words; never an exception."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from models.phantoms.phantom import FORMATS, draw_phantom, encode
from models.radiographs import radiograph
from models.radiographs.radiograph import Limits, Measurement, decode

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits()
PICTURE = draw_phantom("COVID-19", 2, 0, seed=1, size=(240, 200))
GREY = np.rint(PICTURE * 255).astype(np.uint8)
EXPECTED = {  # format, bits, channels
    "png-grey-8": ("PNG", 8, 1), "png-grey-16": ("PNG", 16, 1), "png-grey-12-in-16": ("PNG", 16, 1),
    "png-grey-alpha": ("PNG", 8, 2), "png-palette": ("PNG", 8, 1), "png-rgb": ("PNG", 8, 3), "png-rgba": ("PNG", 8, 4),
    "jpeg-grey": ("JPEG", 8, 1), "jpeg-rgb": ("JPEG", 8, 3), "jpeg-exif-3": ("JPEG", 8, 1),
    "jpeg-exif-6": ("JPEG", 8, 1), "jpeg-exif-8": ("JPEG", 8, 1),
}  # fmt: skip


def save(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def measured(data: bytes, limits: Limits = LIMITS) -> Measurement:
    return decode(data, limits)[1]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_same_grey_picture_and_is_told_by_its_content(name: str) -> None:
    pixels, found = decode(encode(PICTURE, name, 95), LIMITS)
    assert pixels is not None
    assert (found.format, found.bit_depth, found.channels) == EXPECTED[name]
    assert (found.height, found.width) == pixels.shape == (240, 200)
    assert (found.decodable, found.problem, found.made) == (True, None, True)
    top = {"png-grey-16": 65535, "png-grey-12-in-16": 4095}.get(name, 255)
    assert np.abs(pixels / top - PICTURE).mean() < 0.01
    assert found.colour is not None
    assert found.colour < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_each_exif_orientation_ends_upright(orientation: int, kind: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(Image.fromarray(GREY), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    pixels, found = decode(data, LIMITS)
    assert pixels is not None
    assert (found.height, found.width) == pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 1


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_means_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert measured(save(Image.fromarray(GREY), "JPEG", exif=exif)).height == 240


def test_transparent_parts_become_black_whatever_lies_under_them() -> None:
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    rgba[:60, :, 3] = 0
    rgba[:60, :, :3] = 200
    pixels, _ = decode(save(Image.fromarray(rgba)), LIMITS)
    assert pixels is not None
    assert pixels[:60].max() == 0
    assert np.array_equal(pixels[60:], GREY[60:])


def test_a_colour_photograph_is_measured_as_one() -> None:
    colours = np.dstack([GREY, GREY[::-1], 255 - GREY])
    found = measured(save(Image.fromarray(colours)))
    assert found.colour is not None
    assert found.colour > 0.1


def test_statistics_are_in_units_of_the_grey_range() -> None:
    halves = np.zeros((100, 100), np.uint8)
    halves[:, 50:] = 255
    found = measured(save(Image.fromarray(halves)))
    assert (found.mean, found.std, found.contrast, found.entropy) == (0.5, 0.5, 1.0, 1.0)
    assert (found.black_share, found.white_share, found.aspect) == (0.5, 0.5, 1.0)


def test_depth_is_no_matter_for_the_statistics() -> None:
    shallow, deep = (measured(encode(PICTURE, name)) for name in ("png-grey-8", "png-grey-16"))
    for name in ("mean", "std", "contrast", "black_share", "white_share"):
        assert getattr(shallow, name) == pytest.approx(getattr(deep, name), abs=0.1), name


def test_limits_are_held_before_anything_is_decoded() -> None:
    data = encode(PICTURE, "png-grey-8")
    assert "limit of 1,000" in str(measured(data, Limits(max_bytes=1_000)).problem)
    found = measured(data, Limits(max_pixels=47_999))
    assert (found.decodable, found.width, found.height) == (False, 200, 240)
    assert "48,000 pixels" in str(found.problem)
    assert measured(data, Limits(max_bytes=len(data), max_pixels=48_000)).decodable


def test_a_text_chunk_that_unpacks_to_much_more_does_no_harm() -> None:
    text = PngImagePlugin.PngInfo()
    text.add(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000)))
    pixels, found = decode(save(Image.fromarray(GREY), pnginfo=text), LIMITS)
    assert (pixels is None) == (found.problem is not None)


@pytest.mark.parametrize("name", ["png-grey-8", "png-grey-16", "png-palette", "jpeg-grey", "jpeg-exif-6"])
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.7, 0.95, 0.999])
def test_a_file_cut_off_anywhere_is_not_decodable(name: str, kept: float) -> None:
    data = encode(PICTURE, name)
    pixels, found = decode(data[: int(len(data) * kept)], LIMITS)
    assert pixels is None
    assert not found.decodable
    assert found.problem


def test_bytes_behind_the_end_do_no_harm() -> None:
    for name in ("png-grey-8", "jpeg-grey"):
        assert measured(encode(PICTURE, name) + bytes(2000)).decodable, name


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WEBP"])
def test_another_format_is_named(kind: str) -> None:
    found = measured(save(Image.fromarray(GREY), kind))
    assert (found.format, found.decodable) == (kind, False)
    assert kind in str(found.problem)


def test_a_dicom_file_is_named() -> None:
    found = measured(bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + bytes(8))
    assert (found.format, found.decodable) == ("DICOM", False)
    assert found.problem == "it is a DICOM file; PNG and JPEG are read"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_random_damage_never_raises() -> None:
    random = np.random.default_rng(3)
    for name in FORMATS:
        data = np.frombuffer(encode(PICTURE, name), np.uint8)
        for _ in range(12):
            damaged = data.copy()
            where = random.integers(0, len(data) if random.random() < 0.5 else 200, 8)
            damaged[where] = random.integers(0, 256, 8)
            pixels, found = decode(damaged.tobytes(), LIMITS)
            assert (pixels is None) == (found.problem is not None) == (not found.decodable)
            assert found.sha256


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"P5 1 1 255 x", bytes(99)]
)
def test_crumbs_are_a_reason(data: bytes) -> None:
    pixels, found = decode(data, LIMITS)
    assert (pixels, found.decodable) == (None, False)
    assert found.problem


def test_of_a_good_file_everything_is_measured() -> None:
    found = measured(encode(PICTURE, "png-grey-8"))
    assert [name for name, value in dataclasses.asdict(found).items() if value is None] == ["problem"]
    assert found.aspect == pytest.approx(200 / 240)
    assert found.contrast == pytest.approx(float(found.p95 or 0) - float(found.p05 or 0))


def test_the_first_picture_of_a_jpeg_with_several_is_read_as_a_jpeg() -> None:
    data = save(Image.fromarray(GREY), "MPO", save_all=True, append_images=[Image.fromarray(GREY[:50, :50])])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    pixels, found = decode(data, LIMITS)
    assert pixels is not None
    assert (found.format, found.problem, pixels.shape) == ("JPEG", None, GREY.shape)
    assert np.abs(pixels.astype(int) - GREY).mean() < 2
    assert not measured(data[: len(data) // 2]).decodable


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_making_a_film_opaque_block_by_block_changes_no_pixel(kind: type, rows: int) -> None:
    top = int(np.iinfo(kind).max)
    stored = np.random.default_rng(rows).integers(0, top + 1, (rows, 301, 4), kind)
    stored[: rows // 2, :, 3] = top
    at_once = (stored[:, :, :3] * (stored[:, :, 3].astype(np.float32) / top)[:, :, None]).astype(kind)
    done, data = cv2.imencode(".png", stored)
    assert done
    pixels, found = decode(data.tobytes(), LIMITS)
    assert pixels is not None
    assert np.array_equal(pixels, cv2.cvtColor(at_once, cv2.COLOR_BGR2GRAY))
    step = max(1, min(stored.shape[:2]) // 256)
    sparse = at_once[::step, ::step].astype(np.float32)
    assert found.colour == pytest.approx((sparse.max(axis=2) - sparse.min(axis=2)).mean() / top, rel=1e-5)


def test_a_large_film_with_alpha_takes_little_more_memory_than_its_pixels() -> None:
    stored = np.full((4000, 1000, 4), 30_000, np.uint16)
    tracemalloc.start()
    grey, _ = radiograph._grey(stored)  # noqa: SLF001 - the decoder's own memory is not Python's to count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < grey.nbytes + stored.nbytes / 2


def test_text_burnt_into_a_12_bit_film_leaves_its_statistics_as_they_are() -> None:
    film = np.rint(PICTURE * 4095).astype(np.uint16)
    clean = measured(save(Image.fromarray(film)))
    film[10:22, 180:183] = film[19:22, 180:188] = 65535  # an L for the left
    marked = measured(save(Image.fromarray(film)))
    for name in ("mean", "std", "contrast", "black_share", "white_share", "peak_share"):
        assert getattr(marked, name) == pytest.approx(getattr(clean, name), abs=0.02), name


def test_the_real_originals_all_decode_and_none_counts_as_made(xrays: Path) -> None:
    files = [path for path in (xrays / "originals").rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        pixels, found = decode(path.read_bytes(), LIMITS)
        assert found.problem is None, path.name
        assert pixels is not None
        assert not found.made
        assert min(pixels.shape) >= 200
