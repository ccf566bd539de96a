"""Replay: the explanation for a selection that matches nothing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tasks.nights.overview import NoSuchRunError
from tasks.nights.replay import NothingToReplayError, explain_nothing, requeue
from tests.support.nights import Nights, failed, quarantined, scored

ASKED: dict[str, Any] = {"states": ("quarantined", "failed"), "reason": None, "run_id": None, "key": None}
GONE = "the object was deleted after it had been listed"


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"key": "X/DOE.png"}, "no image of this bucket has this key"),
        ({"key": "fine"}, "no quarantined or failed image is in this selection"),
        (
            {"reason": "contrst"},
            f"no quarantined or failed image has this reason; there are: contrast (2), grey (1), {GONE} (1)",
        ),
        ({"reason": "contrast", "states": ("failed",)}, f"no failed image has this reason; there are: {GONE} (1)"),
        ({"reason": "grey", "key": "low"}, "no quarantined or failed image is in this selection"),
    ],
)
def test_a_selection_that_matches_nothing_is_explained_without_a_key(
    nights: Nights, choice: dict[str, Any], said: str
) -> None:
    low, both, gone, fine = nights.listed("low", "both", "gone", "fine")
    nights.night(quarantined(low), quarantined(both, "contrast", "grey"), failed(gone), scored(fine, "x"))
    assert requeue(nights.pool, "b", **ASKED | choice) == 0
    with pytest.raises(NothingToReplayError) as refusal:
        explain_nothing(nights.pool, "b", **ASKED | choice)
    assert str(refusal.value).startswith(said)
    assert "DOE" not in str(refusal.value)


def test_replay_says_that_nothing_is_quarantined_or_failed(nights: Nights) -> None:
    nights.night(scored(nights.listed("fine")[0], "x"))
    with pytest.raises(NothingToReplayError, match="no image of this bucket is quarantined or failed"):
        explain_nothing(nights.pool, "b", **ASKED | {"reason": "contrast"})


def test_a_missing_run_is_reported_first(nights: Nights) -> None:
    run_id = uuid4()
    with pytest.raises(NoSuchRunError, match=f"there is no run {run_id}"):
        explain_nothing(nights.pool, "b", **ASKED | {"run_id": run_id, "key": "nothing"})
