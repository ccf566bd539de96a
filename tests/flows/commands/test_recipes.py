"""What the command about recipes promises, and the page about them. Needs no service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from flows.cli import app
from models.networks.pretrained import SOURCES
from models.recipes.catalogue import PARAMETER_COUNTS, RECIPES
from models.recipes.student_reports import PUBLISHED_SYSTEMS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "recipes.md"


def listed(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["recipes", *arguments])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_every_recipe_is_listed_with_input_parameters_weights_and_source() -> None:
    lines = listed().splitlines()
    assert lines[0].split() == ["recipe", "input", "parameters", "weights", "source"]
    assert [line.split()[0] for line in lines[1:]] == list(RECIPES)
    words = {line.split()[0]: line.split()[1:] for line in lines}
    assert words["harrisburg-vgg19"] == ["224x224x3", "20,090,306", "imagenet", "harrisburg", "report"]
    assert words["local-patterns"] == [
        "448x448x1",
        f"{PARAMETER_COUNTS['local-patterns']:,}",
        "none",
        "this",
        "project",
    ]


def test_a_recipe_is_shown_with_what_was_published_and_what_is_otherwise() -> None:
    text = listed("harrisburg-cnn")
    for words in (
        "299x299x1", "equalisation local", "adam, learning rate 0.008", "shear 0.2", "after 10 without",
        "18,129,890 parameters, 18,129,442 of them trained", "validation accuracy 0.77", "its text says 0.001",
    ):  # fmt: skip
        assert words in text
    assert "from epoch 6 on 100% of the backbone at 0.001" in listed("covientist-vgg16")
    assert "learns from PA and from unknown views" in listed("carson-final")
    for name in RECIPES:
        assert listed(name).startswith(name)


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    answer = CliRunner().invoke(app, ["recipes", "resnet-9000"])
    assert answer.exit_code == 2
    assert "choose from compact-cnn" in answer.output


def test_the_list_starts_without_keras() -> None:
    code = (
        "import sys; from flows.commands.recipes import recipes; recipes(); "
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_names_every_recipe_with_its_parameters_and_every_file_of_weights() -> None:
    text = PAGE.read_text()
    published = {one.recipe.name: one.parameters for one in PUBLISHED_SYSTEMS if one.parameters}
    for name in RECIPES:
        assert f"| `{name}` |" in text
        assert f"| {published.get(name, PARAMETER_COUNTS[name]):,} |" in text
    for source in SOURCES.values():
        assert f"| `{source.file}` | <{source.url}> |" in text
    for one in PUBLISHED_SYSTEMS:
        assert all(words in text for words in one.departures), one.recipe.name
