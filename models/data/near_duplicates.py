"""Near-duplicates across splits: files with other bytes that show the same picture, such as a copy saved anew.

Two steps. Candidates are the nearest neighbours by a small picture of the image's structure: 32 x 32 pixels, grey
gradients over more than a few ribs removed. A candidate is confirmed where the two correlate block by block, as they
are or after an affine alignment (OpenCV's ECC: Evangelidis and Psarakis, IEEE TPAMI 2008), for a copy may be cut
otherwise. The median over the blocks counts, so burnt-in text in some corner does not hide a copy.

Measured on 899 frontal radiographs (docs/labels.md): images of different patients reach 0.92, two of one patient 0.938;
copies saved as JPEG of quality 40, made half as large, brightened, lettered, or cut by up to 3 % a side reach 0.94.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from models.vocabulary import STRICTNESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIMILAR: Final = 0.94
"""Median correlation of the blocks from which two images are the same picture."""
CANDIDATE: Final = 0.75
"""Correlation of the small pictures below which nothing is compared; copies cut by 3 % a side have 0.77 and more."""
NEIGHBOURS: Final = 5
"""Candidates for each image in each laxer split."""
SMALL, SIDE, BLOCKS = 32, 64, 4
CHUNK: Final = 1024
"""Images compared with all others at a time: at 20,000 images 80 MB."""
CRITERIA: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 1e-4)
PROMISING: Final = 0.7
"""Agreement from which an alignment is refined."""
LEAST_OVERLAP: Final = 0.5
THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same picture; `i` is in the stricter split (test before validation before train)."""

    i: int
    j: int
    similarity: float


def find(images: NDArray[np.uint8], splits: Sequence[str] | None, similar: float = SIMILAR) -> list[Pair]:
    """Find pairs of images in different splits that show the same picture; without splits, any pairs.

    Args:
        images: (n, height, width, channels), uint8, as a model gets them; may be a memory map.
        splits: the split of each image; None: all are looked at alike, and `i` is before `j`.
        similar: similarity from which two images are the same picture, 0 to 1.

    Returns:
        The pairs, most similar first.

    Raises:
        ValueError: there are not as many splits as images.
    """
    if splits is not None and len(images) != len(splits):
        raise ValueError(f"{len(images)} images and {len(splits)} splits do not match")
    if not len(images):
        return []
    cv2.setNumThreads(1)
    reduced = np.stack([_reduced(image) for image in images])
    signatures = np.stack([_signature(one) for one in reduced])
    candidates = list(_neighbours(signatures) if splits is None else _candidates(signatures, splits))
    with ThreadPoolExecutor(THREADS) as executor:
        likeness = executor.map(lambda pair: similarity(reduced[pair[0]], reduced[pair[1]], similar), candidates)
        found = [Pair(*pair, value) for pair, value in zip(candidates, likeness, strict=True) if value >= similar]
    return sorted(found, key=lambda pair: -pair.similarity)


def similarity(one: Floats, other: Floats, enough: float = SIMILAR) -> float:
    """Return how much two pictures agree: the median of their blocks' correlations, aligned if that is needed.

    Args:
        one: float32 (64, 64).
        other: the same.
        enough: where the pictures agree so much as they are, they are not aligned.
    """
    best = _agreement(_structure(one), _structure(other), np.ones(one.shape, bool))
    # Both ways: a picture that is part of the other finds its place there, and not the other way round.
    for still, moved in ((one, other), (other, one)):
        if best < enough:
            best = max(best, _aligned(still, moved))
    return best


def _aligned(still: Floats, moved: Floats) -> float:
    """The agreement after the affine alignment of `moved`: found on pictures of half the size, refined if promising."""
    first, second = _structure(still), _structure(moved)
    half = SIDE // 2
    way = _way(_shrunk(first, half), _shrunk(second, half), None, 3)
    if way is None:
        return 0.0
    # The same map for pictures of twice the size, whose pixels' centres lie half a pixel further.
    centre = np.full(2, 0.5, np.float32)
    way[:, 2] = 2 * way[:, 2] + centre - way[:, :2] @ centre
    found = _agreement_along(first, moved, way)
    if found < PROMISING:
        return found
    refined = _way(first, second, way, 5)
    return found if refined is None else max(found, _agreement_along(first, moved, refined))


def _way(first: Floats, second: Floats, way: Floats | None, smoothing: int) -> Floats | None:
    start = np.eye(2, 3, dtype=np.float32) if way is None else way.copy()
    everywhere = np.ones(first.shape, np.uint8)
    try:
        return np.asarray(
            cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, CRITERIA, everywhere, smoothing)[1],
            np.float32,
        )
    except cv2.error:  # it finds no way: they have nothing in common
        return None


def _agreement_along(first: Floats, moved: Floats, way: Floats) -> float:
    def along(picture: NDArray[Any], how: int) -> NDArray[Any]:
        return cv2.warpAffine(picture, way, (SIDE, SIDE), flags=how | cv2.WARP_INVERSE_MAP)

    inside = cv2.erode(along(np.ones_like(moved), cv2.INTER_NEAREST), np.ones((5, 5), np.uint8), borderValue=0) > 0
    if inside.mean() < LEAST_OVERLAP:
        return 0.0
    return _agreement(first, _structure(along(moved, cv2.INTER_LINEAR)), inside)


def _reduced(image: NDArray[np.uint8]) -> Floats:
    return _shrunk(np.ascontiguousarray(image[..., 0]).astype(np.float32), SIDE)  # all channels are alike


def _shrunk(picture: Floats, side: int) -> Floats:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _signature(reduced: Floats) -> Floats:
    small = _shrunk(reduced, SMALL)
    flat = (small - cv2.GaussianBlur(small, (0, 0), 4)).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), np.float32)


def _structure(reduced: Floats) -> Floats:
    """Keep what is a pixel to a few ribs wide: coarser than noise, finer than how the chest fills the film."""
    return cv2.GaussianBlur(reduced, (0, 0), 0.8) - cv2.GaussianBlur(reduced, (0, 0), 3)


def _candidates(signatures: Floats, splits: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield each image with its nearest neighbours in each laxer split."""
    rows: Mapping[str, Any] = {name: np.flatnonzero(np.array(splits) == name) for name in STRICTNESS}
    for split in STRICTNESS:
        for laxer in (name for name in STRICTNESS if STRICTNESS[name] < STRICTNESS[split]):
            theirs = rows[laxer]
            if not len(theirs):
                continue
            for start in range(0, len(rows[split]), CHUNK):
                mine = rows[split][start : start + CHUNK]
                likeness = signatures[mine] @ signatures[theirs].T
                count = min(NEIGHBOURS, len(theirs))
                nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
                for row, columns in enumerate(nearest):
                    yield from (
                        (int(mine[row]), int(theirs[one])) for one in columns if likeness[row, one] >= CANDIDATE
                    )


def _neighbours(signatures: Floats) -> list[tuple[int, int]]:
    """Each image with its nearest neighbours among all others, each pair once."""
    found = set()
    for start in range(0, len(signatures), CHUNK):
        likeness = signatures[start : start + CHUNK] @ signatures.T
        rows = np.arange(len(likeness))
        likeness[rows, rows + start] = -1  # itself
        nearest = np.argpartition(-likeness, min(NEIGHBOURS, likeness.shape[1]) - 1, axis=1)[:, :NEIGHBOURS]
        close = np.take_along_axis(likeness, nearest, axis=1) >= CANDIDATE
        for row, place in zip(*np.nonzero(close), strict=True):
            one, other = int(row) + start, int(nearest[row, place])
            found.add((min(one, other), max(one, other)))
    return sorted(found)


def _agreement(one: Floats, other: Floats, where: NDArray[np.bool_]) -> float:
    """The median over the blocks of the correlation in each, among those that lie mostly inside `where`."""

    def blocks(picture: NDArray[Any]) -> NDArray[Any]:
        step = SIDE // BLOCKS
        return picture.reshape(BLOCKS, step, BLOCKS, step).swapaxes(1, 2).reshape(BLOCKS * BLOCKS, -1)

    weight = blocks(where).astype(np.float32)
    inside = weight.mean(axis=1) >= LEAST_OVERLAP
    weight = weight[inside]
    if not len(weight):
        return 0.0

    def centred(picture: Floats) -> Floats:
        values = blocks(picture)[inside]
        mean = (values * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
        return np.asarray((values - mean) * weight, np.float32)

    first, second = centred(one), centred(other)
    norm = np.sqrt((first * first).sum(1) * (second * second).sum(1))
    return float(np.median((first * second).sum(1) / np.maximum(norm, 1e-6)))
