"""Damaged files through decoding: each must end in pixels or in words, never in an exception."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms.phantom import CLASSES, FORMATS, draw_phantom, encode
from models.phantoms.spoiled import write_spoiled_files
from models.radiographs.radiograph import Limits, decode
from tests.soak.campaign import Campaign

if TYPE_CHECKING:
    from numpy.random import Generator

SIDE = 96
FILES_A_ROUND = 100
LIMITS = Limits(max_bytes=4 * 1024**2, max_pixels=4_000_000)


class Files(Campaign):
    """Good files of every format and the spoiled set, cut, overwritten, joined and stretched at random."""

    def prepare(self) -> None:
        """Make the files that are damaged later."""
        seed = int(self.random.integers(2**31))
        self._whole = [
            encode(draw_phantom(CLASSES[place % len(CLASSES)], place, 0, seed, (SIDE, SIDE)), name)
            for place, name in enumerate(FORMATS)
        ]
        with tempfile.TemporaryDirectory() as folder:
            self._whole += [one.path.read_bytes() for one in write_spoiled_files(Path(folder), seed)]

    def round(self) -> None:
        """Damage some files and read them."""
        for _ in range(FILES_A_ROUND):
            data = self._damaged()
            self.count("damaged files")
            try:
                pixels, found = decode(data, LIMITS)
            except Exception as error:  # noqa: BLE001 - this is what must not happen
                self.violated(f"reading raised {error!r}", data)
                continue
            if (pixels is not None) != found.decodable or (pixels is None) != bool(found.problem):
                self.violated(f"neither pixels nor words, or both: {found.problem!r}", data)
            self.count("refused in words" if pixels is None else "read")

    def _damaged(self) -> bytes:
        random, data = self.random, bytearray(self._pick())
        for _ in range(int(random.integers(1, 4))):
            match random.integers(6):
                case 0:
                    del data[int(random.integers(len(data) + 1)) :]
                case 1:
                    for place in random.integers(0, max(len(data), 1), int(random.integers(1, 9))):
                        data[int(place) : int(place) + 1] = random.bytes(1)
                case 2:
                    del data[slice(*_span(random, len(data)))]
                case 3:
                    start, end = _span(random, len(data))
                    data[start:end] = random.bytes(end - start)
                case 4:
                    data += self._pick()[int(random.integers(200)) :]
                case 5:  # what headers say: sizes, depths, lengths
                    start = int(random.integers(0, 64))
                    data[start : start + 4] = int(random.integers(2**32)).to_bytes(4, "big")
        return bytes(data)

    def _pick(self) -> bytes:
        return self._whole[int(self.random.integers(len(self._whole)))]


def _span(random: Generator, size: int) -> tuple[int, int]:
    start, end = np.sort(random.integers(0, size + 1, 2))
    return int(start), int(end)
