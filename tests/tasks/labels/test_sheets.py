"""Sheets of labels: what is read from a CSV file, a folder, or covid-chestxray-dataset's metadata, and what not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.labels import covid_chestxray, sheets
from tasks.labels.expectations import validate_rows
from tasks.labels.sheets import LabelError, Row

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("COVID-19", "NORMAL", "PNEUMONIA")
METADATA = """patientid,offset,sex,age,finding,survival,view,modality,date,location,folder,filename,doi
2,0,M,65,Pneumonia/Viral/COVID-19,Y,PA,X-ray,2020,"Cho Ray Hospital, Vietnam",images,a.jpg,
2,3,M,65,COVID-19,Y,AP Supine,X-ray,2020,,images,b.jpg,
3,4,F,74,"COVID-19, ARDS",N,AP,X-ray,2020,,images,c.jpg,
4,0,F,,Pneumonia/Viral/SARS,,PA,X-ray,2004,,images,d.jpg,
5,0,,,Streptococcus,,PA,X-ray,2004,,images,e.jpg,
6,0,,,No Finding,,PA,X-ray,2004,,images,f.jpg,
7,0,,,Tuberculosis,,PA,X-ray,2004,,images,g.jpg,
8,0,M,35,COVID-19,Y,L,X-ray,2020,,images,h.jpg,
9,0,M,35,COVID-19,Y,Axial,CT,2020,,images,i.png,
"""


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "sheet.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_sheet_saved_by_a_spreadsheet_program_is_read(tmp_path: Path) -> None:
    text = 'Patient ID,Object-Key,Class,remark\r\np1,späť.png,NORMAL,"fine\r\nso far"\r\n,,,\r\n\r\n'
    for encoding in ("utf-8", "utf-8-sig"):
        (row,) = sheets.read(written(tmp_path, text, encoding), "dr-a").rows
        assert (row.key, row.label, row.patient, row.source, row.line) == ("späť.png", "NORMAL", "p1", "dr-a", 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"object_key,class\na,b\n", "no column patient_id: "),
        (b"object_key;class;patient_id\na;b;c\n", "separated by commas"),
        (b"a.png,NORMAL,p1\n", "no column label, patient_id: "),
        ("object_key,class,patient_id\na.png,NORMAL,p1\n".encode("utf-16"), "'CSV UTF-8'"),
        ("object_key,class,patient_id\na.png,NORMAL,p1\n".encode("utf-16-le"), "'CSV UTF-8'"),
        ("object_key,class,patient_id\nspät.png,NORMAL,p1\n".encode("cp1252"), "'CSV UTF-8'"),
        (b"PK\x03\x04\x14\x00\x06\x00", "'CSV UTF-8'"),
        (b"object_key,class,patient_id\n" + b"a" * 200_000, "is not CSV (field larger"),
        (b"class,patient_id\nNORMAL,p1\n", "names no images"),
        (b"key,label,label,patient_id\na,b,c,d\n", "2 columns named label"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(data)
    with pytest.raises(LabelError) as caught:
        sheets.read(path, "dr-a")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_somebody_must_say_so(tmp_path: Path) -> None:
    path = written(
        tmp_path, "key,label,patient_id,source\na,NORMAL,p1, Dr  A\nb,NORMAL,p2,ADJUDICATION\nc,NORMAL,p3,\n"
    )
    assert [row.source for row in sheets.read(path, "study").rows] == ["Dr A", "adjudication", "study"]
    with pytest.raises(LabelError, match="line 4: no source"):
        sheets.read(path)


def test_a_folder_without_a_sheet_takes_its_sub_folders_as_classes(tmp_path: Path) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"x")
    rows = sheets.read(tmp_path, "dr-a").rows
    assert [(row.label, row.file) for row in rows] == [
        (one, tmp_path / one / "1.png") for one in ("NORMAL", "PNEUMONIA")
    ]
    assert len({row.patient for row in rows}) == 2
    with pytest.raises(LabelError, match="--source"):
        sheets.read(tmp_path)


def test_the_covid_chestxray_sheet_is_known_by_its_columns_and_read_in_both_its_styles(tmp_path: Path) -> None:
    path = written(tmp_path, METADATA)
    assert covid_chestxray.is_metadata_sheet(path)
    sheet = covid_chestxray.read(path, None, None, "ieee/")
    classes = ["COVID-19"] * 3 + ["PNEUMONIA"] * 2 + ["NORMAL", "Tuberculosis"]
    assert [(row.key, row.label) for row in sheet.rows] == [
        (f"ieee/{letter}.jpg", label) for letter, label in zip("abcdefg", classes, strict=True)
    ]
    assert [(one.line, one.name, one.why) for one in sheet.left_out] == [
        (9, "h.jpg", "lateral view"),
        (10, "i.png", "computed tomography, not a radiograph"),
    ]
    assert sheet.rows[0].patient == sheet.rows[1].patient == "ieee8023/covid-chestxray-dataset/2"
    assert sheet.rows[0].site == "Cho Ray Hospital, Vietnam"
    assert covid_chestxray.read(path, "me", tmp_path, None).rows[0].file == tmp_path / "a.jpg"


def test_a_covid_chestxray_sheet_without_files_is_refused_in_words(tmp_path: Path, xrays: Path) -> None:
    figure1 = xrays / "metadata" / "figure1.csv"
    assert covid_chestxray.is_metadata_sheet(figure1)
    with pytest.raises(LabelError, match="has no column filename"):
        covid_chestxray.read(figure1, "x", None, "p/")
    with pytest.raises(LabelError, match="--images FOLDER"):
        covid_chestxray.read(written(tmp_path, METADATA), None, None, None)


def test_a_row_without_what_a_label_needs_is_refused_and_its_neighbours_are_not() -> None:
    rows = [
        Row(2, "NORMAL", "p1", "a", key="k1"),
        Row(3, "", "p1", "a", key="k2"),
        Row(4, "NORMAL", "", "a"),
        Row(5, "NORMAL", "p1", "a", key="k3", sha256="abc"),
        Row(6, "FLU", "p1", "a", key="k4"),
        Row(7, "NORMAL", "p1", "a", key="k5"),
        Row(8, "PNEUMONIA", "p1", "a", key="k5"),
        Row(9, "PNEUMONIA", "p1", "b", key="k5"),
        Row(10, "NORMAL", "p1", "a", key="k1"),
    ]
    judged = validate_rows(rows, [row.key for row in rows], KNOWN)
    assert {one.line: one.why for one in judged.refused} == {
        3: "no label",
        4: "no patient_id; it names no image",
        5: "its sha256 is not 64 hexadecimal digits",
        7: "another row contradicts it about the same image: label or patient_id differ",
        8: "another row contradicts it about the same image: label or patient_id differ",
    }
    assert [rows[place].line for place in judged.accepted] == [2, 9, 10]
    assert [rows[place].line for place in judged.unknown_class] == [6]
    assert validate_rows([], [], KNOWN).rows == ()


def test_a_bad_sex_or_age_is_left_out_with_a_note_and_the_label_is_kept() -> None:
    given = [
        ("female", "045Y"),
        ("m", "50+"),
        ("Unknown", "131"),
        (None, None),
        ("M", "0.5"),
        ("F", "-1"),
        ("F", "nan"),
    ]
    rows = [
        Row(line, "NORMAL", f"p{line}", "a", key=f"k{line}", sex=sex, age=age, view=" ap_Supine")
        for line, (sex, age) in enumerate(given, start=2)
    ]
    judged = validate_rows(rows, [row.key for row in rows], KNOWN)
    assert len(judged.accepted) == len(rows)
    found = [(row.sex, row.age) for row in judged.rows]
    assert found == [("F", "45"), ("M", None), (None, None), (None, None), ("M", "0.5"), ("F", None), ("F", None)]
    assert [note.line for note in judged.notes] == [3, 4, 4, 7, 8]
    assert judged.notes[0].why == "age '50+' left out: it is not a number of years from 0 to 130"
    assert {row.view for row in judged.rows} == {"AP supine"}


def test_a_sheet_cannot_reach_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / sheets.SHEET_NAME).write_text("file,label,patient_id\n../other/1.png,NORMAL,p1\n")
    with pytest.raises(LabelError, match=r"line 2: the file is outside the folder"):
        sheets.read(tmp_path / "data", "dr-a")
