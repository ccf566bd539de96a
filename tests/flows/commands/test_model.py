"""What the commands about models promise to the person who types them. Needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flows.cli import app
from models.phantoms.phantom import write_phantoms
from tests.support.recipes import RECIPE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("command", ["retrain", "crossvalidate"])
def test_an_unknown_recipe_is_answered_with_the_known_ones(command: str, tmp_path: Path) -> None:
    where = [str(tmp_path)] if command == "crossvalidate" else []
    answer = CliRunner().invoke(app, [command, *where, "--recipe", "resnet-9000"])
    assert answer.exit_code == 2
    assert "choose from compact-cnn" in answer.output


def test_a_tournament_that_could_not_end_is_refused_before_it_begins(tmp_path: Path) -> None:
    for typed, words in ((["--folds", "1"], "0 for one split"), (["--save", "no/such/place.html"], "create it first")):
        answer = CliRunner().invoke(app, ["tournament", str(tmp_path), *typed], env={"TERMINAL_WIDTH": "200"})
        assert answer.exit_code == 2
        assert words in answer.output


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["retrain"], "cxr labels import labelled/ --source ward-3"),
        (["crossvalidate"], "data/NORMAL/*.png, data/PNEUMONIA/*.png"),
        (["labels", "import"], "--new-class"),
        (["champion", "rollback"], "--reason"),
        (["upload"], "incoming/%Y/%m/%d/"),
    ],
)
def test_help_shows_an_example_as_it_is_typed(command: list[str], words: str) -> None:
    answer = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert words in answer.output


@pytest.mark.usefixtures("workers_inside")
def test_crossvalidation_answers_each_image_once_and_stands_beside_simple_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "home"))
    write_phantoms(tmp_path / "data", 60, seed=1, size=80)
    answer = CliRunner().invoke(
        app, ["crossvalidate", str(tmp_path / "data"), "--recipe", RECIPE, "--folds", "2", "--epochs", "1"]
    )
    assert answer.exit_code == 0, answer.output
    assert "60 images of" in answer.output
    assert "2-fold cross-validation by patient" in answer.output
    rows = [line.split("|")[1].strip() for line in answer.output.splitlines() if line.startswith("| ")]
    assert rows == [
        "", "---", f"**{RECIPE}**", "sees only outlines: a linear model on oriented gradients (HOG)",
        "sees only the image's border",
        "sees only the file's size and format",
    ]  # fmt: skip
    assert "MADE DATA" in answer.output
