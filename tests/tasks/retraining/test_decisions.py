"""Decisions: no comparison is repeated, and a model that a person rejected is not promoted automatically."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.registry import history, promotion
from tasks.retraining import decisions
from tests.support.compared import evidence
from tests.support.nights import MODEL
from tests.support.rulings import RULING, retraining

if TYPE_CHECKING:
    from tests.support.nights import Nights


def test_the_same_trainings_are_not_judged_twice_on_the_same_images(models: Nights) -> None:
    def asked(keys: list[str], data: str = "data", by: str | None = MODEL, gate: Any = None) -> str | None:
        return decisions.already_decided(models.pool, data, by, keys, gate)

    both = ["key-3", "key-2"]
    kept = replace(RULING, winner=None, sentence="model-1 stays: the gain may be chance.")
    promotion.record(models.pool, retraining(models.pool, dry_run=True), RULING, outcome="would promote")
    promotion.record(models.pool, retraining(models.pool, dry_run=True), kept, outcome="kept")
    assert asked(both) is None, "a dry run decides nothing"
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="declined")
    assert asked(both) is None, "nobody answered in time, so somebody is asked again"
    promotion.record(models.pool, retraining(models.pool), kept, outcome="kept")
    assert str(asked(both)).startswith("nothing new to decide: ")
    assert str(asked(both)).endswith(": model-1 stays: the gain may be chance.")
    assert asked(both, gate={"minimum_gain": 0.01})
    others = (["key-2"], "data"), ([*both, "key-4"], "data"), (both, "more data"), (both, "data", "model-4")
    assert [asked(*other) for other in others] == [None] * 4
    assert asked(both, gate={"minimum_gain": 0.5}) is None


def test_what_a_person_undid_is_not_promoted_again_by_itself(models: Nights) -> None:
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="promoted")
    promotion.rollback(models.pool, "it misses effusions")
    found = decisions.already_decided(models.pool, "data", MODEL, ["key-2", "key-3"])
    assert "undone since; `cxr champion promote VERSION" in str(found)
    assert str(decisions.undone(models.pool, "model-2")).startswith("model-2 was rolled back on 20")
    assert str(decisions.undone(models.pool, "model-2")).endswith(": it misses effusions")
    assert decisions.undone(models.pool, MODEL) is None
    promotion.promote(models.pool, "model-2", "it was the scanner")
    assert decisions.undone(models.pool, "model-2") is None, "a person's later word counts"


def test_a_champion_that_a_person_replaced_is_not_promoted_again_by_itself(models: Nights) -> None:
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="promoted")
    promotion.promote(models.pool, "model-4", "model-2 misses effusions")
    assert str(decisions.undone(models.pool, "model-2")).startswith("model-2 was replaced by hand on 20")
    assert str(decisions.undone(models.pool, "model-2")).endswith(": model-2 misses effusions")
    assert decisions.undone(models.pool, "model-4") is None
    promotion.promote(models.pool, "model-2", "it was the scanner")
    assert decisions.undone(models.pool, "model-2") is None
    assert str(decisions.undone(models.pool, "model-4")).startswith("model-4 was replaced by hand on 20")


def test_what_a_person_declined_is_not_promoted_by_itself_and_what_nobody_answered_may_be(models: Nights) -> None:
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="declined")
    assert decisions.undone(models.pool, "model-2") is None
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="declined", approved_by="Dr. A")
    assert str(decisions.undone(models.pool, "model-2")).startswith("model-2 was declined on 20")


OLD_EVIDENCE = {
    "outcome": "promote", "winner": "model-2", "sentence": RULING.sentence, "figures": {}, "comparisons": {},
    "baselines": {},
    "checks": {"model-2": [
        {"name": "latency", "passed": True, "value": 5.0, "limit": 200.0, "words": "model-2 needs 5.0 ms for an image"},
    ]},
}  # fmt: skip
"""As it was stored before a check had fields for its rule, its side and its unit, and a decision its reason."""


def test_a_decision_that_an_older_version_stored_is_shown_as_ever_and_queries_read_both(models: Nights) -> None:
    old = replace(RULING, evidence=OLD_EVIDENCE)
    promotion.record(models.pool, retraining(models.pool), old, outcome="declined", approved_by="Dr. A")
    known = decisions.already_decided(models.pool, "data", MODEL, ["key-2", "key-3"])
    assert f": {RULING.sentence} `cxr champion promote" in str(known)
    assert str(decisions.undone(models.pool, "model-2")).endswith(f": {RULING.sentence}")
    assert any(one.endswith(f": {RULING.sentence}") for one in history.doubts(models.pool, "model-2"))
    won = evidence().decision
    new = replace(RULING, evidence=won.to_dict(), sentence=won.sentence)
    promotion.record(models.pool, retraining(models.pool), new, outcome="declined")
    read = models.db.rows(
        """select d.sentence, c ->> 'words', c ->> 'value', c ->> 'limit', c ->> 'passed'
           from analysis.decisions d, jsonb_each(d.evidence -> 'checks') m, jsonb_array_elements(m.value) c
           where c ->> 'name' = 'latency' order by d.decision_id"""
    )
    assert read == [
        (RULING.sentence, "model-2 needs 5.0 ms for an image", "5.0", "200.0", "true"),
        (won.sentence, f"{won.winner} needs 6.0 ms for an image, 200 ms are allowed", "6.0", "200.0", "true"),
    ]
