"""What stopping a retraining at any step, and running two at once, must not change: one champion, one decision."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from studies import TYPED, champions, decisions, leave_no_pixels, retrain

if TYPE_CHECKING:
    from conftest import Site

MOMENTS = {
    "while it trains": "exists (select from cxr.retrainings where data_fingerprint is not null)",
    "after the challenger was registered": "exists (select from cxr.model_versions where training_key is not null)",
    "after the decision": "exists (select from cxr.decisions)",
}


@pytest.mark.usefixtures("workers_inside")  # of the next one; the killed one has its own process and workers
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_retraining_killed_at_any_step_leaves_one_champion_and_the_next_one_finishes(
    moment: str, study: Site
) -> None:
    before = champions(study)
    killed = study.start("retrain", *TYPED)
    study.until(MOMENTS[moment], killed)
    study.kill(killed)
    assert champions(study)[: len(before)] == before
    decided = decisions(study)
    assert len(champions(study)) == len(before) + len(decided), "a decision and its promotion come together"

    state = retrain(study)

    assert state.is_completed(), state.message
    assert len(decisions(study)) == 1
    assert len(champions(study)) == len(before) + 1
    assert study.db.value("select count(*) from cxr.model_versions where training_key is not null") == 1
    ends = study.db.rows("select state from cxr.retrainings order by started_at")
    assert ends == ([("completed",)] if decided else [("crashed",)]) + [("completed",)]
    leave_no_pixels(study)


def test_two_retrainings_at_once_end_with_one_decision(study: Site) -> None:
    both = [study.start("retrain", *TYPED) for _ in range(2)]
    outputs = [study.finish(one) for one in both]
    assert len(decisions(study)) == 1
    assert sum("Skipped: " in output for output in outputs) == 1, outputs


def test_a_retraining_that_is_told_to_stop_says_so(study: Site) -> None:
    process = study.start("retrain", *TYPED)
    study.until(MOMENTS["while it trains"], process)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    ((state, message),) = study.db.rows("select state, message from cxr.retrainings")
    assert state == "failed"
    assert "told to stop" in message
