"""What `cxr labels` promises to the person who types it. Needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flows.commands.labels import labels
from models.phantoms.phantom import write_phantoms
from tasks.labels.sheets import LabelError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from infra.settings import Settings
    from tests.support.databases import Database


def cxr(*arguments: object) -> Result:
    return CliRunner().invoke(labels, [str(one) for one in arguments])


def test_a_folder_comes_in_with_one_command_and_status_tells_how_it_stands(
    settings: Settings, db: Database, tmp_path: Path
) -> None:
    write_phantoms(tmp_path, 6, seed=1, size=80)
    (tmp_path / "labels.csv").open("a").write("NORMAL/lost.png,NORMAL,p9\n")
    answer = cxr("import", tmp_path, "--source", "demo")
    assert answer.exit_code == 0, answer.output
    assert answer.output.splitlines() == [
        "7 rows: 6 new labels",
        "1 row refused; the others were imported:",
        "  row 8, lost.png: the file is not there",
    ]
    again = cxr("import", tmp_path, "--source", "demo")
    assert again.output.splitlines()[0] == "7 rows: 0 new labels, 6 unchanged"

    sheet = tmp_path / "sheet.csv"
    (key,) = db.rows("select object_key from cxr.labelled_objects where content_sha256 in"
                     " (select content_sha256 from cxr.labels where class = 'NORMAL') limit 1")[0]  # fmt: skip
    sheet.write_text(f"key,label,patient_id\n{key},PNEUMONIA,p\nother.png,FLU,p\nother2.png,NORMAL,p\n")
    answer = cxr("import", sheet, "--source", "adjudication")
    assert "1 row waiting, unknown class: 'FLU' (1 row)" in answer.output
    assert "row 4: other2.png" in answer.output
    state = cxr("status").output
    assert "6 labelled images\nby class: " in state
    assert "by source: demo 6, adjudication 1" in state
    assert "6 images without a split yet" in state
    assert "1 image with sources that disagree about the class: 1 settled by adjudication" in state
    assert "1 label waiting, unknown class: FLU 1" in state
    assert "1 label waiting, no such image: NORMAL 1" in state
    assert settings.bucket


def test_a_sheet_of_which_no_row_can_be_used_ends_with_1(settings: Settings, tmp_path: Path) -> None:
    assert settings.bucket
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("key,label,patient_id\na,,p\nb,NORMAL,\n")
    answer = cxr("import", sheet, "--source", "x")
    assert answer.exit_code == 1
    assert "row 2, a: no label" in answer.output
    unreadable = cxr("import", sheet)
    assert isinstance(unreadable.exception, LabelError)  # which `main` prints in one line
    sheet.write_text("key,label,patient_id\n")
    assert "no rows: the sheet has only a header" in cxr("import", sheet, "--source", "x").output


@pytest.mark.parametrize(("command", "words"), [("import", "--new-class"), ("status", "cxr labels status")])
def test_help_shows_an_example_as_it_is_typed(command: str, words: str) -> None:
    answer = CliRunner().invoke(labels, [command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert words in answer.output
