"""Near-duplicates across splits: copies of a picture are found, and two patients are not confused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from models.data import near_duplicates
from models.phantoms.phantom import draw_phantom
from models.radiographs.preprocessing import PreprocessingSpec, preprocess
from models.radiographs.radiograph import Limits, decode
from tasks.datasets import splits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from tests.support.databases import Database

    Picture = NDArray[np.uint8]

SPEC = PreprocessingSpec()
SIDE = 224


def saved_anew(picture: Picture) -> Picture:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)


def made_smaller(picture: Picture) -> Picture:
    return cv2.resize(cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA), (SIDE, SIDE))


def brightened(picture: Picture) -> Picture:
    return (255 * (picture / 255) ** 0.7).astype(np.uint8)


def cropped(picture: Picture) -> Picture:
    return cv2.resize(picture[6:-3, 2:-6], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def lettered(picture: Picture) -> Picture:
    return cv2.putText(picture.copy(), "L 12:33", (5, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)


@pytest.fixture(scope="module")
def phantoms() -> Picture:
    """Twelve preprocessed phantoms of twelve patients."""
    labels = ("COVID-19", "NORMAL", "PNEUMONIA")
    return np.stack([preprocess(draw_phantom(labels[n % 3], n, 0, 1, (300, 300)), SPEC) for n in range(12)])


@pytest.mark.parametrize("change", [saved_anew, made_smaller, brightened, cropped, lettered])
def test_a_changed_copy_in_another_split_is_found(phantoms: Picture, change: Callable[[Picture], Picture]) -> None:
    copies = np.stack([change(one[..., 0]) for one in phantoms[:4]])[..., None]
    splits = ["train"] * len(phantoms) + ["test", "validation", "test", "validation"]
    found = near_duplicates.find(np.concatenate([phantoms, copies]), splits)
    assert {(pair.i - len(phantoms), pair.j) for pair in found} == {(n, n) for n in range(4)}


def test_copies_within_one_split_are_not_asked_about(phantoms: Picture) -> None:
    twice = np.concatenate([phantoms, phantoms])
    assert near_duplicates.find(twice, ["train"] * len(twice)) == []
    assert near_duplicates.find(phantoms[:0], []) == []
    with pytest.raises(ValueError, match="do not match"):
        near_duplicates.find(phantoms, ["train"])


def test_without_splits_copies_are_found_wherever_they_are(phantoms: Picture) -> None:
    twice = np.concatenate([phantoms, saved_anew(phantoms[0][..., 0])[None, ..., None]])
    assert [(pair.i, pair.j) for pair in near_duplicates.find(twice, None)] == [(0, len(phantoms))]
    assert near_duplicates.find(phantoms[:1], None) == []


def test_flat_images_are_nobodys_copies() -> None:
    flat = np.zeros((4, SIDE, SIDE, 1), np.uint8)
    assert near_duplicates.find(flat, ["train", "test", "validation", "test"]) == []


def test_real_radiographs_of_different_patients_are_told_apart_and_the_one_copy_is_found(xrays: Path) -> None:
    names = (xrays / "radiographs" / "COVID-19").glob("*.jpg")
    normal = sorted((xrays / "radiographs" / "NORMAL").glob("*.jpg"))
    patients = {path.name.partition("_")[0]: path for path in normal[:120]}
    files = [*sorted(names), *patients.values()]
    images = np.stack([preprocess(decode(path.read_bytes(), Limits())[0], SPEC) for path in files])
    splits = [("test", "train")[place % 2] for place in range(len(files))]
    (pair,) = near_duplicates.find(images, splits)
    assert {files[pair.i].stem[:8], files[pair.j].stem[:8]} == {"E63574A7", "F4341CE7"}


def test_pairs_are_remembered_once(db: Database, pool: sa.Engine) -> None:
    pairs = [near_duplicates.DuplicatePair(0, 1, 0.97), near_duplicates.DuplicatePair(2, 1, 0.95)]
    assert splits.store_near_duplicates(pool, ["c", "a", "b"], pairs) == 2
    assert splits.store_near_duplicates(pool, ["a", "c"], pairs[:1]) == 0
    found = db.rows("select content_sha256, other_sha256 from cxr.near_duplicates order by 2")
    assert found == [("a", "b"), ("a", "c")]


def test_an_image_is_compared_with_its_nearest_neighbours_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a comparison of all with all would take hours at ten thousand images."""
    compared: list[float] = []
    monkeypatch.setattr(near_duplicates, "similarity", lambda *_: compared.append(0.0) or 0.0)
    monkeypatch.setattr(near_duplicates, "MIN_CANDIDATE_CORRELATION", -1.0)  # all look alike: the worst case
    count = 300
    images = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 1), np.uint8)
    near_duplicates.find(images, [("test", "validation", "train")[row % 3] for row in range(count)])
    assert (
        len(compared) == near_duplicates.CANDIDATES_PER_IMAGE * count
    )  # test beside two others, validation beside one
    compared.clear()
    near_duplicates.find(images, None)
    assert 0 < len(compared) <= near_duplicates.CANDIDATES_PER_IMAGE * count
