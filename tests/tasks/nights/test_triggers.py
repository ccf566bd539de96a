"""Triggers: each reason requests one retraining, even if several nights end at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tasks.nights import triggers
from tasks.retraining import record
from tests.support.hospital import SETTINGS, Hospital
from tests.support.nights import MODEL, Nights

if TYPE_CHECKING:
    from tasks.nights.triggers import Trigger
    from tests.support.databases import Database


class Site(Hospital):
    """Nights that end as the flow ends them, and retrainings."""

    fired = 0

    def end(
        self, images: int = 20, *, brightness: float = 0.5, model: str = MODEL, **settings: Any
    ) -> tuple[str, str] | None:
        """Run a whole night; return kind and detail of the trigger that it fired, if any."""
        run_id = self.night(images, brightness=brightness, model=model)
        asked = SETTINGS.model_copy(update=settings)
        self.watch(run_id, settings=asked)
        found = self.fire(run_id, **settings)
        return (found.kind, found.detail) if found and found.run_id == run_id else None

    def fire(self, run_id: UUID, **settings: Any) -> Trigger | None:
        return triggers.fire(self.pool, SETTINGS.model_copy(update=settings), run_id)

    def retrain(self, *, state: str = "completed", dry_run: bool = False, labels: int | None = None) -> None:
        """Run a retraining from start to end, over all existing labels."""
        retraining_id = uuid4()
        record.start(self.pool, retraining_id, None, "b", "schedule", dry_run, "1.0")
        known = labels if labels is not None else self.db.value(
            "select count(distinct content_sha256) from cxr.labels where superseded_at is null"
        )  # fmt: skip
        self.db.rows(
            "update cxr.retrainings set state = %s, labels = %s where retraining_id = %s",
            state, known, str(retraining_id),
        )  # fmt: skip


@pytest.fixture
def site(nights: Nights) -> Site:
    return Site(nights)


def open_triggers(db: Database) -> list[tuple]:
    return db.rows("select kind, labels from cxr.triggers where retraining_id is null order by trigger_id")


def test_labels_ask_once_when_they_are_enough_and_again_only_for_so_many_more(site: Site) -> None:
    site.label(9)
    assert site.end() is None
    site.label(1)
    assert site.end() == ("new labels", "10 images with new labels")
    site.label(30)
    assert site.end() is None, "the first is open still"
    assert open_triggers(site.db) == [("new labels", 10)]
    site.retrain()
    assert open_triggers(site.db) == []
    assert site.end() is None, "the retraining knows them all"
    site.label(10)
    assert site.end() == ("new labels", "10 images with new labels")


def test_a_correction_and_a_label_that_waited_for_its_image_are_new_labels(site: Site, db: Database) -> None:
    site.label(20)
    site.retrain()
    db.rows("update cxr.labels set superseded_at = now() where label_id <= 10")
    db.rows(
        "insert into cxr.labels (content_sha256, class, patient_id, source) "
        "select content_sha256, 'COVID-19', patient_id, source from cxr.labels where superseded_at is not null"
    )
    assert site.end() == ("new labels", "10 images with new labels")
    site.retrain()
    site.label(10)
    db.rows("update cxr.labels set labelled_at = now() - interval '1 year' where label_id > 30")
    assert site.end() == ("new labels", "10 images with new labels")


def test_a_dry_run_and_a_retraining_that_failed_have_answered_nothing(site: Site) -> None:
    site.label(10)
    site.retrain(dry_run=True)
    site.retrain(state="failed")
    assert site.end() == ("new labels", "10 images with new labels")
    site.retrain(state="failed")
    assert site.end() is None, "what was asked for once is not asked for again"


def test_drift_asks_once_until_a_night_without_any(site: Site, db: Database) -> None:
    assert site.end(40) is None
    assert site.end(40) is None
    assert site.end(40, brightness=0.6) == ("drift", "drift of brightness")
    assert site.end(40, brightness=0.6) is None
    site.retrain()
    assert site.end(40, brightness=0.6) is None, "the same drift, and the champion stayed"
    assert site.end(40) is None
    assert site.end(40, brightness=0.6) == ("drift", "drift of brightness")
    assert db.value("select count(*) from cxr.triggers") == 2


def test_drift_asks_again_of_another_champion(site: Site, nights: Nights) -> None:
    site.end(40)
    assert site.end(40, brightness=0.6) == ("drift", "drift of brightness")
    site.retrain()
    nights.register("model-2")
    site.promote("model-2")
    assert site.end(40, brightness=0.6, model="model-2") is None, "which begins with a window of its own"
    assert site.end(40, brightness=0.8, model="model-2") == ("drift", "drift of brightness")


def test_drift_that_a_retraining_has_seen_already_asks_for_no_other(site: Site) -> None:
    site.label(10)
    assert site.end(40) == ("new labels", "10 images with new labels")
    assert site.end(40, brightness=0.6) is None, "one is open"
    site.retrain()
    assert site.end(40, brightness=0.6) is None


def test_both_reasons_on_one_night_are_one_trigger_that_names_both(site: Site, db: Database) -> None:
    site.end(40)
    site.label(12)
    assert site.end(40, brightness=0.6) == ("drift", "drift of brightness; 12 images with new labels")
    site.retrain()
    assert site.end(40, brightness=0.6) is None
    assert db.value("select count(*) from cxr.triggers") == 1


def test_each_reason_can_be_switched_off(site: Site) -> None:
    site.label(100)
    site.end(40, retrain_new_labels=0)
    off = {"retrain_new_labels": 0, "retrain_on_drift": False}
    assert site.end(40, brightness=0.6, **off) is None
    assert site.end(40, brightness=0.6, retrain_new_labels=0) == ("drift", "drift of brightness")


def test_nights_that_end_at_once_fire_one_trigger(site: Site, db: Database) -> None:
    site.label(10)
    run_ids = [site.night(1) for _ in range(8)]
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(site.fire, run_ids))
    assert len({one.trigger_id for one in found if one}) == 1
    assert db.value("select count(*) from cxr.triggers") == 1


def test_the_flow_run_that_was_asked_for_is_noted_and_repeating_is_harmless(site: Site) -> None:
    site.label(10)
    run_id, flow_run_id = site.night(1), uuid4()
    first = site.fire(run_id)
    assert first is not None
    assert (first.run_id, first.flow_run_id) == (run_id, None)
    triggers.note_asked(site.pool, first.trigger_id, flow_run_id)
    again = site.fire(run_id)
    assert again is not None
    assert (again.trigger_id, again.flow_run_id) == (first.trigger_id, flow_run_id)
