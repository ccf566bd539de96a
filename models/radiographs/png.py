"""PNG: check that a file is complete, and rewrite it so that OpenCV decodes it faster.

Most of the time to decode a PNG goes into inflating its pixels, for which OpenCV uses zlib. ISA-L is faster; OpenCV
then gets the same file with uncompressed pixels. Both release the GIL.
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
"""Channels by colour type (as above)."""
MAX_INFLATED_BYTES: Final = 32 * 1024**2
"""Bytes of pixels. OpenCV inflates larger images, line by line: here a thread holds several copies of them."""
STORED_BLOCK: Final = 65535
"""Maximum bytes of a stored block (RFC 1951, 3.2.4)."""
ZLIB_HEADER: Final = b"\x78\x01"
EXIF_CHUNKS: Final = (b"eXIf", b"tEXtRaw profile type exif", b"zTXtRaw profile type exif", b"iTXtXML:com.adobe.xmp")
"""Beginnings of chunks that may hold an orientation: the standard one, and older conventions."""


def may_have_orientation(data: bytes) -> bool:
    """Return whether any chunk may hold an EXIF orientation. The file may be incomplete."""
    place = len(SIGNATURE)
    while place < len(data):
        if data.startswith(EXIF_CHUNKS, place + 4):
            return True
        place += 12 + int.from_bytes(data[place : place + 4])
    return False


class DamagedPngError(ValueError):
    """A chunk is missing or truncated, or its checksum is wrong."""


def chunks(data: bytes) -> Iterator[memoryview]:
    """Yield a file's chunks, each with type and content, up to IEND.

    Raises:
        DamagedPngError: the next chunk is missing or damaged; all chunks yielded before it are intact.
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


def with_stored_pixels(file_chunks: list[memoryview]) -> bytes | None:
    """Return a file of these chunks with uncompressed pixels, or None if OpenCV must inflate them.

    Nothing else changes, filters included. Interlaced, very large, animated and irregular files are left to OpenCV,
    which accepts or rejects them as usual.
    """
    if len(file_chunks[0]) != HEADER_BYTES:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file_chunks[0][4:])
    size = height * (1 + (width * bits * CHANNELS.get(colour, 0) + 7) // 8)
    kinds = [bytes(chunk[:4]) for chunk in file_chunks]
    if interlaced or size > MAX_INFLATED_BYTES or b"acTL" in kinds or b"IDAT" not in kinds:
        return None
    compressed = b"".join(chunk[4:] for chunk, kind in zip(file_chunks, kinds, strict=True) if kind == b"IDAT")
    try:
        pixels = isal_zlib.decompressobj().decompress(compressed, size + 1)
    except isal_zlib.error:  # type: ignore[misc]  # its stub does not declare it as an exception
        return None
    if len(pixels) != size:
        return None
    first = kinds.index(b"IDAT")
    others = (chunk for chunk, kind in zip(file_chunks[first:], kinds[first:], strict=True) if kind != b"IDAT")
    return b"".join([SIGNATURE, *_encoded([*file_chunks[:first], _pixel_chunk(pixels), *others])])


def _pixel_chunk(pixels: bytes) -> memoryview:
    """An IDAT chunk with the pixels in stored blocks, each preceded by its final-block flag and its length."""
    parts: list[bytes | memoryview] = [b"IDAT", ZLIB_HEADER]
    for start in range(0, len(pixels), STORED_BLOCK):
        block = memoryview(pixels)[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(pixels)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return memoryview(b"".join([*parts, struct.pack(">I", isal_zlib.adler32(pixels))]))


def _encoded(file_chunks: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """Add each chunk's length and checksum."""
    for chunk in file_chunks:
        yield struct.pack(">I", len(chunk) - 4)
        yield chunk
        yield struct.pack(">I", isal_zlib.crc32(chunk))
