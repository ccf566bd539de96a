"""What stopping a retraining at any step, and running two at once, must not change: one champion, one decision."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from studies import TYPED, champions, decisions, leave_no_pixels, retrain

if TYPE_CHECKING:
    from conftest import Site

DECIDED = "exists (select from cxr.decisions)"
MOMENTS = {
    "while it trains": "exists (select from cxr.retrainings where data_fingerprint is not null)",
    "after the challenger was registered": "exists (select from cxr.model_versions where training_key is not null)",
}


@pytest.mark.usefixtures("workers_inside")  # of the next one; the killed one has its own process and workers
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_retraining_killed_before_it_decides_leaves_the_champion_and_the_next_one_finishes(
    moment: str, study: Site
) -> None:
    before = champions(study)
    killed = study.start("retrain", *TYPED)
    study.until(MOMENTS[moment], killed)
    study.kill(killed)
    assert (champions(study), decisions(study)) == (before, [])

    state = retrain(study)

    assert state.is_completed(), state.message
    assert len(decisions(study)) == 1
    assert len(champions(study)) == len(before) + 1
    assert study.db.value("select count(*) from cxr.model_versions where training_key is not null") == 1
    ends = study.db.rows("select state from cxr.retrainings order by started_at")
    assert ends == [("crashed",), ("completed",)]
    leave_no_pixels(study)


def test_of_two_retrainings_at_once_one_decides_and_killed_after_that_it_leaves_one_champion(study: Site) -> None:
    before = champions(study)
    at_work = study.start("retrain", *TYPED)
    study.until("exists (select from cxr.retrainings)", at_work)
    assert "Skipped: " in study.finish(study.start("retrain", *TYPED))
    study.until(DECIDED, at_work)
    study.kill(at_work)
    after = champions(study)
    assert (len(decisions(study)), len(after)) == (1, len(before) + 1), "a decision and its promotion come together"

    state = retrain(study)

    assert state.is_completed(), state.message
    assert (len(decisions(study)), champions(study)) == (1, after)
    assert study.db.value("select state from cxr.retrainings order by started_at limit 1") == "completed"
    leave_no_pixels(study)


def test_a_retraining_that_is_told_to_stop_says_so(study: Site) -> None:
    process = study.start("retrain", *TYPED)
    study.until(MOMENTS["while it trains"], process)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    ((state, message),) = study.db.rows("select state, message from cxr.retrainings")
    assert state == "failed"
    assert "told to stop" in message
