"""Near-duplicates across splits: files with different bytes that show the same picture, such as a re-encoded copy.

The search has two steps. Candidates are nearest neighbours by signature, a picture of 32 x 32 pixels without grey
gradients wider than a few ribs. A candidate is confirmed if the two images correlate block by block, either directly or
after an affine alignment (OpenCV's ECC: Evangelidis and Psarakis, IEEE TPAMI 2008), because a copy may be cropped. The
median over the blocks decides, so burnt-in text in a corner does not hide a copy.

Measured on 899 frontal radiographs (docs/labels.md): images of different patients reach 0.92, two images of one patient
0.938. Copies that are saved as JPEG of quality 40, scaled to half size, brightened, lettered or cropped by up to 3 % a
side reach at least 0.94.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.radiographs.opencv import cv2
from models.vocabulary import STRICTNESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MIN_SIMILARITY: Final = 0.94
"""Minimum median correlation of the blocks of two images that show the same picture."""
MIN_CANDIDATE_CORRELATION: Final = 0.75
"""Minimum correlation of the signatures of a candidate; copies cropped by 3 % a side have at least 0.77."""
CANDIDATES_PER_IMAGE: Final = 5
"""Candidates for each image in each less strict split."""
SIGNATURE_SIDE, REDUCED_SIDE, BLOCKS = 32, 64, 4
"""Side of a signature and of a reduced image in pixels, and number of blocks along a side."""
CHUNK_IMAGES: Final = 1024
"""Images compared with all others at a time: 80 MB at 20,000 images."""
ECC_CRITERIA: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 1e-4)
"""When an alignment stops: after 12 iterations, or at an improvement below 1e-4."""
MIN_PROMISING_AGREEMENT: Final = 0.7
"""Minimum agreement after a coarse alignment for which it is refined."""
MIN_OVERLAP: Final = 0.5
"""Minimum share of an image, and of a block, that the aligned image must cover."""
THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images that show the same picture; `i` is in the stricter split (test, then validation, then train)."""

    i: int
    j: int
    similarity: float


def find(
    images: NDArray[np.uint8], splits: Sequence[str] | None, similar: float = MIN_SIMILARITY
) -> list[DuplicatePair]:
    """Find pairs of images in different splits that show the same picture; without splits, any such pairs.

    Args:
        images: (n, height, width, channels), uint8, preprocessed; may be a memory map.
        splits: the split of each image; None compares all images, and `i` is before `j`.
        similar: minimum similarity of two images that show the same picture, 0 to 1.

    Returns:
        The pairs, most similar first.

    Raises:
        ValueError: the numbers of splits and images differ.
    """
    if splits is not None and len(images) != len(splits):
        raise ValueError(f"{len(images)} images and {len(splits)} splits do not match")
    if not len(images):
        return []
    reduced = np.stack([_reduce(image) for image in images])
    signatures = np.stack([_signature(one) for one in reduced])
    candidates = list(_all_candidates(signatures) if splits is None else _candidates_across(signatures, splits))
    with ThreadPoolExecutor(THREADS) as executor:
        similarities = executor.map(lambda pair: similarity(reduced[pair[0]], reduced[pair[1]], similar), candidates)
        pairs = [
            DuplicatePair(*pair, value)
            for pair, value in zip(candidates, similarities, strict=True)
            if value >= similar
        ]
    return sorted(pairs, key=lambda pair: -pair.similarity)


def similarity(one: Floats, other: Floats, enough: float = MIN_SIMILARITY) -> float:
    """Return how much two pictures agree: the median of their blocks' correlations, after an alignment if needed.

    Args:
        one: float32 (64, 64).
        other: the same.
        enough: agreement from which the pictures are not aligned.
    """
    best = _agreement(_structure(one), _structure(other), np.ones(one.shape, bool))
    # Try both directions: only the larger of two crops contains the other.
    for fixed, moving in ((one, other), (other, one)):
        if best < enough:
            best = max(best, _agreement_after_alignment(fixed, moving))
    return best


def _agreement_after_alignment(fixed: Floats, moving: Floats) -> float:
    """Agreement after an affine alignment of `moving`, estimated at half the size and refined if it is promising."""
    fixed_structure, moving_structure = _structure(fixed), _structure(moving)
    half = REDUCED_SIDE // 2
    transform = _align(_shrink(fixed_structure, half), _shrink(moving_structure, half), None, 3)
    if transform is None:
        return 0.0
    # Scale the transform to the full size; the pixels' centres are offset by half a pixel.
    centre = np.full(2, 0.5, np.float32)
    transform[:, 2] = 2 * transform[:, 2] + centre - transform[:, :2] @ centre
    agreement = _agreement_under(transform, fixed_structure, moving)
    if agreement < MIN_PROMISING_AGREEMENT:
        return agreement
    refined = _align(fixed_structure, moving_structure, transform, 5)
    return agreement if refined is None else max(agreement, _agreement_under(refined, fixed_structure, moving))


def _align(fixed: Floats, moving: Floats, initial: Floats | None, smoothing: int) -> Floats | None:
    """Estimate the affine transform (2, 3) from `fixed` to `moving`; None where they have nothing in common."""
    start = np.eye(2, 3, dtype=np.float32) if initial is None else initial.copy()
    mask = np.ones(fixed.shape, np.uint8)
    try:
        return np.asarray(
            cv2.findTransformECC(fixed, moving, start, cv2.MOTION_AFFINE, ECC_CRITERIA, mask, smoothing)[1], np.float32
        )
    except cv2.error:  # the estimate does not converge
        return None


def _agreement_under(transform: Floats, fixed_structure: Floats, moving: Floats) -> float:
    def warped(picture: NDArray[Any], interpolation: int) -> NDArray[Any]:
        return cv2.warpAffine(
            picture, transform, (REDUCED_SIDE, REDUCED_SIDE), flags=interpolation | cv2.WARP_INVERSE_MAP
        )

    inside = cv2.erode(warped(np.ones_like(moving), cv2.INTER_NEAREST), np.ones((5, 5), np.uint8), borderValue=0) > 0
    if inside.mean() < MIN_OVERLAP:
        return 0.0
    return _agreement(fixed_structure, _structure(warped(moving, cv2.INTER_LINEAR)), inside)


def _reduce(image: NDArray[np.uint8]) -> Floats:
    return _shrink(np.ascontiguousarray(image[..., 0]).astype(np.float32), REDUCED_SIDE)  # all channels are equal


def _shrink(picture: Floats, side: int) -> Floats:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _signature(reduced: Floats) -> Floats:
    """A unit vector (1024,) whose dot product with another signature is their correlation."""
    small = _shrink(reduced, SIGNATURE_SIDE)
    flat = (small - cv2.GaussianBlur(small, (0, 0), 4)).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), np.float32)


def _structure(reduced: Floats) -> Floats:
    """Keep structures from a pixel to a few ribs wide: coarser than noise, finer than the outline of the chest."""
    return cv2.GaussianBlur(reduced, (0, 0), 0.8) - cv2.GaussianBlur(reduced, (0, 0), 3)


def _candidates_across(signatures: Floats, splits: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield each image with its nearest neighbours in each less strict split."""
    rows: Mapping[str, Any] = {name: np.flatnonzero(np.array(splits) == name) for name in STRICTNESS}
    for strict in STRICTNESS:
        for lax in (name for name in STRICTNESS if STRICTNESS[name] < STRICTNESS[strict]):
            lax_rows = rows[lax]
            if not len(lax_rows):
                continue
            for start in range(0, len(rows[strict]), CHUNK_IMAGES):
                strict_rows = rows[strict][start : start + CHUNK_IMAGES]
                correlation = signatures[strict_rows] @ signatures[lax_rows].T
                count = min(CANDIDATES_PER_IMAGE, len(lax_rows))
                nearest = np.argpartition(-correlation, count - 1, axis=1)[:, :count]
                for row, columns in enumerate(nearest):
                    yield from (
                        (int(strict_rows[row]), int(lax_rows[column]))
                        for column in columns
                        if correlation[row, column] >= MIN_CANDIDATE_CORRELATION
                    )


def _all_candidates(signatures: Floats) -> list[tuple[int, int]]:
    """Return each image with its nearest neighbours among all others, each pair once."""
    pairs = set()
    for start in range(0, len(signatures), CHUNK_IMAGES):
        correlation = signatures[start : start + CHUNK_IMAGES] @ signatures.T
        rows = np.arange(len(correlation))
        correlation[rows, rows + start] = -1  # an image is not its own neighbour
        nearest = np.argpartition(-correlation, min(CANDIDATES_PER_IMAGE, correlation.shape[1]) - 1, axis=1)[
            :, :CANDIDATES_PER_IMAGE
        ]
        close = np.take_along_axis(correlation, nearest, axis=1) >= MIN_CANDIDATE_CORRELATION
        for row, column in zip(*np.nonzero(close), strict=True):
            one, other = int(row) + start, int(nearest[row, column])
            pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)


def _agreement(one: Floats, other: Floats, mask: NDArray[np.bool_]) -> float:
    """The median of the blocks' correlations, over the blocks that lie mostly inside the mask."""

    def blocks(picture: NDArray[Any]) -> NDArray[Any]:
        step = REDUCED_SIDE // BLOCKS
        return picture.reshape(BLOCKS, step, BLOCKS, step).swapaxes(1, 2).reshape(BLOCKS * BLOCKS, -1)

    weight = blocks(mask).astype(np.float32)
    inside = weight.mean(axis=1) >= MIN_OVERLAP
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
