"""Entries of a tournament: which images take part, whose they are, and in which order."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.phantoms.phantom import encode, write_phantoms
from models.radiographs.preprocessing import PreprocessingSpec
from models.radiographs.radiograph import Limits
from tasks.datasets import labelled_images
from tasks.datasets.dataset import DatasetError
from tasks.tournament import entries

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.tournament.entries import Entries

SHARES = (0.15, 0.15)
SPEC = PreprocessingSpec(height=32, width=32)
CLASSES = ("NORMAL", "PNEUMONIA")
ROWS = [
    (f"{number}.png", CLASSES[number % 2], f"p{number // 2}", ("PA", "pa", "unknown", "AP")[number % 4])
    for number in range(32)
]


def entered(folder: Path) -> Entries:
    return entries.enter(labelled_images.from_folder(folder, SHARES), "ward", Limits())


def picture(number: int) -> bytes:
    return encode(np.random.default_rng(number).random((40, 40), np.float32), "png-grey-8")


def write(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """A sheet of file, label, patient and view; each file that is not there yet is drawn by its number."""
    folder.mkdir(exist_ok=True)
    for name, *_ in rows:
        if not (folder / name).exists():
            (folder / name).write_bytes(picture(int(name.partition(".")[0])))
    with (folder / "labels.csv").open("w", newline="") as sheet:
        csv.writer(sheet).writerows([("file", "label", "patient_id", "view"), *rows])
    return folder


def test_a_sheet_keeps_a_patients_images_together_and_a_lost_file_is_counted(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 8, seed=2, size=100)
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("NORMAL/lost.png,NORMAL,p9\n")
    found = entered(tmp_path)
    assert len(set(found.patients)) < len(found.images) == 8
    assert {found.classes[label] for label in found.labels} == set(found.classes)
    assert found.made
    assert found.remarks == ("1 image left out: unreadable (1).",)


def test_without_a_sheet_sub_folders_are_classes_and_it_is_said_that_nobody_is_known(tmp_path: Path) -> None:
    for number, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "NORMAL" / "notes.txt").write_text("not an image")
    found = entered(tmp_path)
    assert (found.classes, len(set(found.patients)), found.left_out) == (CLASSES, 2, {"unreadable": 1})
    assert "each file counts as a patient" in found.remarks[0]


def test_one_class_is_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least 2"):
        entered(write(tmp_path / "one", [("0.png", "NORMAL", "p", "")]))
    with pytest.raises(DatasetError, match=r"classes: 1, and at least 2 are needed. 1 image left out: lateral view"):
        entered(write(tmp_path / "side", [("0.png", "NORMAL", "p", ""), ("1.png", "PNEUMONIA", "q", "lateral")]))
    (tmp_path / "labels.csv").write_text("name,label\n")
    with pytest.raises(DatasetError, match="patient_id"):
        entered(tmp_path)


def test_neither_the_order_of_the_sheet_nor_its_names_decide_about_folds_and_pixels(tmp_path: Path) -> None:
    one = entered(write(tmp_path / "here", ROWS))
    renamed = [(name, label, f"another {patient}", view) for name, label, patient, view in ROWS[::-1]]
    other = entered(write(tmp_path / "there", renamed))
    assert one.fingerprint == other.fingerprint
    assert one.contents == other.contents
    assert one.patients == other.patients
    assert all(map(np.array_equal, one.folds(3, 0), other.folds(3, 0)))
    made = [np.load(entries.images(tmp_path / name, of, SPEC)) for name, of in (("a", one), ("b", other))]
    assert np.array_equal(*made)


def test_who_shares_a_file_is_one_person_and_views_belong_to_the_set(tmp_path: Path) -> None:
    one = entered(write(tmp_path / "here", ROWS))
    (tmp_path / "here" / "copy.png").write_bytes(picture(0))
    joined = entered(write(tmp_path / "here", [*ROWS, ("copy.png", "NORMAL", "p5", "PA")]))
    assert len(set(one.patients)) == 16
    assert len(set(joined.patients)) == 15
    for split in joined.folds(3, 0):
        assert len({split[place] for place, content in enumerate(joined.contents) if content == one.contents[0]}) == 1
    seen = entered(write(tmp_path / "there", [(*row[:3], "AP") for row in ROWS]))
    assert seen.fingerprint != one.fingerprint, "the view decides what a recipe learns from"


def test_views_from_the_side_take_no_part_and_are_counted(tmp_path: Path) -> None:
    found = entered(write(tmp_path, [*ROWS[:-1], (*ROWS[-1][:3], "Left Lateral")]))
    assert (len(found.images), found.left_out) == (31, {"lateral view": 1})


@pytest.mark.parametrize("count", [1, -3])
def test_folds_that_cannot_be_are_refused_in_words(tmp_path: Path, count: int) -> None:
    with pytest.raises(DatasetError, match="at least 2, or for 0"):
        entered(write(tmp_path, ROWS)).folds(count, 0)


@pytest.mark.parametrize(("patients", "count"), [(4, 5), (3, 2), (2, 2)])
def test_too_few_patients_for_so_many_folds_are_refused_in_words(tmp_path: Path, patients: int, count: int) -> None:
    rows = [(f"{place}.png", CLASSES[place % 2], f"p{place}", "") for place in range(2 * patients)]
    with pytest.raises(DatasetError, match=f"{patients} patients only: {count} folds by patient need"):
        entered(write(tmp_path, rows)).folds(count, 0)
