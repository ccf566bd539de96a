"""The analysts' views: what they show of a night, and what they do not show until it is published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tasks.scoring import runs
from tasks.scoring.predictions import ImageResult
from tests.support.databases import ANALYST
from tests.support.nights import MODEL, NIGHT, Nights, failed, quarantined, scored, sha256

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.databases import Database

EARLY = datetime(2026, 5, 7, tzinfo=UTC)
LATE = EARLY + timedelta(hours=5)


class Latest:
    """Reads analysis.latest_prediction as the analyst."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def __call__(self, columns: str = "etag, predicted_class") -> list[tuple]:
        return self.db.rows(f"select {columns} from analysis.latest_prediction order by object_key", user=ANALYST)


@pytest.fixture
def latest(db: Database) -> Latest:
    return Latest(db)


def test_the_newest_version_of_an_object_counts_however_it_was_found(nights: Nights, latest: Latest) -> None:
    (new,) = nights.listed("a", etag="new", at=LATE)
    (old,) = nights.listed("a", etag="old", at=EARLY)
    nights.night(scored(new, "new", "COVID-19"), scored(old, "old", "NORMAL"))
    assert latest() == [("new", "COVID-19")]


def test_a_new_version_replaces_the_old_one_once_it_is_published(nights: Nights, latest: Latest) -> None:
    (old,) = nights.listed("a", etag="old", at=EARLY)
    nights.night(scored(old, "old", "NORMAL"))
    (new,) = nights.listed("a", etag="new", at=LATE)
    run_id = nights.begin()
    nights.commit(run_id, scored(new, "new", "PNEUMONIA"))
    assert latest() == [("old", "NORMAL")], "the old one stays visible while the night goes on"
    nights.finish(run_id)
    assert latest() == [("new", "PNEUMONIA")]


def test_a_quarantined_new_version_does_not_hide_the_old_prediction(nights: Nights, latest: Latest) -> None:
    (old,) = nights.listed("a", etag="old", at=EARLY)
    nights.night(scored(old, "old", "NORMAL"))
    (new,) = nights.listed("a", etag="new", at=LATE)
    nights.night(quarantined(new))
    assert latest() == [("old", "NORMAL")]


def test_a_duplicate_shows_the_prediction_it_points_to(nights: Nights, latest: Latest) -> None:
    one, two = nights.listed("a", "b")
    nights.night(scored(one, "x", "PNEUMONIA"), scored(two, "x", "PNEUMONIA"))
    assert latest("image_id, predicted_class, duplicate_of") == [(one, "PNEUMONIA", None), (two, "PNEUMONIA", one)]


def test_a_newer_model_versions_prediction_replaces_the_older_ones(
    db: Database, nights: Nights, latest: Latest
) -> None:
    (one,) = nights.listed("a")
    run_id = nights.night(scored(one, "x", "NORMAL"))
    nights.register("model-2")
    db.rows(
        """insert into cxr.predictions
           select image_id, content_sha256, 'model-2', 'COVID-19', 0.9, '{0.9,0.1,0}', night, %s,
                  scored_at + interval '1 s', preprocessing_hash, code_version, runtime, source_bucket, source_key,
                  source_etag, made from cxr.predictions""",
        str(run_id),
    )
    assert latest("model_version, predicted_class") == [("model-2", "COVID-19")]
    history = db.rows("select model_version from analysis.prediction_history order by scored_at", user=ANALYST)
    assert history == [(MODEL,), ("model-2",)]


def test_a_model_that_does_not_know_a_class_gives_null_for_it(db: Database, nights: Nights, latest: Latest) -> None:
    nights.register("binary", ("NORMAL", "NOT NORMAL"))
    (one,) = nights.listed("a")
    answer = ImageResult(one, "scored", (), scored(one, "x").measurement, "NORMAL", (0.75, 0.25))
    nights.night(answer, model="binary")
    ((covid, normal, pneumonia),) = latest("probability_covid_19, probability_normal, probability_pneumonia")
    assert (covid, pneumonia) == (None, None)
    assert normal == 0.75
    assert db.rows("select class, probability from analysis.class_probabilities order by 1") == [
        ("NORMAL", 0.75),
        ("NOT NORMAL", 0.25),
    ]


def visible(db: Database) -> dict[str, int]:
    views = ("latest_prediction", "prediction_history", "class_probabilities")
    return {view: db.rows(f"select count(*) from analysis.{view}", user=ANALYST)[0][0] for view in views}


NOTHING = {"latest_prediction": 0, "prediction_history": 0, "class_probabilities": 0}


@pytest.mark.parametrize("state", ["held", "failed"])
def test_views_show_nothing_of_a_run_that_is_not_published(db: Database, nights: Nights, state: str) -> None:
    one, two = nights.listed("a", "b")
    run_id = nights.begin()
    nights.commit(run_id, scored(one, "x"), scored(two, "x"))
    assert visible(db) == NOTHING
    nights.finish(run_id, state)
    assert visible(db) == NOTHING


def test_a_released_run_becomes_visible_whole(db: Database, nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    run_id = nights.night(scored(one, "x"), scored(two, "x"), scored(three, "y"), state="held")
    assert runs.release(nights.pool, run_id, "looked at the quarantine: a test pattern", by="ito") == 2
    assert visible(db) == {"latest_prediction": 3, "prediction_history": 2, "class_probabilities": 6}
    ((state, by, why),) = db.rows("select state, released_by, release_reason from analysis.runs", user=ANALYST)
    assert (state, by, why) == ("completed", "test_writer (ito)", "looked at the quarantine: a test pattern")


def test_a_held_runs_duplicate_of_a_published_image_stays_hidden_too(nights: Nights, latest: Latest) -> None:
    (one,) = nights.listed("a")
    nights.night(scored(one, "x"))
    (two,) = nights.listed("b")
    held = nights.night(scored(two, "x"), state="held")
    assert latest("object_key") == [("a",)]
    runs.release(nights.pool, held, "fine")
    assert latest("object_key") == [("a",), ("b",)]


def test_probabilities_come_in_long_form_with_one_predicted_class_each(db: Database, nights: Nights) -> None:
    (one,) = nights.listed("a")
    nights.night(scored(one, "x", "PNEUMONIA", 0.6))
    rows = db.rows("select class, probability, predicted from analysis.class_probabilities order by 1", user=ANALYST)
    assert [(name, predicted) for name, _, predicted in rows] == [
        ("COVID-19", False),
        ("NORMAL", False),
        ("PNEUMONIA", True),
    ]
    assert [probability for _, probability, _ in rows] == pytest.approx([0.2, 0.2, 0.6])


def test_a_nights_summary_counts_each_image_once_and_only_published_classes(db: Database, nights: Nights) -> None:
    ids = nights.listed("a", "b", "c", "d", "e")
    nights.night(
        scored(ids[0], "x", "COVID-19"), scored(ids[1], "x", "COVID-19"), scored(ids[2], "y"), quarantined(ids[3]),
        failed(ids[4]),
    )  # fmt: skip
    (more,) = nights.listed("f")
    held = nights.begin(retry_failed=False)
    nights.commit(held, scored(more, "z", "PNEUMONIA"))
    nights.finish(held, "held")
    counts = """select images, scored, scored_unpublished, quarantined, failed, duplicate, pending, runs,
                       predicted_covid_19, predicted_normal, predicted_pneumonia, model_versions
                from analysis.night_summary where night = %s and not made"""
    assert db.rows(counts, NIGHT) == [(6, 3, 1, 1, 1, 1, 0, 2, 1, 1, 0, [MODEL])]


def test_made_data_and_other_nights_have_summaries_of_their_own(db: Database, nights: Nights) -> None:
    one, two = nights.listed("a", "b")
    db.rows("update cxr.images set made = true where image_id = %s", two)
    nights.night(scored(one, "x"), scored(two, "y"))
    (three,) = nights.listed("c")
    nights.night(scored(three, "z"), night=date(2026, 5, 8))
    found = db.rows("select night, made, images, predicted_normal from analysis.night_summary order by 1, 2")
    assert found == [(NIGHT, False, 1, 1), (NIGHT, True, 1, 1), (date(2026, 5, 8), False, 1, 1)]


def test_the_quarantine_says_in_words_and_names_why_an_image_has_no_prediction(db: Database, nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    run_id: UUID = nights.night(quarantined(one, "contrast", "grey"), failed(two), scored(three, "x"))
    found = db.rows(
        "select image_id, state, failed_expectations, reason, night, run_id from analysis.quarantine order by 1",
        user=ANALYST,
    )
    assert found == [
        (one, "quarantined", ["contrast", "grey"], "contrast: it spans 0.01; grey: it spans 0.01", NIGHT, str(run_id)),
        (two, "failed", [], "the object was deleted after it had been listed", NIGHT, str(run_id)),
    ]
    by_name = "select image_id from analysis.quarantine where 'grey' = any(failed_expectations)"
    assert db.rows(by_name, user=ANALYST) == [(one,)]


def test_each_row_carries_its_lineage(db: Database, nights: Nights, latest: Latest) -> None:
    (one,) = nights.listed("a", etag="e1")
    run_id = nights.night(scored(one, "x"))
    lineage = nights.lineage(run_id)
    names = "model_version, preprocessing_hash, code_version, run_id, object_key, etag, runtime, night, content_sha256"
    expected = (
        MODEL, lineage.preprocessing_hash, "1.0", str(run_id), "a", "e1", "keras", NIGHT, sha256("x"),
    )  # fmt: skip
    assert latest(names) == [expected]
    assert db.rows(f"select {names} from analysis.prediction_history", user=ANALYST) == [expected]
    assert db.value("select scored_at > now() - interval '1 minute' from analysis.latest_prediction")
