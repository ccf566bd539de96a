"""Radiographs for the benchmark: some hundred phantoms are drawn, and any number of distinct files made of them."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from itertools import cycle, islice
from pathlib import Path

from models.phantoms.phantom import PLAIN_FORMATS, write_phantoms

SIZE = 1024
PNG_END = 12  # bytes of the IEND chunk


def draw(count: int) -> list[bytes]:
    """Draw phantoms of 1024 x 1024, 8-bit grey, half of them PNG and half JPEG; returns the files' bytes."""
    folder = Path(tempfile.mkdtemp())
    try:
        return [one.path.read_bytes() for one in write_phantoms(folder, count, size=SIZE, formats=PLAIN_FORMATS)]
    finally:
        shutil.rmtree(folder)


def numbered(data: bytes, number: int) -> bytes:
    """Return the file with a comment: other bytes, another sha256, the same pixels."""
    note = f"copy {number}".encode()
    if data.startswith(b"\x89PNG"):
        body = b"tEXt" + b"Comment\0" + note
        chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
        return data[:-PNG_END] + chunk + data[-PNG_END:]
    place = 4 + int.from_bytes(data[4:6])  # behind JFIF's own segment, before the mark that says phantom
    return data[:place] + b"\xff\xfe" + (len(note) + 2).to_bytes(2) + note + data[place:]


def suffix(data: bytes) -> str:
    """Return the suffix that belongs to the content."""
    return "png" if data.startswith(b"\x89PNG") else "jpg"


def write(folder: Path, drawn: list[bytes], first: int, count: int) -> list[Path]:
    """Write so many distinct files, numbered from `first`, and return their paths."""
    folder.mkdir(parents=True)
    paths = []
    for number, data in enumerate(islice(cycle(drawn), count), start=first):
        path = folder / f"{number:06d}.{suffix(data)}"
        path.write_bytes(numbered(data, number))
        paths.append(path)
    return paths
