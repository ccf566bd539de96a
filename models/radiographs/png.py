"""PNG: whether a file is whole, and its pixels in a form that OpenCV decodes faster.

What takes longest in decoding a PNG is inflating its pixels, which OpenCV leaves to zlib. ISA-L does it faster; OpenCV
then gets the same file with the pixels stored, not compressed. Both work without Python's lock.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES: Final = 17
"""Type and content of the first chunk, IHDR (ISO/IEC 15948, 11.2.2)."""
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values of a pixel by colour type (as above)."""
LARGEST_INFLATED: Final = 32 * 1024**2
"""Bytes of pixels above which OpenCV inflates them itself, line by line: a thread holds them several times."""
STORED_BLOCK: Final = 65535
"""Bytes of a stored block at most (RFC 1951, 3.2.4)."""
ZLIB_HEADER: Final = b"\x78\x01"
EXIF: Final = (b"eXIf", b"tEXtRaw profile type exif", b"zTXtRaw profile type exif", b"iTXtXML:com.adobe.xmp")
"""How a chunk that may hold an orientation begins: the standard's own, and those in use before it."""


def may_be_turned(data: bytes) -> bool:
    """Tell whether some chunk may hold an EXIF orientation; not whether the file is whole."""
    place = len(SIGNATURE)
    while place < len(data):
        if data.startswith(EXIF, place + 4):
            return True
        place += 12 + int.from_bytes(data[place : place + 4])
    return False


class DamagedPngError(ValueError):
    """A chunk is missing, cut off, or its checksum is wrong."""


def chunks(data: bytes) -> Iterator[memoryview]:
    """Yield a file's chunks, type and content each, up to the one that ends it.

    Raises:
        DamagedPngError: on the way; what was yielded before is whole.
    """
    view, place = memoryview(data), len(SIGNATURE)
    while True:  # a chunk: length, type, content, checksum (ISO/IEC 15948, 5.3)
        end = place + 8 + int.from_bytes(view[place : place + 4])
        chunk, checksum = view[place + 4 : end], view[end : end + 4]
        if len(checksum) < 4 or isal_zlib.crc32(chunk) != int.from_bytes(checksum):  # noqa: PLR2004 - bytes
            raise DamagedPngError("a chunk is missing or its checksum is wrong")
        yield chunk
        if bytes(chunk[:4]) == b"IEND":
            return
        place = end + 4


def stored(whole: list[memoryview]) -> bytes | None:
    """Return the file of these chunks with its pixels stored instead of compressed, or None where OpenCV must inflate.

    Nothing else changes, filters included. OpenCV must where pixels are interlaced or very many, where there are
    several pictures, and where anything is odd: it judges that as it does without this.
    """
    if len(whole[0]) != HEADER_BYTES:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", whole[0][4:])
    size = height * (1 + (width * bits * CHANNELS.get(colour, 0) + 7) // 8)
    kinds = [bytes(chunk[:4]) for chunk in whole]
    if interlaced or size > LARGEST_INFLATED or b"acTL" in kinds or b"IDAT" not in kinds:
        return None
    compressed = b"".join(chunk[4:] for chunk, kind in zip(whole, kinds, strict=True) if kind == b"IDAT")
    try:
        pixels = isal_zlib.decompressobj().decompress(compressed, size + 1)
    except isal_zlib.error:  # type: ignore[misc]  # its stub does not say what it is
        return None
    if len(pixels) != size:
        return None
    first = kinds.index(b"IDAT")
    others = (chunk for chunk, kind in zip(whole[first:], kinds[first:], strict=True) if kind != b"IDAT")
    return b"".join([SIGNATURE, *_written(whole[:first]), *_written([_pixel_chunk(pixels)]), *_written(others)])


def _pixel_chunk(pixels: bytes) -> memoryview:
    """One chunk with the pixels in stored blocks, each behind a byte that says if it is the last, and its length."""
    parts: list[bytes | memoryview] = [b"IDAT", ZLIB_HEADER]
    for start in range(0, len(pixels), STORED_BLOCK):
        block = memoryview(pixels)[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(pixels)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return memoryview(b"".join([*parts, struct.pack(">I", isal_zlib.adler32(pixels))]))


def _written(some: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    for chunk in some:
        yield struct.pack(">I", len(chunk) - 4)
        yield chunk
        yield struct.pack(">I", isal_zlib.crc32(chunk))
