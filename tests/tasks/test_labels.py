"""Labels and the data sets made from them: what is learned from is what people said of these very bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from nights import Nights, scored

from models.phantom import draw, encode, write_phantoms
from models.preprocessing import PreprocessingSpec
from models.radiograph import Limits, read
from tasks import datasets, discovery, labels
from tasks.datasets import DatasetError
from tasks.labels import LabelError
from tasks.predictions import Result

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from infra.settings import Settings
    from infra.storage import Store

SPEC = PreprocessingSpec(height=32, width=32)


def sheet(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "sheet.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_labels_are_kept_by_content_and_only_for_known_images(db: Database, nights: Nights, tmp_path: Path) -> None:
    one, two, _ = nights.listed("a,1.png", "b.png", "waiting.png")
    run_id = nights.begin()
    nights.commit(run_id, scored(one, "x"), scored(two, "y"))
    path = sheet(
        tmp_path, 'object_key,class,patient_id\n"a,1.png",NORMAL,p1\nwaiting.png,NORMAL,p2\nlost.png,NORMAL,p3\n'
    )
    assert labels.add(nights.pool, "b", path, "dr-a") == (1, 3)
    assert labels.add(nights.pool, "elsewhere", path, "dr-a") == (0, 3)
    assert db.rows("select class, patient_id, source from cxr.labels") == [("NORMAL", "p1", "dr-a")]


def test_a_sources_newer_label_replaces_its_older_one_and_no_other_sources(
    db: Database, nights: Nights, tmp_path: Path
) -> None:
    (one,) = nights.listed("a.png")
    nights.night(scored(one, "x"))
    for word, source in (("NORMAL", "dr-a"), ("NORMAL", "dr-b"), ("PNEUMONIA", "dr-a")):
        path = sheet(tmp_path, f"object_key,class,patient_id\na.png,{word},p1\n")
        assert labels.add(nights.pool, "b", path, source) == (1, 1)
    assert db.rows("select source, class from cxr.labels order by 1") == [("dr-a", "PNEUMONIA"), ("dr-b", "NORMAL")]


def test_a_sheet_saved_by_a_spreadsheet_program_is_read(nights: Nights, tmp_path: Path) -> None:
    (one,) = nights.listed("späť.png")
    nights.night(scored(one, "x"))
    text = "patient_id,object_key,class,remark\r\np1,späť.png,NORMAL,fine\r\n"
    assert labels.add(nights.pool, "b", sheet(tmp_path, text, "utf-8-sig"), "dr-a") == (1, 1)


@pytest.mark.parametrize("text", ["", "object_key,class\na,b\n", "a.png,NORMAL,p1\n"])
def test_a_sheet_without_its_columns_is_refused_in_words(nights: Nights, tmp_path: Path, text: str) -> None:
    with pytest.raises(LabelError, match="object_key, class, patient_id"):
        labels.add(nights.pool, "b", sheet(tmp_path, text), "dr-a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    write_phantoms(folder, 8, seed=2, size=100)
    return folder


def test_a_folder_with_a_sheet_keeps_a_patients_images_together(folder: Path) -> None:
    data = datasets.from_folder(folder, SPEC)
    assert data.images.shape == (8, *SPEC.shape)
    assert data.images.dtype == np.uint8
    assert data.made
    assert len(set(data.patients)) < 8
    assert {data.classes[label] for label in data.labels} == set(data.classes)
    assert data.fingerprint == datasets.from_folder(folder, SPEC).fingerprint


def test_a_folder_without_a_sheet_takes_its_sub_folders_as_classes(tmp_path: Path) -> None:
    for number, label in enumerate(("NORMAL", "PNEUMONIA")):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{number}.png").write_bytes(encode(draw(label, number, 0, 1, (80, 80)), "png-grey-8"))
    (tmp_path / "NORMAL" / "notes.txt").write_text("not an image")
    data = datasets.from_folder(tmp_path, SPEC)
    assert (data.classes, data.patients, data.unreadable) == (("NORMAL", "PNEUMONIA"), ["0", "1"], 1)


def test_a_file_that_the_sheet_names_and_nobody_has_is_left_out_and_counted(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 6, seed=2, size=80)
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("NORMAL/lost.png,NORMAL,p9\n")
    assert datasets.from_folder(tmp_path, SPEC).unreadable == 1


def test_one_class_is_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "NORMAL").mkdir()
    with pytest.raises(DatasetError, match="at least 2"):
        datasets.from_folder(tmp_path, SPEC)
    (tmp_path / "labels.csv").write_text("name,label\n")
    with pytest.raises(DatasetError, match="patient_id"):
        datasets.from_folder(tmp_path, SPEC)


def test_labels_in_the_database_give_the_newest_word_on_each_content(
    nights: Nights, store: Store, settings: Settings, tmp_path: Path
) -> None:
    pictures = {f"{n}.png": encode(draw("NORMAL", n, 0, 1, (80, 80)), "png-grey-8") for n in range(3)}
    pictures["copy of 0.png"] = pictures["0.png"]
    for name, data in pictures.items():
        store.write(f"incoming/{name}", data)
    discovery.discover(nights.pool, store, settings, ["incoming/"])
    run_id = nights.begin(bucket=settings.bucket)
    results = []
    for one in discovery.begin(nights.pool, run_id, 0):
        measurement = read(store.read(one.key), Limits())[1]
        results.append(
            Result(
                one.image_id, "scored", (), None, measurement, predicted_class="NORMAL", probabilities=(0.1, 0.8, 0.1)
            )
        )
    nights.commit(run_id, *results)
    head = "object_key,class,patient_id\n"
    first = head + "".join(f"incoming/{name},NORMAL,p{name[0]}\n" for name in ("0.png", "1.png", "2.png"))
    assert labels.add(nights.pool, store.bucket, sheet(tmp_path, first), "dr-a") == (3, 3)
    second = head + "incoming/copy of 0.png,PNEUMONIA,p0\n"
    assert labels.add(nights.pool, store.bucket, sheet(tmp_path, second), "dr-b") == (1, 1)
    data = datasets.from_labels(nights.pool, store, SPEC)
    assert sorted(zip(data.patients, (data.classes[n] for n in data.labels), strict=True)) == [
        ("p0", "PNEUMONIA"),
        ("p1", "NORMAL"),
        ("p2", "NORMAL"),
    ]
    store.client.delete_object(Bucket=store.bucket, Key="incoming/1.png")
    assert datasets.from_labels(nights.pool, store, SPEC).unreadable == 1
