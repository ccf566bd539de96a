"""Promotion: one champion at any instant, a history that only grows, and nothing half done."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from infra.database import DatabaseError
from tasks.nights import overview
from tasks.registry import history, promotion
from tasks.registry.promotion import PromotionError, RecordedDecision, StaleError
from tasks.retraining import record
from tests.support.nights import MODEL
from tests.support.rulings import RULING, retraining

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.databases import Database
    from tests.support.nights import Nights

EVERYTHING = "cxr.decisions", "cxr.promotions", "cxr.retrainings"


def champion(db: Database) -> object:
    return db.value("select model_version from cxr.champion")


def everything(db: Database) -> list[list[tuple]]:
    return [db.rows(f"select t::text from {table} t order by 1") for table in EVERYTHING]


def at_once(*steps: Callable[[], Any]) -> list[Any]:
    """Run steps in threads that begin together; what one raises is its result."""
    barrier = threading.Barrier(len(steps))

    def run(step: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return step()
        except PromotionError as error:
            return error

    with ThreadPoolExecutor(len(steps)) as threads:
        return list(threads.map(run, steps))


def require_linear(db: Database) -> None:
    rows = db.rows("select model_version, previous_version from cxr.promotions order by promotion_id")
    assert [before for _, before in rows] == [None, *(version for version, _ in rows[:-1])]


def test_a_promotion_is_one_decision_one_change_and_the_end_of_the_retraining(db: Database, models: Nights) -> None:
    one = retraining(models.pool)
    recorded = promotion.record(models.pool, one, RULING, outcome="promoted", approved_by="Dr Ito")
    assert recorded == RecordedDecision(recorded.decision_id, "promoted", RULING.sentence, recorded.promotion_id)
    assert champion(db) == "model-2"
    newest, first = history.history(models.pool)
    assert (newest.kind, newest.reason, newest.decision_id) == ("gate", RULING.sentence, recorded.decision_id)
    assert (newest.previous_version, newest.promoted_by, newest.approved_by) == (MODEL, "test_writer", "Dr Ito")
    assert (first.kind, first.previous_version, first.decision_id) == ("bootstrap", None, None)
    assert db.rows("select state, message from cxr.retrainings") == [("completed", RULING.sentence)]
    seen = "outcome, champion_version, challengers, winner, gate, failures, test_images, test_patients, approved_by"
    assert db.rows(f"select {seen} from analysis.decisions" ) == [
        ("promoted", MODEL, ["model-2", "model-3"], "model-2", {"minimum_gain": 0.01}, {"vgg": "out of memory"}, 400,
         210, "Dr Ito")
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", ["kept", "declined", "would promote"])
def test_any_other_decision_is_kept_too_and_the_champion_stays(db: Database, models: Nights, outcome: Any) -> None:
    ruling = replace(RULING, winner=None) if outcome == "kept" else RULING
    one = retraining(models.pool, dry_run=outcome == "would promote")
    assert promotion.record(models.pool, one, ruling, outcome=outcome).promotion_id is None
    assert (champion(db), db.value("select outcome from cxr.decisions")) == (MODEL, outcome)
    assert db.value("select state from cxr.retrainings") == "completed"


def test_a_page_that_was_stored_while_a_person_was_asked_is_no_report_of_the_decision(
    db: Database, models: Nights
) -> None:
    one = retraining(models.pool)
    record.report(models.pool, one, "reports/waiting.html")
    promotion.record(models.pool, one, RULING, outcome="promoted", approved_by="Dr Ito")
    assert db.value("select report_key from cxr.retrainings") is None
    for run_id in (one, None):
        with pytest.raises(overview.NoSuchRunError, match=f"Its decision stands.*: {re.escape(RULING.sentence)}"):
            overview.report_key(models.pool, run_id, retraining=True)
    record.report(models.pool, one, "reports/decided.html")
    assert overview.report_key(models.pool, None, retraining=True) == "reports/decided.html"


def test_without_a_champion_the_winner_is_the_bootstrap(db: Database, nights: Nights) -> None:
    one = retraining(nights.pool)
    first = replace(RULING, champion_version=None, challengers=(MODEL,), winner=MODEL)
    promotion.record(nights.pool, one, first, outcome="promoted")
    assert db.rows("select kind, model_version, previous_version from cxr.promotions") == [("bootstrap", MODEL, None)]


def test_a_repeat_after_a_lost_answer_finds_its_decision_and_changes_nothing(db: Database, models: Nights) -> None:
    one = retraining(models.pool)
    recorded = promotion.record(models.pool, one, RULING, outcome="promoted")
    before = everything(db)
    assert promotion.record(models.pool, one, RULING, outcome="promoted") == recorded
    assert promotion.record(models.pool, one, replace(RULING, winner=None), outcome="kept") == recorded
    assert everything(db) == before


def test_a_decision_about_a_champion_of_yesterday_is_refused_and_leaves_nothing(db: Database, models: Nights) -> None:
    one = retraining(models.pool)
    promotion.promote(models.pool, "model-4", "by hand, meanwhile")
    before = everything(db)
    with pytest.raises(StaleError, match=r"from model-1 to model-4 during.*run it again"):
        promotion.record(models.pool, one, RULING, outcome="promoted")
    assert everything(db) == before


@pytest.mark.parametrize("table", ["promotions", "decisions", "retrainings"])
def test_what_breaks_off_in_the_middle_leaves_nothing_and_a_repeat_finishes(
    db: Database, models: Nights, table: str
) -> None:
    """The last statement, or any before it, fails as if the process had died there."""
    one = retraining(models.pool)
    before = everything(db)
    db.rows(
        f"""create function cxr.fall() returns trigger language plpgsql as 'begin raise exception ''down''; end';
            create trigger fall before insert or update on cxr.{table} for each row execute function cxr.fall()"""
    )
    with pytest.raises(DatabaseError, match="down"):
        promotion.record(models.pool, one, RULING, outcome="promoted")
    assert everything(db) == before
    db.rows("drop function cxr.fall() cascade")
    promotion.record(models.pool, one, RULING, outcome="promoted")
    assert champion(db) == "model-2"


def test_a_retraining_that_was_found_dead_decides_nothing_any_more(db: Database, models: Nights) -> None:
    dead = retraining(models.pool)
    retraining(models.pool)
    with pytest.raises(PromotionError, match="is crashed, not running"):
        promotion.record(models.pool, dead, RULING, outcome="promoted")
    assert champion(db) == MODEL


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("artifact_sha256 = repeat('a', 64)", "champion's own model"),
        ("made_data = true", "trained on made data, the champion on radiographs"),
        ("classes = '{NORMAL,PNEUMONIA}'", "analysts would see other classes"),
    ],
    ids=["the champion itself", "made data", "other classes"],
)
def test_a_winner_that_no_gate_may_promote_is_refused_in_words(
    db: Database, models: Nights, change: str, words: str
) -> None:
    db.rows(f"update cxr.model_versions set {change} where model_version = 'model-2'")
    one = retraining(models.pool)
    before = everything(db)
    with pytest.raises(PromotionError, match=words):
        promotion.record(models.pool, one, RULING, outcome="promoted")
    assert everything(db) == before


def test_other_classes_need_a_persons_word_unless_the_champion_knows_phantoms_only(
    db: Database, models: Nights
) -> None:
    db.rows("update cxr.model_versions set classes = '{NORMAL,TUBERCULOSIS}' where model_version = 'model-2'")
    promotion.record(models.pool, retraining(models.pool, dry_run=True), RULING, outcome="would promote")
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="promoted", approved_by="Dr Ito")
    assert champion(db) == "model-2"
    promotion.rollback(models.pool, "for the rest of this test")
    db.rows("update cxr.model_versions set made_data = true where model_version = %s", MODEL)
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="promoted")
    assert champion(db) == "model-2"


def test_a_dry_run_and_a_winner_from_elsewhere_promote_nothing(db: Database, models: Nights) -> None:
    with pytest.raises(PromotionError, match="dry run"):
        promotion.record(models.pool, retraining(models.pool, dry_run=True), RULING, outcome="promoted")
    stranger = replace(RULING, winner="model-4")
    with pytest.raises(PromotionError, match="not among the challengers"):
        promotion.record(models.pool, retraining(models.pool), stranger, outcome="promoted")
    assert champion(db) == MODEL


def test_two_retrainings_that_end_at_once_make_one_champion(db: Database, models: Nights) -> None:
    ids = [retraining(models.pool) for _ in range(2)]
    db.rows("update cxr.retrainings set state = 'running', finished_at = null")  # as if the lock had been lost
    rulings = [RULING, replace(RULING, winner="model-3", sentence="model-3 is promoted.")]
    steps = [
        lambda one=one, ruling=ruling: promotion.record(models.pool, one, ruling, outcome="promoted")
        for one, ruling in zip(ids, rulings, strict=True)
    ]
    outcomes = at_once(*steps)
    assert sorted(type(one).__name__ for one in outcomes) == ["RecordedDecision", "StaleError"]
    assert db.value("select count(*) from cxr.promotions") == 2
    assert db.value("select count(*) from cxr.decisions") == 1
    require_linear(db)


def test_the_same_decision_recorded_twice_at_once_counts_once(db: Database, models: Nights) -> None:
    one = retraining(models.pool)
    outcomes = at_once(*[lambda: promotion.record(models.pool, one, RULING, outcome="promoted")] * 3)
    assert len(set(outcomes)) == 1
    assert db.value("select count(*) from cxr.promotions") == 2


def test_a_promotion_by_hand_names_who_why_and_what_it_replaced(db: Database, models: Nights) -> None:
    assert promotion.promote(models.pool, "model-2", "it reads the new detector") == MODEL
    newest = "select kind, reason, previous_version, promoted_by from cxr.promotions order by promotion_id desc limit 1"
    assert db.rows(newest) == [("manual", "it reads the new detector", MODEL, "test_writer")]
    for version, reason, words in (
        ("model-2", "again", "already the champion"),
        ("model-99", "x", "no model version"), ("model-3", " ", "give a reason"),
    ):  # fmt: skip
        with pytest.raises(PromotionError, match=words):
            promotion.promote(models.pool, version, reason)
    assert champion(db) == "model-2"


def test_a_rollback_goes_one_step_back_and_not_a_second_one(db: Database, models: Nights) -> None:
    with pytest.raises(PromotionError, match=r"first champion.*cxr champion promote VERSION"):
        promotion.rollback(models.pool, "it is bad")
    promotion.promote(models.pool, "model-2", "better")
    with pytest.raises(PromotionError, match="give a reason"):
        promotion.rollback(models.pool, "\n")
    assert promotion.rollback(models.pool, "it misses effusions") == ("model-2", MODEL)
    assert champion(db) == MODEL
    with pytest.raises(
        PromotionError, match=r"itself a rollback, from model-2 to model-1.*cxr champion promote VERSION"
    ):
        promotion.rollback(models.pool, "further")
    promotion.promote(models.pool, "model-3", "another try")
    assert promotion.rollback(models.pool, "no") == ("model-3", MODEL)
    require_linear(db)


def test_nothing_is_rolled_back_before_there_is_a_champion(nights: Nights) -> None:
    with pytest.raises(PromotionError, match="no champion yet"):
        promotion.rollback(nights.pool, "why not")


def test_of_two_rollbacks_at_once_one_happens(db: Database, models: Nights) -> None:
    promotion.promote(models.pool, "model-2", "better")
    promotion.promote(models.pool, "model-3", "better still")
    outcomes = at_once(*[lambda: promotion.rollback(models.pool, "it is bad")] * 2)
    assert sorted(type(one).__name__ for one in outcomes) == ["PromotionError", "tuple"]
    assert champion(db) == "model-2"


def test_promotions_and_rollbacks_at_once_leave_one_line_of_champions(db: Database, models: Nights) -> None:
    promotion.promote(models.pool, "model-2", "better")
    one = retraining(models.pool)
    ruling = replace(RULING, champion_version="model-2", challengers=("model-3",), winner="model-3")
    at_once(
        lambda: promotion.promote(models.pool, "model-4", "a person's word"),
        lambda: promotion.rollback(models.pool, "it is bad"),
        lambda: promotion.promote(models.pool, "model-3", "another person's word"),
        lambda: promotion.record(models.pool, one, ruling, outcome="promoted"),
    )
    require_linear(db)


def test_the_gates_doubts_about_a_version_are_told(db: Database, models: Nights) -> None:
    assert history.doubts(models.pool, "model-2") == [
        "the gate has never compared model-2 with the current champion, model-1"
    ]
    declined = promotion.record(models.pool, retraining(models.pool), RULING, outcome="declined")
    (doubt,) = history.doubts(models.pool, "model-2")
    assert doubt.startswith("it was declined on 20")
    assert declined.sentence in doubt
    (doubt,) = history.doubts(models.pool, "model-3")
    assert doubt.startswith("the gate decided against it on 20")
    promotion.record(models.pool, retraining(models.pool), RULING, outcome="promoted")
    (doubt,) = history.doubts(models.pool, MODEL)
    assert doubt.startswith("the gate decided against it on 20"), "it was beaten by today's champion"
    assert history.doubts(models.pool, MODEL) == [doubt], "the gate has promoted today's champion over it"
    promotion.rollback(models.pool, "for the rest of this test")
    kept = replace(RULING, winner=None, sentence="model-1 stays: the gain may be chance.")
    promotion.record(models.pool, retraining(models.pool), kept, outcome="kept")
    promotion.promote(models.pool, "model-2", "a person's word")
    assert history.doubts(models.pool, MODEL) == [], "the gate preferred it to today's champion"
    promotion.promote(models.pool, MODEL, "for the rest of this test")
    db.rows("update cxr.model_versions set made_data = true where model_version = 'model-4'")
    assert (
        history.doubts(models.pool, "model-4")[1]
        == "model-4 was trained on made data: its predictions for radiographs mean nothing"
    )
