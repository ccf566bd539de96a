"""The model card: purpose, data, figures and limits, for judged and unjudged versions alike."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from models.evaluation.metrics import compute_metrics
from models.phantoms.phantom import CLASSES
from tasks.retraining import model_card
from tests.support.compared import CHALLENGER, DATA, SECRET, TEST, N, Page, answers, evidence, metadata

if TYPE_CHECKING:
    from infra.storage import Store
    from tasks.retraining.evidence import ComparisonEvidence


@pytest.fixture(scope="module")
def won() -> ComparisonEvidence:
    return evidence()


@pytest.fixture(scope="module")
def card(won: ComparisonEvidence) -> str:
    return model_card.render(model_card.of_comparison(won, won.challengers[0]), "Europe/Berlin")


def test_a_card_says_first_that_it_is_not_for_diagnosis(card: str) -> None:
    assert card.index("Research use, not for diagnosis") < card.index("<section")


def test_a_card_stands_alone_and_speaks_to_those_who_do_not_see_it(card: str) -> None:
    read = Page(card)
    assert (read.outside, read.silent) == ([], [])
    assert max(read.ids.values()) == 1
    assert read.pictures["img"] == 0
    assert not re.search(r"url\((?!#)|@import", card)
    assert SECRET not in card
    assert "c0ffee" not in card


@pytest.mark.parametrize(
    "heading",
    ["Intended use", "Limits", "Subgroups", "Shortcut audit", "Data, and how it was split", "Training", "Preprocessing",
     "Lineage"],
)  # fmt: skip
def test_a_card_has_every_part(card: str, heading: str) -> None:
    assert f"<h2>{heading}</h2>" in card


def test_a_judged_version_has_its_figures_with_intervals(won: ComparisonEvidence, card: str) -> None:
    figures = won.decision.figures[won.challengers[0].metadata.model_version]
    for name, figure in figures["metrics"].items():
        beside = "" if name == "ece" else f"<small>{figure['low']:.3f} to {figure['high']:.3f}</small>"
        assert f"{figure['value']:.3f}{beside}</td>" in card
    assert won.decision.sentence in card
    assert "Temperature</dt><dd>1.25" in card
    assert "radiology review" in card


def test_a_version_that_nobody_judged_has_its_validation_figures_and_says_that_they_flatter() -> None:
    metrics = compute_metrics(TEST.labels, answers(0.8), CLASSES)
    given = metrics | {"split": "validation", "splits": {"train": {"images": 400}, "validation": {"images": N}}}
    shown = model_card.render(model_card.CardEvidence(metadata=metadata(CHALLENGER, metrics=given)))
    assert "not judged yet" in shown
    assert "so the figures are optimistic" in shown
    assert f"{metrics['balanced_accuracy']:.3f}" in shown
    assert ">400<" in shown
    assert 'id="subgroups"' not in shown


@pytest.mark.parametrize("metrics", [{}, {"n": 0, "accuracy": None, "per_class": {"NORMAL": {"n": 0, "recall": None}}}])
def test_an_old_version_of_which_little_was_kept_has_a_card_too(metrics: dict[str, object]) -> None:
    old = metadata(CHALLENGER, metrics=metrics, training={})
    shown = model_card.render(model_card.CardEvidence(metadata=replace(old, created_at="")))
    assert CHALLENGER in shown
    assert "The number of training images was not recorded" in shown


def test_the_champions_card_does_not_claim_todays_data_as_what_it_learned_from(won: ComparisonEvidence) -> None:
    assert won.champion
    older = replace(won.champion, metadata=replace(won.champion.metadata, data_fingerprint="0" * 64))
    assert model_card.of_comparison(won, won.champion).data is DATA
    assert model_card.of_comparison(won, older).data is None


def test_a_model_that_learned_from_made_data_says_so_loudly() -> None:
    shown = model_card.render(model_card.CardEvidence(metadata=metadata(CHALLENGER, made=True)))
    assert 'class="banner"' in shown
    assert "knows nothing about real radiographs" in shown


def test_notes_of_a_training_cannot_become_markup() -> None:
    noted = metadata(CHALLENGER, training={"notes": ["<script>alert(1)</script>"]})
    assert "<script" not in model_card.render(model_card.CardEvidence(metadata=noted))


def test_a_card_is_stored_by_version(store: Store) -> None:
    assert model_card.publish(store, CHALLENGER, "<p>é</p>") == f"reports/models/{CHALLENGER}/card.html"
    assert store.read(model_card.key(CHALLENGER)).decode() == "<p>é</p>"
