"""PNG: OpenCV sees the same pixels, stored or compressed, and damage is found before it decodes."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from models.radiographs import png

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (77, 1003), dtype=np.uint8)


def written(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def file(header: bytes, compressed: bytes) -> bytes:
    return png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")


PICTURES = {
    "8 bit": written(Image.fromarray(GREY)),
    "16 bit": written(Image.fromarray(GREY.astype(np.uint16) * 251)),
    "1 bit": written(Image.fromarray(GREY).convert("1")),
    "2 bit": written(Image.fromarray(GREY % 4).convert("P"), bits=2),
    "palette": written(Image.fromarray(GREY).convert("P"), transparency=3),
    "colour": written(Image.merge("RGB", [Image.fromarray(GREY)] * 3)),
    "transparent": written(Image.merge("RGBA", [Image.fromarray(GREY)] * 4)),
    "grey with alpha": written(Image.merge("LA", [Image.fromarray(GREY)] * 2)),
    "one pixel": written(Image.fromarray(GREY[:1, :1])),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_opencv_sees_the_same_pixels_in_the_file_with_stored_ones(kind: str) -> None:
    data = PICTURES[kind]
    stored = png.with_stored_pixels(list(png.chunks(data)))
    assert stored is not None
    assert np.array_equal(decoded(stored), decoded(data))
    assert all(chunk is not None for chunk in png.chunks(stored)), "its checksums are right"


@pytest.mark.parametrize("kind", ["8 bit", "one pixel"])
def test_every_cut_and_every_changed_byte_of_a_chunk_is_found(kind: str) -> None:
    data = PICTURES[kind]
    for place in RANDOM.integers(len(png.SIGNATURE), len(data), 200).tolist():
        with pytest.raises(png.DamagedPngError):
            list(png.chunks(data[:place]))
        changed = bytearray(data)
        changed[place] ^= 0x55
        with pytest.raises(png.DamagedPngError):
            list(png.chunks(bytes(changed)))


HEADER = struct.pack(">IIBBBBB", 1003, 77, 8, 0, 0, 0, 0)
ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)
ODD = {
    "interlaced": file(HEADER[:-1] + b"\1", zlib.compress(ROWS)),
    "too few pixels": file(HEADER, zlib.compress(ROWS[:-1])),
    "too many pixels": file(HEADER, zlib.compress(ROWS + b"\0")),
    "a bomb": file(HEADER, zlib.compress(bytes(200_000_000))),
    "no zlib stream": file(HEADER, b"nothing that inflates"),
    "very large": file(struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0), zlib.compress(ROWS)),
    "an unknown kind of colour": file(struct.pack(">IIBBBBB", 1003, 77, 8, 9, 0, 0, 0), zlib.compress(ROWS)),
    "a short header": file(HEADER[:-1], zlib.compress(ROWS)),
    "no pixels": png.SIGNATURE + chunk(b"IHDR", HEADER) + chunk(b"IEND", b""),
    "no header": png.SIGNATURE + chunk(b"IEND", b""),
    "an animation": png.SIGNATURE
    + chunk(b"IHDR", HEADER)
    + chunk(b"acTL", bytes(8))
    + chunk(b"IDAT", zlib.compress(ROWS))
    + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_left_to_opencv(kind: str) -> None:
    assert png.with_stored_pixels(list(png.chunks(ODD[kind]))) is None


def test_an_orientation_is_suspected_where_one_may_be() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert png.may_have_orientation(written(Image.fromarray(GREY), exif=exif))
    assert not png.may_have_orientation(PICTURES["8 bit"])
    assert not png.may_have_orientation(PICTURES["8 bit"][:50])
