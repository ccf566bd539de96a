"""Decoded images on disk, so that no retraining fetches and decodes what an earlier one did.

An array is kept under its content's sha256 and its preprocessing's hash, so it can never be out of date. The pixels are
patients': the folders open for their owner only, and `prune` removes what is in the data set no more.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from models.files import UNFINISHED_PREFIX, atomic_file, make_private_folders, write_arrays
from models.radiographs.preprocessing import preprocess
from tasks.radiographs.fetching import StoredObject, read_radiograph, thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.preprocessing import PreprocessingSpec
    from models.radiographs.radiograph import Limits
    from tasks.datasets.dataset import Item

FOLDER: Final = "arrays"
SUFFIX: Final = ".npz"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on disk after `keep`."""

    places: NDArray[np.intp]
    """Places of the items that have an array, in order."""
    unreadable: Mapping[str, int]
    """Items without one: how many, by reason."""
    decoded: int
    """Arrays that were not there before."""


def keep(
    items: Sequence[Item],
    store: Store,
    spec: PreprocessingSpec,
    cache: Path,
    limits: Limits,
    *,
    workers: int = 0,
    on_image: Callable[[int], None] | None = None,
) -> Kept:
    """Fetch, decode and preprocess as scoring does what the cache lacks or holds damaged.

    Args:
        items: the labelled images.
        store: where their objects lie.
        spec: what is done to each.
        cache: folder that is safe to delete; arrays lie below it.
        limits: what is refused before decoding.
        workers: threads; 0: two more than there are processors.
        on_image: called after each item with how many are done.

    Raises:
        StorageError: the store as a whole is out of reach; what concerns one object is in the result.
    """
    folder = _folder(cache, spec)
    problems: list[str | None] = []
    decoded = 0

    def one(item: Item) -> tuple[str | None, bool]:
        if _read(_path(folder, item.content_sha256), spec) is not None:
            return None, False
        return _decode(item, store, spec, limits, cache), True

    executor = ThreadPoolExecutor(thread_count(workers), thread_name_prefix="arrays")
    try:
        for problem, new in executor.map(one, items):
            problems.append(problem)
            decoded += new and problem is None
            if on_image is not None:
                on_image(len(problems))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    places = np.array([place for place, problem in enumerate(problems) if problem is None], np.intp)
    return Kept(places, Counter(problem for problem in problems if problem is not None), decoded)


def put(content: str, pixels: NDArray[np.uint8], spec: PreprocessingSpec, cache: Path) -> None:
    """Keep one array: `pixels` is what `models.radiographs.preprocessing.preprocess` made of that content.

    NumPy's zip holds a checksum, which a bare .npy does not.
    """
    path = _path(_folder(cache, spec), content)
    make_private_folders(path.parents[2], path.parents[1], path.parent)
    write_arrays(path, several_writers=True, pixels=pixels)


def assemble(target: Path, contents: Sequence[str], spec: PreprocessingSpec, cache: Path) -> NDArray[np.uint8]:
    """Write the arrays of some contents as one file, without holding them in memory.

    Args:
        target: written anew; appears once it is whole.
        contents: sha256 of n images, which `keep` has kept.
        spec: the one given to `keep`.
        cache: the one given to `keep`.

    Returns:
        The file as a read-only memory map: uint8 (n, height, width, channels), in the order given.

    Raises:
        FileNotFoundError: an array is missing or damaged: `keep` must come first. Which one is not said.
    """
    folder = _folder(cache, spec)
    make_private_folders(target.parent)
    with atomic_file(target) as unfinished:
        together = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(len(contents), *spec.shape))
        for place, content in enumerate(contents):
            pixels = _read(_path(folder, content), spec)
            if pixels is None:
                raise FileNotFoundError(f"array {place + 1} of {len(contents)} is not in the cache any more")
            together[place] = pixels
        together.flush()
    return np.load(target, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return] # NumPy says Any


def load(contents: Sequence[str], spec: PreprocessingSpec, cache: Path) -> NDArray[np.uint8]:
    """Return the arrays of a few contents, in memory: uint8 (n, height, width, channels). Raises as `assemble`."""
    folder = _folder(cache, spec)
    found = [_read(_path(folder, content), spec) for content in contents]
    whole = [pixels for pixels in found if pixels is not None]
    if len(whole) < len(found):
        raise FileNotFoundError(f"{len(found) - len(whole)} of {len(found)} arrays are not in the cache any more")
    return np.stack(whole) if whole else np.empty((0, *spec.shape), np.uint8)


def prune(cache: Path, wanted: Collection[str]) -> int:
    """Remove the arrays of all contents but these, whatever their preprocessing, and what killed writers left.

    A patient who withdraws is in no data set any more, and so must not be here either. Nothing may be written
    meanwhile: the caller holds the lock of its retraining.

    Returns:
        How many arrays were removed.
    """
    contents = set(wanted)
    removed = 0
    for path in (cache / FOLDER).glob("*/*/*"):
        if path.stem not in contents or path.suffix != SUFFIX:
            with suppress(FileNotFoundError):
                path.unlink()
                removed += path.suffix == SUFFIX and not path.name.startswith(UNFINISHED_PREFIX)
    return removed


def _folder(cache: Path, spec: PreprocessingSpec) -> Path:
    return cache / FOLDER / spec.hash


def _path(folder: Path, content: str) -> Path:
    return folder / content[:2] / f"{content}{SUFFIX}"


def _decode(item: Item, store: Store, spec: PreprocessingSpec, limits: Limits, cache: Path) -> str | None:
    """Put one image into the cache; what stands against it, in words that name neither object nor patient."""
    location = StoredObject(store, item.bucket_key, item.etag, item.size_bytes)
    found = read_radiograph(location, limits, partial(preprocess, spec=spec))
    if found.too_large:
        return "larger than CXR_MAX_BYTES"
    if found.measurement and found.measurement.sha256 != item.content_sha256:
        return "the object holds another content than the one that was labelled"
    if found.prepared is None:
        return found.problem or "not decodable"
    put(item.content_sha256, found.prepared, spec, cache)
    return None


def _read(path: Path, spec: PreprocessingSpec) -> NDArray[np.uint8] | None:
    """Return an array of the cache; None where it is missing or damaged, and then it is to be decoded again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels: NDArray[np.uint8] = arrays["pixels"]
    except Exception:  # noqa: BLE001 - whatever a damaged file makes NumPy and zipfile raise
        return None
    return pixels if pixels.dtype == np.uint8 and pixels.shape == spec.shape else None
