"""Labels and the data sets made from them: what is learned from is what people said of these very bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from nights import CLASSES, Nights, scored

from models.phantom import draw, encode, write_phantoms
from models.preprocessing import PreprocessingSpec
from models.radiograph import Limits, read
from tasks import datasets, discovery, labels, registry
from tasks.datasets import DatasetError
from tasks.labels import Added, LabelError
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
    assert labels.add(nights.pool, "b", path, "dr-a") == Added(written=1, rows=3, left_out=2)
    assert labels.add(nights.pool, "elsewhere", path, "dr-a") == Added(written=0, rows=3, left_out=3)
    assert db.rows("select class, patient_id, source from cxr.labels") == [("NORMAL", "p1", "dr-a")]


def test_a_sources_newer_label_replaces_its_older_one_and_no_other_sources(
    db: Database, nights: Nights, tmp_path: Path
) -> None:
    (one,) = nights.listed("a.png")
    nights.night(scored(one, "x"))
    for word, source in (("NORMAL", "dr-a"), ("NORMAL", "dr-b"), ("PNEUMONIA", "dr-a")):
        path = sheet(tmp_path, f"object_key,class,patient_id\na.png,{word},p1\n")
        assert labels.add(nights.pool, "b", path, source) == Added(1, 1, 0)
    assert db.rows("select source, class from cxr.labels order by 1") == [("dr-a", "PNEUMONIA"), ("dr-b", "NORMAL")]


def test_a_sheet_saved_by_a_spreadsheet_program_is_read(nights: Nights, tmp_path: Path) -> None:
    (one,) = nights.listed("späť.png")
    nights.night(scored(one, "x"))
    text = 'patient_id,object_key,class,remark\r\np1,späť.png,NORMAL,"fine\r\nso far"\r\n,,,\r\n\r\n'
    for encoding in ("utf-8", "utf-8-sig"):
        assert labels.add(nights.pool, "b", sheet(tmp_path, text, encoding), "dr-a") == Added(1, 1, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"object_key,class\na,b\n", "no column patient_id: "),
        (b"object_key;class;patient_id\na;b;c\n", "separated by commas"),
        (b"a.png,NORMAL,p1\n", "no column object_key, class, patient_id: "),
        ("object_key,class,patient_id\na.png,NORMAL,p1\n".encode("utf-16"), "'CSV UTF-8'"),
        ("object_key,class,patient_id\na.png,NORMAL,p1\n".encode("utf-16-le"), "'CSV UTF-8'"),
        ("object_key,class,patient_id\nspät.png,NORMAL,p1\n".encode("cp1252"), "'CSV UTF-8'"),
        (b"PK\x03\x04\x14\x00\x06\x00", "'CSV UTF-8'"),
        (b"object_key,class,patient_id\na.png,NORMAL,p1\nb.png,NORMAL\n", "line 3: no patient_id"),
        (b"object_key,class,patient_id\na.png,,\n", "line 2: no class, patient_id"),
        (b"object_key,class,patient_id\n" + b"a" * 200_000, "is no CSV (field larger"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(data)
    with pytest.raises(LabelError) as caught:
        labels.read_sheet(path, labels.COLUMNS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sheet_with_an_unknown_class_is_refused_before_anything_is_written(
    db: Database, nights: Nights, tmp_path: Path
) -> None:
    nights.night(*(scored(one, str(one)) for one in nights.listed("a", "b", "c", "d", "e")))
    rows = "a,NORMAL,p1\nb,FLU,p2\nc,Normal,p3\nd,FLU,p4\ne,ABNORMAL,p5\n"
    path = sheet(tmp_path, "object_key,class,patient_id\n" + rows)
    with pytest.raises(LabelError) as caught:
        labels.add(nights.pool, "b", path, "dr-a")
    assert "'FLU' (2 rows), 'Normal' (1 row; did you mean NORMAL?), 'ABNORMAL' (1 row); known" in str(caught.value)
    assert "known are COVID-19, NORMAL, PNEUMONIA. Nothing was written" in str(caught.value)
    assert db.value("select count(*) from cxr.labels") == 0


def test_a_class_that_is_named_as_new_is_taken_and_no_other(db: Database, nights: Nights, tmp_path: Path) -> None:
    nights.night(*(scored(one, str(one)) for one in nights.listed("a", "b")))
    path = sheet(tmp_path, "object_key,class,patient_id\na,FLU,p1\nb,FLUE,p2\n")
    with pytest.raises(LabelError, match="unknown class 'FLUE'"):
        labels.add(nights.pool, "b", path, "dr-a", ["FLU"])
    assert labels.add(nights.pool, "b", path, "dr-a", ["FLU", "FLUE"]).written == 2
    assert db.rows("select class from cxr.labels order by 1") == [("FLU",), ("FLUE",)]


def test_the_champions_classes_are_known_where_it_has_others(nights: Nights) -> None:
    assert labels.known_classes(nights.pool) == CLASSES
    for model, classes, known in (
        ("two", ("NORMAL", "PNEUMONIA"), CLASSES),
        ("site's", ("NORMAL", "TUBERCULOSIS"), ("NORMAL", "TUBERCULOSIS")),
    ):
        nights.register(model, classes)
        registry.promote(nights.pool, model, "a test")
        assert labels.known_classes(nights.pool) == known


def test_what_came_of_a_sheet_is_said_without_what_did_not_happen() -> None:
    assert str(Added(1, 1, 0)) == "1 label written from 1 row"
    assert (
        str(Added(2, 3, 1)) == "2 labels written from 3 rows; 1 row left out: no image of that key was ever scored here"
    )
    assert str(Added(1, 3, 0)) == "1 label written from 3 rows; 2 rows more on the same content as another"


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
    assert labels.add(nights.pool, store.bucket, sheet(tmp_path, first), "dr-a") == Added(3, 3, 0)
    second = head + "incoming/copy of 0.png,PNEUMONIA,p0\n"
    assert labels.add(nights.pool, store.bucket, sheet(tmp_path, second), "dr-b") == Added(1, 1, 0)
    data = datasets.from_labels(nights.pool, store, SPEC)
    assert sorted(zip(data.patients, (data.classes[n] for n in data.labels), strict=True)) == [
        ("p0", "PNEUMONIA"),
        ("p1", "NORMAL"),
        ("p2", "NORMAL"),
    ]
    store.client.delete_object(Bucket=store.bucket, Key="incoming/1.png")
    assert datasets.from_labels(nights.pool, store, SPEC).unreadable == 1
