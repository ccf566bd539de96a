"""The gate's decision: which challenger replaces the champion, and the words that explain it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.evaluation.test_set import TestSet
from models.gate.decision import DEFAULT, Contender, Gate, GateError, decide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.gate.decision import Check, Decision

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
QUICK = replace(DEFAULT, resamples=200)
ORDER = np.random.default_rng(7)


def labels_of(covid: int, normal: int, pneumonia: int) -> TestSet:
    """A test set with one image per patient."""
    labels = np.repeat(np.arange(3), (covid, normal, pneumonia))
    names = [f"{row:064x}" for row in range(len(labels))]
    patients = tuple(f"p{row}" for row in range(len(labels)))
    return TestSet(labels=labels, patients=patients, classes=CLASSES, contents=tuple(names))


TEST = labels_of(100, 200, 200)


def model(
    version: str, *wrong: int, test: TestSet = TEST, first: int = 0, sure: float = 0.88, **values: Any
) -> Contender:
    """A model that errs on this many images of each class, starting from the `first` image of each."""
    said = test.labels.copy()
    for index, count in enumerate(wrong):
        rows = np.flatnonzero(test.labels == index)[first : first + count]
        said[rows] = (index + 1) % 3
    probabilities = np.full((len(test), 3), (1 - sure) / 2, np.float32)
    probabilities[np.arange(len(test)), said] = sure
    given = {"model_sha256": version, "milliseconds": 5.0, "artifact_bytes": 4_000_000} | values
    return Contender(model_version=version, probabilities=probabilities, **given)


CHAMPION = model("Y", 15, 35, 35)
WEAK = {"the image's border": model("border", 50, 100, 100).probabilities}


def ask(*challengers: Contender, champion: Contender | None = CHAMPION, **given: Any) -> Decision:
    """Decide, and check that the decision is valid JSON."""
    asked = {"gate": QUICK, "test": TEST, "baselines": WEAK} | given
    decision = decide(asked["gate"], asked["test"], champion, challengers, asked["baselines"])
    json.dumps(decision.to_dict(), allow_nan=False)
    return decision


def failed(decision: Decision, version: str = "X") -> list[str]:
    return [check.name for check in decision.checks[version] if not check.passed]


def test_a_better_challenger_is_promoted() -> None:
    decision = ask(model("X", 5, 10, 10, first=3))
    assert (decision.outcome, decision.winner) == ("promote", "X")
    assert failed(decision) == []
    assert decision.sentence.startswith(
        "Promoted X: balanced accuracy 0.950 against 0.833 of Y, a gain of 0.117 (95 % interval 0."
    )
    assert decision.sentence.endswith(" on 500 test images of 500 patients.")
    assert set(decision.figures) == {"X", "Y"}
    assert set(decision.comparisons) == {"X"}
    assert set(decision.baselines) == set(WEAK)


def test_an_equal_challenger_is_not_promoted() -> None:
    decision = ask(model("X", 14, 34, 34, first=30))
    assert (decision.outcome, decision.winner) == ("keep", None)
    assert decision.sentence.startswith("Y stays: X gains 0.007 in balanced accuracy (95 % interval -0.")
    assert decision.sentence.endswith(", which may be chance.")


def test_a_worse_challenger_is_not_promoted() -> None:
    decision = ask(model("X", 30, 60, 60))
    assert decision.outcome == "keep"
    assert decision.sentence.startswith(
        "Y stays: X is worse, balanced accuracy 0.700 instead of 0.833, a loss of 0.133"
    )


def test_one_that_is_better_on_average_but_finds_less_of_a_class_is_not_promoted() -> None:
    decision = ask(model("X", 22, 5, 5))
    assert decision.outcome == "keep"
    assert decision.sentence == (
        "Y stays: X is better on average (+0.077) but finds less COVID-19 (sensitivity 0.780 instead of 0.850)."
    )
    assert "gain" not in failed(decision)


def test_one_that_might_find_far_less_of_a_class_is_not_promoted() -> None:
    """Equal on the 100 images of COVID-19, but right on different ones: a fall of 0.10 cannot be ruled out."""
    decision = ask(model("X", 15, 0, 0, first=40))
    assert decision.outcome == "keep"
    assert failed(decision) == ["possible fall of sensitivity of COVID-19"]
    assert "might find less COVID-19 (sensitivity 0.850 instead of 0.850, at worst -0.1" in decision.sentence


def test_the_champion_is_not_compared_with_itself() -> None:
    decision = ask(replace(CHAMPION, model_version="X"))
    assert decision.outcome == "keep"
    assert decision.sentence == "Y stays: X is the champion itself."


def test_too_few_images_patients_or_images_of_a_class_keep_the_champion() -> None:
    few = labels_of(10, 14, 14)
    champion, better = model("Y", 5, 7, 7, test=few), model("X", test=few)
    decision = ask(better, champion=champion, test=few, baselines={})
    assert decision.sentence == "Y stays: 38 test images are too few to decide (100 are needed)."
    crowd = replace(TEST, patients=tuple(f"p{row % 20}" for row in range(500)))
    decision = ask(model("X", 5, 10, 10), test=crowd)
    assert decision.sentence == "Y stays: test images of 20 patients are too few to decide (50 are needed)."
    rare = labels_of(4, 200, 200)
    decision = ask(model("X", test=rare), champion=model("Y", 2, 50, 50, test=rare), test=rare, baselines={})
    assert decision.sentence == "Y stays: 4 test images of COVID-19 are too few to decide (10 are needed)."
    decision = ask(model("X", test=labels_of(0, 0, 0)), champion=None, test=labels_of(0, 0, 0), baselines={})
    assert decision.sentence == "No model is promoted: 0 test images are too few to decide (100 are needed)."


def test_without_a_champion_the_floors_decide_alone() -> None:
    decision = ask(model("X", 10, 20, 20), champion=None)
    assert (decision.outcome, decision.winner) == ("promote", "X")
    assert decision.sentence.startswith("Promoted X: balanced accuracy 0.900 (95 % interval 0.")
    assert decision.sentence.endswith("on 500 test images of 500 patients, and there was no champion yet.")
    decision = ask(model("X", 40, 80, 80), champion=None, baselines={})
    assert decision.outcome == "keep"
    assert decision.sentence.startswith("No model is promoted: X has a balanced accuracy of 0.600 (95 % interval 0.")
    assert decision.sentence.endswith("and must surely reach 0.60.")
    decision = ask(model("X", 55, 0, 0), champion=None, baselines={})
    assert failed(decision) == ["floor of the sensitivity of COVID-19"]


def test_a_class_may_have_a_floor_of_its_own() -> None:
    strict = replace(QUICK, sensitivity_floors={"COVID-19": 0.95})
    assert failed(ask(model("X", 5, 10, 10), gate=strict)) == ["floor of the sensitivity of COVID-19"]
    stray = ask(model("X", 5, 10, 10), gate=replace(QUICK, sensitivity_floors={"SARS": 0.9}))
    assert stray.sentence == "Y stays: the gate has a floor for SARS, which is no class of the test set."


def test_one_too_good_to_be_true_asks_for_a_person() -> None:
    for challenger in (model("X", sure=0.98), model("X", 1, 1, 0, sure=0.98)):
        decision = ask(challenger)
        assert (decision.outcome, decision.winner) == ("ask", "X")
        assert decision.sentence.startswith("A person must look before X is promoted, for it is too good to be true: ")
    decision = ask(model("X", 5, 10, 10), champion=model("Y", 40, 60, 60))
    assert failed(decision) == ["too good a gain to be true"]
    assert decision.outcome == "ask"


def test_a_model_that_does_not_clearly_beat_a_shortcut_is_not_promoted() -> None:
    decision = ask(model("X", 5, 10, 10), baselines={"the image's border": model("b", 9, 19, 19).probabilities})
    assert decision.outcome == "keep"
    assert decision.sentence.startswith(
        "Y stays: X is not clearly better (by 0.05) than a baseline that sees only the image's border (balanced "
        "accuracy 0.950 against 0.907, 95 % interval 0."
    )


@pytest.mark.parametrize(
    ("values", "check", "words"),
    [
        ({"milliseconds": 30.0}, "latency beside the champion", "X needs 30.0 ms for an image, the champion 5.0 ms"),
        ({"milliseconds": 250.0}, "latency", "X needs 250.0 ms for an image, 200 ms are allowed"),
        ({"artifact_bytes": 600_000_000}, "size", "X is 600.0 MB large, 500 MB are allowed"),
    ],
)
def test_a_slow_or_large_model_is_not_promoted(values: Mapping[str, Any], check: str, words: str) -> None:
    decision = ask(model("X", 5, 10, 10, **values))
    assert decision.sentence.startswith(f"Y stays: {words}")
    assert check in failed(decision)
    assert ask(model("X", 5, 10, 10, milliseconds=19.0)).outcome == "promote"  # fast enough for any night


def test_a_model_whose_probabilities_mislead_is_not_promoted() -> None:
    decision = ask(model("X", 5, 10, 10, sure=0.5))
    assert failed(decision) == ["calibration", "calibration beside the champion"]
    assert "the probabilities of X are off by 0.45" in decision.sentence


def test_several_challengers_must_each_show_more() -> None:
    """A gain that is significant at 95 % for one challenger is not at 99.2 % for six (Bonferroni)."""
    narrow = model("X", 11, 25, 26)
    others = [model(f"Z{number}", 20 + number, 50, 50) for number in range(5)]
    kind: dict[str, Any] = {"gate": replace(QUICK, resamples=1000, sensitivity_margin=1.0)}
    champion = model("Y", 15, 35, 35, first=8)
    assert ask(narrow, champion=champion, **kind).outcome == "promote"
    decision = ask(narrow, *others, champion=champion, **kind)
    assert decision.outcome == "keep"
    assert "99.2 % interval" in decision.sentence
    assert "wider because 6 challengers were tried" in decision.sentence
    assert decision.sentence.endswith("; the other 5 challengers did not pass either.")


def test_of_several_that_pass_the_surest_gain_wins() -> None:
    decision = ask(model("A", 8, 18, 18), model("B", 5, 10, 10), model("C", 30, 60, 60))
    assert (decision.outcome, decision.winner) == ("promote", "B")
    assert "(98.3 % interval" in decision.sentence


def test_no_challenger_keeps_the_champion() -> None:
    assert ask().sentence == "Y stays: there was no challenger to compare."
    assert ask(champion=None).sentence == "No model is promoted: there was no challenger to compare."


def test_invalid_answers_fail_only_their_own_model() -> None:
    broken = model("X", 5, 10, 10)
    broken.probabilities[7] = np.nan
    decision = ask(broken)
    assert decision.sentence == ("Y stays: X gave no answers that can be judged: 1 of 500 answers are not numbers.")
    assert ask(broken, model("B", 5, 10, 10)).winner == "B"
    with pytest.raises(GateError, match="the champion cannot be judged"):
        ask(model("X"), champion=broken)
    with pytest.raises(GateError, match="each challenger has a model version of its own"):
        ask(model("X"), model("X"))


def test_every_check_says_what_it_saw() -> None:
    checks: list[Check] = ask(model("X", 5, 10, 10)).checks["X"]
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert all(check.words("X") and not check.words("X").endswith(".") for check in checks)
    gain = checks[names.index("gain")]
    assert gain.value is not None
    assert gain.limit == 0.0 < gain.value


def test_a_check_passes_if_its_value_is_on_the_side_of_the_limit_that_its_rule_names() -> None:
    decisions = ask(model("X", 5, 10, 10)), ask(model("X", 30, 60, 60)), ask(model("X", sure=0.98))
    checks = [check for decision in decisions for check in decision.checks["X"]]
    judged = [(one, one.rule.side, one.value, one.limit) for one in checks if one.limit is not None]
    sides = {side for _, side, _, _ in judged}
    assert sides == {"at least", "above", "at most", "below"}
    for check, side, value, limit in judged:
        assert side is not None
        assert value is not None
        assert limit is not None
        right = {"at least": value >= limit, "above": value > limit, "at most": value <= limit, "below": value < limit}
        assert check.passed is right[side], check.name
    assert {check.rule.kind for check in checks if check.rule.side is None} == {"another model"}


def test_a_rule_states_its_subject_its_unit_and_whether_it_needs_a_person() -> None:
    checks = ask(model("X", 5, 10, 10)).checks["X"]
    assert {check.name for check in checks if check.rule.alarm} == {
        "too good to be true", "too good a gain to be true",
    }  # fmt: skip
    assert {(check.name, check.rule.unit) for check in checks if check.rule.unit in ("ms", "bytes")} == {
        ("latency", "ms"), ("latency beside the champion", "ms"), ("size", "bytes"),
    }  # fmt: skip
    assert [check.about for check in checks if check.rule.kind == "sensitivity"] == list(CLASSES)
    assert {check.rule.kind for check in checks if check.rule.about_test_set} == {
        "test images", "test patients", "test images of a class", "test patients of a class",
    }  # fmt: skip
    stored = ask(model("X", 5, 10, 10)).to_dict()["checks"]["X"][-1]
    assert stored == {
        "name": "too good a gain to be true", "passed": True, "value": stored["value"], "limit": 0.25,
        "words": "X gains 0.117 in balanced accuracy", "rule": "too good a gain to be true", "about": None,
        "side": "at most", "unit": None, "alarm": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("challengers", "champion", "begins"),
    [
        ([model("X", 5, 10, 10)], CHAMPION, "Promoted X: "),
        ([model("X", 30, 60, 60)], CHAMPION, "Y stays: "),
        ([model("X", 40, 80, 80)], None, "No model is promoted: "),
        ([], CHAMPION, "Y stays: "),
        ([model("X", sure=0.98)], CHAMPION, "A person must look before X is promoted, for it is too good to be true: "),
    ],
)
def test_the_reason_can_be_read_without_the_sentence(
    challengers: list[Contender], champion: Contender | None, begins: str
) -> None:
    decision = ask(*challengers, champion=champion, baselines={})
    assert decision.sentence == f"{begins}{decision.because}."
    assert decision.to_dict()["because"] == decision.because


def test_the_same_answers_give_the_same_decision() -> None:
    assert ask(model("X", 12, 30, 30)).to_dict() == ask(model("X", 12, 30, 30)).to_dict()


def test_the_gate_that_is_stored_is_the_gate_that_is_used() -> None:
    assert isinstance(QUICK, Gate)
    assert Gate.from_dict(json.loads(json.dumps(QUICK.to_dict()))) == QUICK
