"""The one door for radiographs: what comes of files and objects, and that nothing of others is held."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.phantoms.phantom import draw_phantom, encode
from models.radiographs.radiograph import Limits
from tasks.radiographs.fetching import LocalFile, StoredObject, measure, read_radiograph

if TYPE_CHECKING:
    from infra.storage import Store
    from models.radiographs.radiograph import Pixels

ROOT = Path(__file__).parents[3]
LIMITS = Limits(max_bytes=200_000, max_pixels=100_000)
PICTURE = encode(draw_phantom("NORMAL", 1, 0, seed=1, size=(120, 110)), "png-grey-8")
TOO_LARGE = "the file has 200,001 bytes, more than the limit of 200,000"


def shape(pixels: Pixels) -> tuple[int, ...]:
    return pixels.shape


def test_a_file_and_an_object_of_the_same_content_are_read_alike(store: Store, tmp_path: Path) -> None:
    store.write("incoming/a.png", PICTURE)
    (tmp_path / "a.png").write_bytes(PICTURE)
    stored = read_radiograph(StoredObject(store, "incoming/a.png", None, len(PICTURE)), LIMITS, shape)
    local = read_radiograph(LocalFile(tmp_path / "a.png"), LIMITS, shape)
    assert stored == local
    assert (local.prepared, local.problem, local.content) == ((120, 110), None, hashlib.sha256(PICTURE).hexdigest())
    assert measure(LocalFile(tmp_path / "a.png"), LIMITS).measurement == local.measurement


def test_of_bytes_that_are_no_radiograph_nothing_is_prepared_and_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE[:-40])
    found = read_radiograph(LocalFile(tmp_path / "a.png"), LIMITS, shape)
    assert (found.prepared, found.failure) == (None, None)
    assert "truncated" in str(found.problem)
    assert found.content


def test_more_bytes_than_the_limit_are_refused_in_the_same_words_whether_or_not_they_were_fetched(
    store: Store, tmp_path: Path
) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    store.write("incoming/a.png", bytes(LIMITS.max_bytes + 1))
    for location, fetched in (
        (LocalFile(tmp_path / "a.png"), False),
        (StoredObject(store, "incoming/nothing-lies-there.png", "e", LIMITS.max_bytes + 1), False),
        (StoredObject(store, "incoming/a.png", None, None), True),
    ):
        found = read_radiograph(location, LIMITS, shape)
        assert (found.problem, found.failure, found.too_large) == (TOO_LARGE, None, not fetched)


def test_a_file_that_cannot_be_fetched_says_why_and_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "doe-jane").mkdir()
    gone = measure(LocalFile(tmp_path / "doe-jane" / "gone.png"), LIMITS)
    folder = measure(LocalFile(tmp_path / "doe-jane"), LIMITS)
    assert (gone.failure, folder.failure) == ("the file is not there", "the file cannot be opened: Is a directory")
    assert (gone.measurement, folder.measurement) == (None, None)


def test_where_a_radiograph_lies_is_not_shown(store: Store, tmp_path: Path) -> None:
    for location in (LocalFile(tmp_path / "doe-jane.png"), StoredObject(store, "incoming/doe-jane.png", "e", 1)):
        assert "doe-jane" not in f"{location}"


@pytest.mark.parametrize("module", ["tasks.radiographs.fetching", "models.data.near_duplicates"])
def test_whoever_reads_or_compares_radiographs_in_threads_leaves_opencv_one(module: str) -> None:
    program = f"import cv2; cv2.setNumThreads(4); import {module}; print(cv2.getNumThreads())"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "1"
