"""What `cxr data report` promises to the person who types it. Needs no Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flows.commands.data import data
from flows.commands.labels import labels
from models.phantoms.phantom import write_phantoms
from tasks.datasets.dataset import DatasetError

if TYPE_CHECKING:
    from click.testing import Result

    from infra.storage import Store
    from tests.support.databases import Database

SHEET = "finding,sex,age,view\nCOVID-19,M,61,AP\nNo finding,F,33,PA\n"


def cxr(*arguments: object) -> Result:
    return CliRunner().invoke(data, ["report", *(str(one) for one in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few phantoms of three classes, and one file that is none."""
    place = tmp_path / "labelled"
    write_phantoms(place, 24, seed=2, size=96)
    (place / "labels.csv").open("a").write("NORMAL/lost.png,NORMAL,p9\n")
    return place


def test_a_folder_and_a_sheet_become_one_page_beside_the_caller(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text(SHEET)
    answer = cxr(folder, "--metadata", "people.csv")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == "written to data-report.html\n"
    assert Path("data-report.html").stat().st_mode & 0o077 == 0, "it shows radiographs"
    page = Path("data-report.html").read_text()
    assert "1 file of 25 cannot be read" in page
    assert "People: what the metadata sheet says" in page
    assert "made-0" not in page + answer.output


def test_a_sheet_alone_needs_no_images(tmp_path: Path) -> None:
    sheet, page = tmp_path / "people.csv", tmp_path / "people.html"
    sheet.write_text(SHEET)
    assert cxr("--metadata", sheet, "--save", page).stdout == f"written to {page}\n"
    assert "Age by finding" in page.read_text()


def test_without_a_folder_the_labels_of_the_database_are_reported_and_no_split_is_given(
    store: Store, db: Database, folder: Path, tmp_path: Path
) -> None:
    lines = (folder / "labels.csv").read_text().splitlines()
    sexes = ["sex,age", *[f"{'FM'[n % 2]},{30 + n}" for n in range(len(lines) - 1)]]
    (folder / "labels.csv").write_text("\n".join(",".join(pair) for pair in zip(lines, sexes, strict=True)))
    assert CliRunner().invoke(labels, ["import", str(folder), "--source", "x"]).exit_code == 0
    answer = cxr()
    assert answer.exit_code == 0, answer.output
    (key,) = (one.key for part in store.list("reports/data/") for one in part)
    assert answer.stdout.startswith("http")
    assert key.rsplit("/", 1)[-1] in answer.stdout
    page = store.read(key).decode()
    assert "24 images have none yet and count where the next retraining would put them" in page
    assert "Sex by finding, patients" in page
    assert "made-0" not in page
    assert db.value("select count(*) from cxr.splits") == 0
    file = tmp_path / "here.html"
    assert cxr("--save", file).stdout == f"written to {file}\n"
    assert "24 radiographs" in file.read_text()


def test_what_cannot_be_reported_ends_in_words(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert isinstance(cxr(empty).exception, DatasetError)  # which `main` prints in one line
    sheet = tmp_path / "people.csv"
    sheet.write_text(SHEET)
    answer = cxr("--metadata", sheet, "--save", folder / "no" / "such" / "place.html")
    assert answer.exit_code == 2
    assert "cannot be written" in answer.output
    sheet.write_bytes(SHEET.encode("utf-16"))
    assert "columns such as finding (or label), patient_id" in str(cxr("--metadata", sheet).exception)
    monkeypatch.delattr("tasks.data_report.survey.survey_images")
    for target in (tmp_path / "no" / "place.html", Path("/dev/null")):
        answer = cxr(folder, "--save", target)
        assert answer.exit_code == 2, "it is said before the images are read"
        assert "cannot be written" in answer.output


def test_help_shows_an_example_as_it_is_typed() -> None:
    answer = CliRunner().invoke(data, ["report", "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert "cxr data report data/" in answer.output
