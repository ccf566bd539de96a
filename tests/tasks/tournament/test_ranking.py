"""A tournament's ranking and its report: which differences are real, and which may be chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.radiographs.radiograph import Limits, Measurement
from tasks.datasets.labelled_images import LabelledImage
from tasks.radiographs.fetching import LocalFile
from tasks.tournament import ranking, report
from tasks.tournament.entries import Entries
from tasks.tournament.fold_training import FoldResult
from tests.support.compared import Page

if TYPE_CHECKING:
    from numpy.typing import NDArray

N = 300
CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")
LABELS = np.arange(N) % 3


def entries(name: str = "ward", **known: Any) -> Entries:
    images = tuple(
        LabelledImage(CLASSES[label], f"secret-patient-{row // 2}", "train", LocalFile(Path()))
        for row, label in enumerate(LABELS)
    )
    measured = tuple(Measurement(n_bytes=1, sha256=f"{row:064x}") for row in range(N))
    return Entries(name, images, measured, CLASSES, Limits(), **known)


def fold(name: str, share: float, rows: NDArray[Any] | None = None, seed: int = 0) -> FoldResult:
    """Answers of which about such a share is right."""
    random = np.random.default_rng(seed)
    rows = np.arange(N) if rows is None else rows
    right = random.random(len(rows)) < share
    said = np.where(right, LABELS[rows], (LABELS[rows] + 1) % 3)
    sure = np.full((len(rows), 3), 0.1, np.float32)
    sure[np.arange(len(rows)), said] = 0.8
    return FoldResult(name, rows, sure, 1_000, 60.0, 25.0, 4, "tensorflow", ("its rate was cut",) if seed else ())


def table(**shares: float) -> ranking.Ranking:
    results = {name: [fold(name, share, seed=place)] for place, (name, share) in enumerate(shares.items())}
    return ranking.rank(entries(), results, {"vgg": "out of memory: batches of 32"}, folds=0, seed=0)


def test_the_most_accurate_one_is_first_and_only_real_differences_are_called_so() -> None:
    found = table(poor=0.5, good=0.9, equal=0.89)
    assert [row.recipe for row in found.rows][-1] == "poor"
    first, second, last = found.rows
    assert first.p_value is None
    assert ranking.difference(second)[0] == "alike"
    assert ranking.difference(last) == ("real", "p < 0.001")
    assert ranking.sentence(found).endswith(f"; {second.recipe} cannot be told from it.")
    text = ranking.markdown(found)
    assert "vgg gave no answers: out of memory: batches of 32." in text
    assert "| 1,000 | 60 s | 25 | 4 |" in text


def test_answers_of_all_folds_are_pooled_whatever_their_order() -> None:
    halves = [np.arange(N)[1::2], np.arange(N)[::2]]
    parts = [fold("one", 0.8, rows, seed=1) for rows in halves]
    found = ranking.rank(entries(), {"one": parts, "other": parts[::-1]}, {}, folds=2, seed=0)
    assert found.images == N
    right = np.concatenate([part.probabilities.argmax(axis=1) == LABELS[part.rows] for part in parts])
    assert [row.accuracy for row in found.rows] == pytest.approx([right.mean()] * 2)
    assert found.rows[0].seconds == 120
    assert found.p_values[0, 1] == 1


def test_volatility_is_how_far_a_recipe_falls_from_one_set_to_another() -> None:
    tables = [
        ranking.rank(
            entries(name),
            {"steady": [fold("steady", 0.7)], "moody": [fold("moody", share, seed=3)]},
            {},
            folds=0,
            seed=0,
        )
        for name, share in (("ward", 0.95), ("clinic", 0.4))
    ]
    steady, moody = ranking.volatility(tables)
    assert (steady.recipe, moody.recipe) == ("steady", "moody")
    assert steady.spread == 0
    assert moody.spread == pytest.approx(abs(moody.accuracies["ward"] - moody.accuracies["clinic"]))
    assert moody.deviation == pytest.approx(moody.spread / 2**0.5)
    page = report.render(tables, [steady, moody])
    assert "Variation between data sets" in page
    assert "moody" in ranking.volatility_markdown([steady, moody])


def test_table_and_page_say_what_was_left_out_and_that_nobody_knows_whose_the_images_are() -> None:
    of = entries(patients_known=False, left_out={"lateral view": 2, "unreadable": 1})
    found = ranking.rank(of, {"good": [fold("good", 0.9)]}, {}, folds=0, seed=0)
    for text in (ranking.markdown(found), report.render([found])):
        assert "each file counts as a patient" in text
        assert "3 images left out: lateral view (2); unreadable (1)." in text
    assert "counts as a patient" not in ranking.markdown(table(good=0.9))


def test_the_page_needs_nothing_else_and_names_nobody() -> None:
    page = report.render([table(good=0.9, poor=0.5, fair=0.7)])
    read = Page(page)
    assert (read.outside, read.silent) == ([], [])
    assert max(read.ids.values()) == 1
    assert "secret-patient" not in page
    assert "Significant differences" in page
    assert "vgg</strong> gave no answers" in page
    assert "not for diagnosis" in page
