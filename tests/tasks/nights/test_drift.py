"""A night's drift: which images are compared, what is stored, and how it is worded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from models.data.drift import compare
from tasks.nights import drift
from tasks.scoring import runs
from tests.support.databases import ANALYST
from tests.support.hospital import SETTINGS, Hospital
from tests.support.nights import MODEL, Nights

if TYPE_CHECKING:
    from tests.support.databases import Database


@pytest.fixture
def hospital(nights: Nights) -> Hospital:
    return Hospital(nights)


def test_nothing_is_compared_until_there_are_enough_images_beyond_the_first_ones(
    hospital: Hospital, db: Database
) -> None:
    found = hospital.watch(hospital.night(40))
    assert found is not None
    assert (found.reference_images, found.current_images, found.findings) == (40, 0, ())
    assert drift.sentence(found) == (
        "not enough images yet to look for drift: the champion's first 40 images and 0 newer, 20 are needed of both"
    )
    found = hospital.watch(hospital.night(19))
    assert found is not None
    assert (found.current_images, found.findings) == (19, ())
    assert db.value("select count(*) from cxr.drift") == 0
    found = hospital.watch(hospital.night(1))
    assert found is not None
    assert len(found.findings) == 11
    assert not found.drifted
    assert drift.sentence(found).startswith("no drift, the newest 20 images beside the champion's first 40: ")


def test_images_that_became_brighter_are_found_kept_and_said_in_words(hospital: Hospital, db: Database) -> None:
    hospital.night(40)
    run_id = hospital.night(30, brightness=0.7)
    found = hospital.watch(run_id)
    assert found is not None
    assert [one.measure.name for one in found.drifted] == ["mean"]
    words = drift.sentence(found)
    assert words.startswith("drift in 1 of 11 measures, the newest 30 images beside the champion's first 40: ")
    assert re.search(r": brightness \((0.9\d|1.00); median 0.[45]\d+, now 0.[67]\d*\)$", words), words
    assert "| brightness | median 0." in drift.table(found)
    assert drift.table(found).count("**drift**") == 1
    rows = db.rows("select kind, measure, statistic, drifted, model_version from analysis.drift", user=ANALYST)
    assert len(rows) == 11
    assert [row for row in rows if row[3]] == [("input", "mean", "Kolmogorov-Smirnov", True, MODEL)]
    assert sum(row[0] == "prediction" for row in rows) == 2


def test_predictions_that_shifted_are_found(hospital: Hospital) -> None:
    hospital.night(40)
    found = hospital.watch(hospital.night(40, shares=(0.8, 0.1, 0.1)))
    assert found is not None
    assert [one.measure.name for one in found.drifted] == ["predicted_class"]


def test_medians_and_the_shares_that_changed_most_are_said_in_words() -> None:
    before = {"width": [2048] * 40, "mean": [0.5484] * 40, "format": ["PNG"] * 36 + ["JPEG"] * 4}
    now = {"width": [1024] * 40, "mean": [0.5484] * 40, "format": ["BMP"] * 20 + ["TIFF", "GIF", "JPEG", "PNG"] * 5}
    found = drift.DriftComparison(MODEL, False, 40, 40, 20, compare(before, now, threshold=0.25, least=20))
    assert drift.sentence(found) == (
        "drift in 2 of 3 measures, the newest 40 images beside the champion's first 40: "
        "width (1.00; median 2,048, now 1,024); "
        "file format (0.78; 90% PNG, 0% BMP, 0% GIF, now 12% PNG, 50% BMP, 12% GIF)"
    )
    told = drift.table(found).splitlines()
    assert told[2] == "| brightness | median 0.548 | median 0.548 | 0.000 | 1.000 |  |"
    assert told[3] == "| width | median 2,048 | median 1,024 | 1.000 | < 0.001 | **drift** |"


def test_a_step_that_is_repeated_changes_no_row(hospital: Hospital, db: Database) -> None:
    hospital.night(40)
    run_id = hospital.night(30)
    hospital.watch(run_id)
    before = db.rows("select d from cxr.drift d order by measure")
    hospital.watch(run_id)
    assert db.rows("select d from cxr.drift d order by measure") == before


def test_the_newest_images_count_and_the_reference_stays(hospital: Hospital) -> None:
    hospital.night(40)
    hospital.night(100, brightness=0.6)
    found = hospital.watch(hospital.night(40))
    assert found is not None
    assert (found.reference_images, found.current_images, found.drifted) == (40, 40, ())


def test_a_large_run_is_sampled_over_all_of_it_and_no_image_is_in_both_windows(
    hospital: Hospital, db: Database
) -> None:
    """Otherwise the first images would all be from one ward, whose keys sort first."""
    run_id = hospital.night(300)
    db.rows("update cxr.images set mean = (rank > 150)::int from (select image_id as id, row_number() over (order by "
            "image_id) as rank from cxr.images) r where id = image_id")  # fmt: skip
    found = hospital.watch(run_id)
    assert found is not None
    assert (found.reference_images, found.current_images) == (40, 40)
    (brightness,) = (one for one in found.findings if one.measure.name == "mean")
    assert not brightness.drifted
    small = hospital.watch(run_id, settings=SETTINGS.model_copy(update={"drift_images": 180}))
    assert small is not None
    assert (small.reference_images, small.current_images) == (180, 120), "what is left"


def test_unpublished_runs_and_other_buckets_count_for_nothing_and_a_released_one_comes_later(
    hospital: Hospital,
) -> None:
    held = hospital.night(40, brightness=0.9, state="held")
    hospital.night(40)
    found = hospital.watch(hospital.night(20))
    assert found is not None
    assert (found.reference_images, found.current_images, found.drifted) == (40, 20, ())
    runs.release(hospital.pool, held, "the film was fine")
    found = hospital.watch(held)
    assert found is not None
    assert [one.measure.name for one in found.drifted] == ["mean"], "among the newest now, and not in the reference"
    elsewhere = hospital.watch(held, settings=SETTINGS.model_copy(update={"s3_bucket": "another"}))
    assert elsewhere is None


def test_made_images_and_real_ones_are_never_compared_with_each_other(hospital: Hospital) -> None:
    hospital.night(40)
    hospital.night(40, brightness=0.9, made=True)
    found = hospital.watch(hospital.night(20))
    assert found is not None
    assert (found.made, found.reference_images, found.current_images, found.drifted) == (False, 40, 20, ())
    found = hospital.watch(hospital.night(20, brightness=0.9, made=True))
    assert found is not None
    assert (found.made, found.reference_images, found.current_images, found.drifted) == (True, 40, 20, ())
    assert "20 made images" in drift.sentence(found)


def test_a_new_champion_begins_with_a_window_of_its_own(hospital: Hospital, nights: Nights) -> None:
    hospital.night(60)
    last = hospital.night(20, brightness=0.9)
    nights.register("model-2")
    hospital.promote("model-2")
    assert hospital.watch(last) is None
    assert drift.sentence(None) == "no look at drift yet: the champion of today has not scored here"
    found = hospital.watch(hospital.night(60, brightness=0.9, model="model-2"))
    assert found is not None
    assert (found.model_version, found.reference_images, found.drifted) == ("model-2", 40, ())
    hospital.promote(MODEL)
    found = hospital.watch(hospital.night(60))
    assert found is not None
    assert (found.reference_images, found.current_images) == (40, 20), "after a rollback: since then"
