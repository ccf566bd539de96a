"""Decoded arrays: fetched once, checked against what was labelled, and gone when their patients are."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.files import UNFINISHED_PREFIX
from models.phantoms.phantom import draw_phantom, encode
from models.radiographs.preprocessing import PreprocessingSpec, preprocess
from models.radiographs.radiograph import Limits, decode
from tasks.datasets.dataset import Item
from tasks.training import arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.storage import Store

SPEC = PreprocessingSpec(height=40, width=40)
LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000)


def picture(number: int) -> bytes:
    return encode(draw_phantom("NORMAL", number, 0, seed=1, size=(90, 80)), "png-grey-8")


@pytest.fixture
def put(store: Store) -> Callable[..., Item]:
    """Stores bytes and gives the item that a data set would hold."""

    def put(data: bytes, key: str, *, content: str | None = None) -> Item:
        store.write(key, data)
        ((listed,),) = store.list(key)
        content = content or hashlib.sha256(data).hexdigest()
        return Item(content, key, listed.etag, "NORMAL", f"of {key}", "train", False, len(data))

    return put


@pytest.fixture
def items(put: Callable[..., Item]) -> list[Item]:
    return [put(picture(number), f"labelled/{number}.png") for number in range(5)]


def contents(items: list[Item]) -> list[str]:
    return [item.content_sha256 for item in items]


def files(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "arrays").rglob("*") if path.is_file())


def test_an_array_is_what_scoring_would_feed_the_model(store: Store, items: list[Item], tmp_path: Path) -> None:
    kept = arrays.keep(items, store, SPEC, tmp_path, LIMITS)
    assert (kept.places.tolist(), dict(kept.unreadable), kept.decoded) == ([0, 1, 2, 3, 4], {}, 5)
    together = arrays.assemble(tmp_path / "job" / "images.npy", contents(items)[::-1], SPEC, tmp_path)
    assert isinstance(together, np.memmap)
    for place, number in enumerate(reversed(range(5))):
        pixels, _ = decode(picture(number), LIMITS)
        assert np.array_equal(together[place], preprocess(pixels, SPEC))
    assert np.array_equal(arrays.load(contents(items)[:2], SPEC, tmp_path), together[::-1][:2])
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["images.npy"]


def test_a_second_run_fetches_and_decodes_nothing(store: Store, items: list[Item], tmp_path: Path) -> None:
    arrays.keep(items, store, SPEC, tmp_path, LIMITS)
    for item in items:
        store.client.delete_object(Bucket=store.bucket, Key=item.bucket_key)
    again = arrays.keep(items, store, SPEC, tmp_path, LIMITS)
    assert (len(again.places), again.decoded) == (5, 0)
    other = arrays.keep(items, store, PreprocessingSpec(height=20, width=20), tmp_path, LIMITS)
    assert (len(other.places), other.decoded) == (0, 0), "another preprocessing has arrays of its own"


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_array_is_decoded_again(store: Store, items: list[Item], tmp_path: Path, damage: str) -> None:
    arrays.keep(items, store, SPEC, tmp_path, LIMITS)
    before = arrays.load(contents(items), SPEC, tmp_path).copy()
    path = files(tmp_path)[2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-100], "flipped": data, "emptied": b""}[damage])
    with pytest.raises(FileNotFoundError, match="1 of 5 arrays are not in the cache any more"):
        arrays.load(contents(items), SPEC, tmp_path)
    assert arrays.keep(items, store, SPEC, tmp_path, LIMITS).decoded == 1
    assert np.array_equal(arrays.load(contents(items), SPEC, tmp_path), before)


def test_what_cannot_be_read_is_counted_by_reason_and_named_nowhere(
    store: Store, items: list[Item], put: Callable[..., Item], tmp_path: Path
) -> None:
    gone = put(picture(7), "labelled/gone.png")
    store.client.delete_object(Bucket=store.bucket, Key=gone.bucket_key)
    replaced = put(picture(8), "labelled/replaced.png")
    store.write(replaced.bucket_key, picture(9))
    other = put(picture(10), "labelled/other.png", content="0" * 64)
    text = put(b"no picture", "labelled/text.png")
    large = put(b"\0" * (LIMITS.max_bytes + 1), "labelled/large.png")
    kept = arrays.keep([items[0], gone, replaced, other, text, large, items[1]], store, SPEC, tmp_path, LIMITS)
    assert kept.places.tolist() == [0, 6]
    assert sum(kept.unreadable.values()) == 5
    assert kept.unreadable["larger than CXR_MAX_BYTES"] == 1
    assert kept.unreadable["the object holds another content than the one that was labelled"] == 1
    assert not any("labelled/" in reason or ".png" in reason for reason in kept.unreadable)
    assert len(files(tmp_path)) == 2


def test_only_the_owner_may_look(store: Store, items: list[Item], tmp_path: Path) -> None:
    arrays.keep(items, store, SPEC, tmp_path, LIMITS)
    for path in [tmp_path / "arrays", *(tmp_path / "arrays").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_what_is_in_the_data_set_no_more_is_removed_whatever_its_preprocessing(
    store: Store, items: list[Item], tmp_path: Path
) -> None:
    other = PreprocessingSpec(height=20, width=20)
    for spec in (SPEC, other):
        arrays.keep(items, store, spec, tmp_path, LIMITS)
    left = files(tmp_path)[0].with_name(f"{UNFINISHED_PREFIX}left.npz")
    left.write_bytes(b"by a killed process")
    assert arrays.prune(tmp_path, contents(items)[:3]) == 4
    assert sorted({path.stem for path in files(tmp_path)}) == sorted(contents(items)[:3])
    assert len(files(tmp_path)) == 6
    assert arrays.prune(tmp_path / "nothing", []) == 0


def test_each_image_is_told(store: Store, items: list[Item], tmp_path: Path) -> None:
    told: list[Any] = []
    arrays.keep(items, store, SPEC, tmp_path, LIMITS, workers=2, on_image=told.append)
    assert told == [1, 2, 3, 4, 5]
