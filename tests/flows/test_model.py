"""What `cxr train` and `cxr label` promise to the person who types them. Needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nights import MODEL, Nights, scored
from typer.testing import CliRunner

from flows.cli import app
from models.phantom import write_phantoms
from tasks import registry
from tasks.labels import LabelError
from tasks.training import Registered

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings


def test_training_on_little_warns_and_names_the_whole_command_that_promotes(
    settings: Settings, nights: Nights, tmp_path: Path
) -> None:
    assert settings.database
    registry.bootstrap(nights.pool, MODEL)
    write_phantoms(tmp_path, 36, seed=1, size=80)
    answer = CliRunner().invoke(app, ["train", str(tmp_path), "--epochs", "1"])
    assert answer.exit_code == 0, answer.output
    *_, registered, warning, hint = answer.output.splitlines()
    version = registered.partition(" ")[0]
    assert "test images)" in registered
    assert warning.startswith("WARNING: this model is not fit for use: ")
    assert hint == f"The champion stays. To change that: cxr promote {version} --reason '...'"
    assert registry.champion(nights.pool).model_version == MODEL


def test_a_first_champion_at_chance_level_is_not_praised() -> None:
    said = str(Registered("cnn-1", first=True, accuracy=1 / 3, test_images=6, warning="6 test images ..."))
    assert said == (
        "cnn-1 is registered and, as the first one, champion (test accuracy 0.333 on 6 test images)\n"
        "WARNING: this model is not fit for use: 6 test images ..."
    )
    assert "WARNING" not in str(Registered("cnn-1", first=False, accuracy=0.9, test_images=60, warning=None))


def test_a_class_with_a_typo_is_refused_and_a_new_one_must_be_named(
    settings: Settings, nights: Nights, tmp_path: Path
) -> None:
    (one,) = nights.listed("a.png", bucket=settings.bucket)
    nights.commit(nights.begin(bucket=settings.bucket), scored(one, "x"))
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("object_key,class,patient_id\na.png,FLU,p1\n")
    command = ["label", str(sheet), "--source", "dr-a"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert isinstance(refused.exception, LabelError)  # which `main` prints in one line
    taken = CliRunner().invoke(app, [*command, "--new-class", "FLU"])
    assert (taken.exit_code, taken.output.strip()) == (0, "1 label written from 1 row")


@pytest.mark.parametrize(
    ("command", "words"),
    [("train", "data/NORMAL/*.png, data/PNEUMONIA/*.png"), ("label", "--new-class"), ("upload", "incoming/%Y/%m/%d/")],
)
def test_help_shows_an_example_as_it_is_typed(command: str, words: str) -> None:
    answer = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert words in answer.output
