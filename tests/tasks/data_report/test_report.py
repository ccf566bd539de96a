"""What the data report promises: right figures, warnings where they are due and nowhere else, and nobody's name."""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from models.phantoms.phantom import draw_phantom, encode
from models.radiographs.radiograph import Limits
from tasks.data_report import facts as data_facts
from tasks.data_report import people, report
from tasks.data_report import survey as data_survey
from tasks.datasets import labelled_images
from tasks.datasets.dataset import DatasetError
from tasks.datasets.splits import split_of
from tests.support.compared import SECRET, Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.data_report.facts import Facts
    from tasks.data_report.people import People

SHARES = (0.15, 0.15)
NOW = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
ROWS = [
    ("patientid", "finding", "sex", "age", "view", "pO2 saturation", "modality", "image_id"),
    *[(f"{SECRET} {n}", "COVID-19", "M", 60 + n, "AP erect", 80 + n, "X-ray", 7000 + n) for n in range(8)],
    *[(f"{SECRET} {n + 8}", "No finding", "F", 30 + n, "PA", 95 + n / 10, "X-ray", 8000 + n) for n in range(8)],
    (f"{SECRET} 0", "COVID-19", "M", "", "L", "low 90s", "X-ray", 1),
    (f"{SECRET} 20", "", "", "50+", "", "", "X-ray", 2),
]


def half(*, dark_left: bool, side: int = 40) -> bytes:
    picture = np.zeros((side, side), np.float32)
    picture[:, side // 2 :] = 1
    return encode(picture if dark_left else picture[:, ::-1], "png-grey-8")


def write(folder: Path, rows: Sequence[tuple[str, ...]], files: dict[str, bytes]) -> Path:
    """A folder with a sheet: rows of file, label and patient, and view and sex where they are given."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with (folder / "labels.csv").open("w", newline="") as sheet:
        csv.writer(sheet).writerows([("file", "label", "patient_id", "view", "sex")[: len(rows[0])], *rows])
    return folder


def noise(folder: Path, *, telling: str, count: int = 48) -> Path:
    """Two classes of noise, which differ in the size of their files or in the border of the images."""
    random = np.random.default_rng(3)
    rows, files = [], {}
    for number in range(count):
        label = ("NORMAL", "PNEUMONIA")[number % 2]
        side = (64, 80)[number % 2 if telling == "file" else int(random.integers(2))]
        picture = random.random((side, side)).astype(np.float32)
        if telling == "border":
            picture[:5] = (picture[:5] + number % 2) / 2  # dark or bright, and both as long when compressed
        name = f"{label}/{SECRET}-{number}.png"
        files[name] = encode(picture, "png-grey-8")
        rows.append((name, label, f"{SECRET} {number}"))
    return write(folder, rows, files)


def looked(folder: Path, **given: Any) -> tuple[Facts, str]:
    """The facts of a folder and its page."""
    collection = labelled_images.from_folder(folder, SHARES)
    survey = data_survey.survey_images(collection, Limits(), **given)
    facts = data_facts.compute_facts(survey)
    evidence = report.DataEvidence(
        made_at=NOW, code_version="1.2.3", collection=collection, survey=survey, facts=facts,
        pictures=report.pictures(survey, facts, Limits()), people={},
    )  # fmt: skip
    return facts, report.render(evidence, "Europe/Berlin")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, str]:
    """Files whose size is the class."""
    return looked(noise(tmp_path_factory.mktemp("telling"), telling="file"))


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sheet of metadata."""
    file = tmp_path_factory.mktemp("sheet") / "metadata.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(ROWS)
    return file


@pytest.fixture(scope="module")
def known(sheet: Path) -> People:
    return people.from_sheet(sheet)


def test_files_that_give_the_classes_away_are_warned_of_first(telling: tuple[Facts, str]) -> None:
    facts, page = telling
    by_file, by_border = facts.baselines
    assert (by_file.value, by_file.strength, by_file.chance) == (1.0, "strong", 0.5)
    assert by_border.strength == "none"
    assert page.index("Shortcut: the files give the classes away") < page.index('id="balance"')
    assert "Shortcut: the borders" not in page


def test_borders_that_give_the_classes_away_are_warned_of_and_files_that_are_alike_are_not(tmp_path: Path) -> None:
    facts, page = looked(noise(tmp_path, telling="border"))
    assert [one.strength for one in facts.baselines] == ["none", "strong"]
    assert "Shortcut: the borders of the images give the classes away" in page
    assert "Shortcut: the files" not in page
    assert page.count("<li class=") == 1


def test_the_figures_of_a_set_made_by_hand_are_right(tmp_path: Path) -> None:
    left, right = half(dark_left=True), half(dark_left=False, side=60)
    rows = [
        ("A/1.png", "A", "p1"), ("A/2.png", "A", "p1"), ("A/3.png", "A", "p2"), ("B/1.png", "B", "p2"),
        ("B/2.png", "B", "p3"), ("A/empty.png", "A", "p4"), ("B/lost.png", "B", "p5"), ("A/cut.png", "A", "p6"),
    ]  # fmt: skip
    files = {"A/1.png": left, "A/2.png": left, "A/3.png": left, "B/1.png": right, "B/2.png": right, "A/empty.png": b"",
             "A/cut.png": left[:-30]}  # fmt: skip
    facts, page = looked(write(tmp_path, rows, files))
    one, other = facts.classes
    assert (facts.images, facts.patients, facts.made, facts.imbalance) == (5, 3, 5, 1.5)
    assert [(each.name, each.images, each.patients, each.unreadable) for each in facts.classes] == [
        ("A", 3, 2, 2), ("B", 2, 2, 1)
    ]  # fmt: skip
    assert sum(facts.unreadable.values()) == 3
    assert {"the file is empty", "the file is not there"} < set(facts.unreadable)
    assert facts.multi_class_patients == {("A", "B"): 1}
    assert facts.per_patient == {"1": 1, "2": 2}
    splits = {name: split_of(name, *SHARES) for name in ("p1", "p2", "p3")}
    assert {name: split.patients for name, split in facts.splits.items()} == {
        name: list(splits.values()).count(name) for name in ("train", "validation", "test")
    }
    assert (one.width, one.aspect, one.kinds) == ((40, 40, 40), (1, 1, 1), {"PNG, 8 bit, grey": 3})
    assert other.kilobytes == (len(right) / 1000,) * 3
    # Dark left, bright right, and nothing between but where the picture is enlarged.
    assert (one.mean[:, 5].max(), one.mean[:, -5].min()) == (0, 255)
    np.testing.assert_allclose(one.mean, other.mean[:, ::-1], atol=40)
    np.testing.assert_allclose(facts.mean[:, [5, -5]], 127.5)
    np.testing.assert_allclose((one.original[0], one.original[-1], one.original.sum()), (0.5, 0.5, 1))
    assert facts.overlaps[0][:3] == ("A", "B", 1.0)
    assert (
        facts.duplicates.copies,
        facts.duplicates.copies_in_several_classes,
        facts.duplicates.compared,
        facts.duplicates.pairs,
    ) == (5, 0, 2, 0)
    assert (facts.baselines, facts.baseline_results.classes) == ((), ())
    assert "5 radiographs of 3 patients in 2 classes" in page
    assert "3 files of 8 cannot be read" in page
    assert "1 patient in A and B" in page
    assert "Made data (phantoms): no image here is of a patient." in page


def test_a_picture_saved_anew_under_another_label_is_found_and_shown(tmp_path: Path) -> None:
    rows, files = [], {}
    for number, label in enumerate(("NORMAL", "PNEUMONIA") * 4):
        picture = draw_phantom(label, number, 0, 1, (300, 300))
        files[f"{label}/{number}.png"] = encode(picture, "png-grey-8")
        rows.append((f"{label}/{number}.png", label, f"p{number}"))
    grey = cv2.imdecode(np.frombuffer(files["NORMAL/0.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
    files["PNEUMONIA/copy.jpg"] = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    rows.append(("PNEUMONIA/copy.jpg", "PNEUMONIA", "p0"))
    facts, page = looked(write(tmp_path, rows, files))
    assert (facts.duplicates.pairs, facts.duplicates.classes, facts.duplicates.patients, facts.duplicates.copies) == (
        1,
        1,
        0,
        0,
    )
    assert "1 pair of images shows the same picture: 1 in different classes." in page
    assert "NORMAL and PNEUMONIA</span>, one patient" in page
    assert page.count('alt="Radiograph labelled') == 2
    assert "Some of the images are made data" in page  # a saved copy has lost the mark
    assert "Made data mixed with real data" in page


def test_of_very_many_images_some_are_compared_and_the_page_says_so(tmp_path: Path) -> None:
    facts, page = looked(noise(tmp_path, telling="file", count=16), max_compared=8)
    assert (facts.images, facts.duplicates.compared, facts.baseline_results.images) == (16, 8, 0)
    assert "among 8 of 16 images, drawn at random: about 25 % of all pairs were compared" in page
    assert "Too few patients to test whether files and borders predict" in page


def test_the_page_stands_alone_and_names_no_image_and_no_patient(telling: tuple[Facts, str]) -> None:
    _, page = telling
    read = Page(page)
    assert (read.outside, read.silent) == ([], [])
    assert max(read.ids.values()) == 1
    assert SECRET not in page
    assert ".png" not in page
    assert hashlib.sha256(f"{SECRET} 1".encode()).hexdigest()[:8] not in page
    assert page.index("Research use, not for diagnosis") < page.index("<section")
    assert "handle it as patient data" in page
    assert "2026-06-02 01:30:00 Europe/Berlin" in page


def test_patients_that_nobody_names_are_warned_of(tmp_path: Path) -> None:
    for place, label in enumerate(("A", "B")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(half(dark_left=bool(place)))
    facts, page = looked(tmp_path)
    assert facts.patients == 2
    assert "Patients are unknown" in page


def test_folders_without_two_classes_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no images"):
        labelled_images.from_folder(tmp_path, SHARES)
    write(tmp_path, [("A/1.png", "A", SECRET)], {"A/1.png": half(dark_left=True)})
    with pytest.raises(DatasetError, match=r"only one class \(A\)"):
        labelled_images.from_folder(tmp_path, SHARES)
    write(tmp_path, [("A/1.png", "A", SECRET), ("B/1.png", "B", SECRET)], {"B/1.png": b"nothing"})
    found = labelled_images.from_folder(tmp_path, SHARES)
    with pytest.raises(DatasetError, match=r"1 of 2 images can be read.*it is not an image") as refused:
        data_survey.survey_images(found, Limits())
    assert SECRET not in str(refused.value) + repr(found)


def test_views_of_a_folder_are_written_in_one_way_and_the_report_counts_those_from_the_side(tmp_path: Path) -> None:
    told = [("pa", "female"), ("PA", "F"), ("unknown", "n/a"), ("LL", "m"), ("nan", "")]
    rows = [(f"{n}.png", "AB"[n % 2], f"p{n}", *given) for n, given in enumerate(told)]
    found = labelled_images.from_folder(write(tmp_path, rows, {}), SHARES).images
    assert [(one.view, one.sex) for one in found] == [
        ("PA", "F"), ("PA", "F"), (None, None), ("lateral", "M"), (None, None)
    ]  # fmt: skip
    counted = people.from_images(found)
    assert counted is not None
    assert counted.views["B"] == {"PA": 1, "lateral": 1, "not given": 0}


def test_a_sheet_is_counted_by_patient_and_words_for_ages_are_not_guessed(known: People) -> None:
    assert (known.rows, known.patients) == (18, 17)
    assert known.findings == {"COVID-19": 9, "No finding": 8, "not given": 1}
    assert known.ages == {
        "COVID-19": list(range(60, 68)), "No finding": list(range(30, 38)), "not given": []
    }  # fmt: skip
    assert known.unread_ages == 1
    assert known.sexes["COVID-19"] == {"M": 8, "F": 0, "not given": 0}
    assert known.views["COVID-19"] == {"AP erect": 8, "PA": 0, "lateral": 1, "not given": 0}
    assert (known.missing["age"], known.missing["finding"], known.missing["modality"]) == (1, 1, 0)


def test_columns_are_compared_by_the_measure_for_their_kind(known: People) -> None:
    assert list(known.columns) == ["finding", "sex", "age", "view", "po2_saturation"]
    assert list(known.uncompared) == ["modality"]
    together = known.associations["finding", "sex"]
    assert (together.measure, round(together.value or 0, 2), together.n) == ("Cramér's V", 1.0, 17)
    apart = known.associations["finding", "age"]
    assert (apart.measure, round(apart.value or 0, 2)) == ("point-biserial", -0.99)
    assert known.associations["age", "finding"] == apart
    assert known.associations["age", "po2_saturation"].measure == "Pearson"


def test_a_sheet_alone_has_a_page_without_its_patients(known: People) -> None:
    evidence = report.DataEvidence(made_at=NOW, code_version="1", people={report.SHEET: known})
    page = report.render(evidence)
    read = Page(page)
    assert (read.outside, read.silent, max(read.ids.values())) == ([], [], 1)
    assert "Age by finding" in page
    assert "8001" not in page
    assert SECRET not in page
    assert 'id="balance"' not in page


def test_a_sheet_that_says_nothing_of_people_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sheet.csv"
    file.write_text("file,size\na.png,3\n")
    with pytest.raises(DatasetError, match="no column finding"):
        people.from_sheet(file)


def test_the_sizes_of_real_files_give_their_classes_away(xrays: Path) -> None:
    facts, page = looked(xrays / "originals")
    assert facts.baselines[0].strength == "strong"
    assert facts.baselines[0].value > 0.9
    assert "Shortcut: the files give the classes away" in page
    assert len(page) < 1_000_000
