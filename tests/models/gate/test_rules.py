"""The gate's rules as data: they are read, stored and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.gate.rules import DEFAULT, Gate, GateError, read

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "gate.md"


def test_rules_survive_a_round_trip_through_json(tmp_path: Path) -> None:
    gate = Gate(name="strict", version=3, minimum_gain=0.01, sensitivity_floors={"COVID-19": 0.8}, minimum_images=300)
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(gate.to_dict()))
    assert read(file) == gate != DEFAULT


def test_a_file_names_only_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "gate.json"
    file.write_text('{"name": "ours", "minimum_gain": 0.02}')
    assert read(file) == Gate(name="ours", minimum_gain=0.02)


def test_the_example_in_the_document_holds_rules() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert Gate.from_dict(json.loads(example)).name == "covid-first"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"minimum_gian": 0.1}, "no rule named minimum_gian; its rules are name, version, primary"),
        ({"minimum_gain": "0.1"}, "minimum_gain is a number from 0 on, not '0.1'"),
        ({"minimum_gain": -0.1}, "minimum_gain is a number from 0 on, not -0.1"),
        ({"minimum_gain": True}, "minimum_gain is a number from 0 on, not True"),
        ({"level": float("nan")}, "level is a number from 0 on, not nan"),
        ({"minimum_images": 10.5}, "minimum_images is a whole number from 0 on, not 10.5"),
        ({"floors": {"accuracy": "high"}}, "floors is numbers from 0 on by name"),
        ({"floors": {"brier": 0.1}}, "and not for brier"),
        ({"primary": "log_loss"}, "primary metric is one of accuracy, balanced_accuracy"),
        ({"primary": 3}, "primary is a text, not 3"),
        ({"level": 95}, "level lies between 0.5 and 1, not at 95"),
        ({"resamples": 0}, "at least one resample"),
    ],
)
def test_rules_that_make_no_sense_are_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(GateError) as caught:
        Gate.from_dict(values)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("[1]", "is not a JSON object"), (None, "cannot be read: No such file")]
)
def test_a_file_that_holds_no_rules_is_refused_in_words(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "gate.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(GateError, match=words):
        read(file)


def test_more_challengers_make_the_level_stricter() -> None:
    assert DEFAULT.level_for(0) == DEFAULT.level_for(1) == 0.95
    assert DEFAULT.level_for(5) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"floors": {"balanced_accuracy": 7}}, "floors balanced_accuracy (7)"),
        ({"minimum_gain": 5}, "minimum_gain (5)"),
        ({"sensitivity_floors": {"NORMAL": 1.5}}, "sensitivity_floors NORMAL (1.5)"),
        ({"minimum_images": 0}, "minimum_images must be at least 1"),
    ],
)
def test_rules_that_nothing_could_pass_and_decisions_without_evidence_are_refused(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(GateError) as caught:
        Gate.from_dict(values)
    assert words in str(caught.value)


def test_a_rule_about_an_unknown_class_is_refused_before_anything_is_trained() -> None:
    rules = Gate.from_dict({"sensitivity_floors": {"COVID19": 0.85}})
    with pytest.raises(GateError, match="sensitivity_floors name COVID19, and the classes are COVID-19, NORMAL"):
        rules.require_classes(["COVID-19", "NORMAL"])
