"""What stopping a retraining at any step, and running two at once, must not change: one champion, one decision."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.studies import TYPED, champions, decisions, leave_no_pixels, retrain

if TYPE_CHECKING:
    from tests.support.site import Site

MOMENTS = {
    "while it trains": "exists (select from cxr.retrainings where data_fingerprint is not null)",
    "after the challenger was registered": "exists (select from cxr.model_versions where training_key is not null)",
}


def test_killed_at_each_step_the_next_one_goes_on_and_two_at_once_leave_one_decision_and_one_champion(
    study: Site,
) -> None:
    before = champions(study)
    for moment in MOMENTS.values():
        killed = study.start("retrain", *TYPED)
        study.until(moment, killed)
        study.kill(killed)
        assert (champions(study), decisions(study)) == (before, [])
    killed = study.start("retrain", *TYPED)
    study.until(f"(select count(*) from cxr.retrainings) = {len(MOMENTS) + 1}", killed)
    assert "Skipped: " in study.finish(study.start("retrain", *TYPED))
    study.until("exists (select from cxr.decisions)", killed)
    study.kill(killed)
    after = champions(study)
    assert (len(decisions(study)), len(after)) == (1, len(before) + 1), "a decision and its promotion come together"

    state = retrain(study)

    assert state.is_completed(), state.message
    assert (len(decisions(study)), champions(study)) == (1, after)
    assert study.db.value("select count(*) from cxr.model_versions where training_key is not null") == 1
    ends = study.db.rows("select state from cxr.retrainings order by started_at")
    assert ends == [("crashed",)] * len(MOMENTS) + [("completed",)] * 2
    leave_no_pixels(study)


def test_a_retraining_that_is_told_to_stop_says_so(study: Site) -> None:
    process = study.start("retrain", *TYPED)
    study.until(MOMENTS["while it trains"], process)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    ((state, message),) = study.db.rows("select state, message from cxr.retrainings")
    assert state == "failed"
    assert "a signal stopped it" in message
