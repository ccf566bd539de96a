"""What the commands about nights promise to the person who types them, and to the one who holds a night back."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.support.site import Site

GOOD, BAD = 24, 16


def hold_a_night(site: Site, phantoms: Path) -> State[Any]:
    """A night with two bad images in five: more than the three in ten that are let through."""
    site.upload(phantoms)
    for number in range(BAD):
        site.store.write(f"incoming/bad/{number}.png", f"no image {number}".encode())
    return site.night()


def test_a_night_with_too_many_bad_images_is_held_and_shown_to_no_analyst_until_released(
    site: Site, phantoms: Path, flow_run_state: Callable[[str], State[Any]]
) -> None:
    state = hold_a_night(site, phantoms)
    (held,) = site.runs()
    assert (state.is_failed(), state.name) == (True, "Held")
    assert (held["state"], held["published_at"]) == ("held", None)
    seen = flow_run_state(held["run_id"])
    assert (seen.name, seen.message) == ("Held", held["message"])
    assert "held, nothing published: 16 of 40 images (40%) were quarantined or failed" in held["message"]
    assert site.states() == {"scored": GOOD, "quarantined": BAD}
    assert site.predictions() == {}
    for view in ("prediction_history", "class_probabilities"):
        assert site.db.rows(f"select * from analysis.{view}", user="test_analyst") == []

    # The next night is judged by its own images and does not publish the held ones.
    site.store.write("incoming/next.png", (next(phantoms.glob("NORMAL/*"))).read_bytes() + b"the next night")
    state = site.night()
    assert state.is_completed(), state.message
    assert "scored 1 of 1" in str(state.message)
    assert list(site.predictions()) == ["incoming/next.png"]
    assert site.runs()[0]["state"] == "held"

    # A person has looked.
    answer = site.cxr("release", held["run_id"], "--reason", "scanner 3 sent test images")
    assert answer.exit_code == 0, answer.output
    assert f"run {held['run_id']} released: {GOOD} predictions are visible now" in answer.output
    assert len(site.predictions()) == GOOD + 1
    released = site.runs()[0]
    assert (released["state"], released["release_reason"]) == ("completed", "scanner 3 sent test images")
    site.reconcile()


def test_replay_scores_quarantined_images_after_a_relaxed_limit(site: Site, phantoms: Path) -> None:
    site.upload(phantoms)
    site.environment |= {"CXR_MAX_PIXELS": str(100 * 100), "CXR_MAX_BAD_SHARE_RUN": "1", "CXR_MAX_BAD_SHARE_SHARD": "1"}
    assert site.night().is_completed()
    assert site.db.rows("select distinct state, failed_expectations from cxr.images") == [("quarantined", ["size"])]

    del site.environment["CXR_MAX_PIXELS"]
    nothing = site.cxr("replay", "--reason", "contrast")
    assert nothing.exit_code == 1
    assert str(nothing.exception) == f"no quarantined or failed image has this reason; there are: size ({GOOD})"
    answer = site.cxr("replay", "--reason", "size")
    assert answer.exit_code == 0, answer.output
    assert f"{GOOD} images queued again" in answer.output
    assert f"Completed: scored {GOOD} of {GOOD}" in answer.output
    assert len(site.predictions()) == GOOD
    site.reconcile()


def test_replay_scores_one_object_and_leaves_the_others(site: Site, phantoms: Path) -> None:
    site.upload(phantoms / "NORMAL")
    site.environment |= {"CXR_MAX_PIXELS": str(100 * 100), "CXR_MAX_BAD_SHARE_RUN": "1", "CXR_MAX_BAD_SHARE_SHARD": "1"}
    assert site.night().is_completed()
    del site.environment["CXR_MAX_PIXELS"]
    key = site.keys("incoming/")[0]
    answer = site.cxr("replay", "--key", key, "--only", "quarantined")
    assert "1 image queued again" in answer.output
    assert list(site.predictions()) == [key]
    assert site.states()["quarantined"] == len(site.keys("incoming/")) - 1


def test_replay_asks_what_is_meant_before_it_replays_everything(idle: Site) -> None:
    answer = idle.cxr("replay")
    assert answer.exit_code == 2
    assert "--yes" in answer.output


@pytest.mark.parametrize("command", [("replay", "--run"), ("report",), ("release", "--reason", "seen")])
def test_a_run_that_is_not_there_is_said_to_be_so(idle: Site, command: tuple[str, ...]) -> None:
    run_id = "00000000-0000-0000-0000-000000000001"
    answer = idle.cxr(*command, run_id)
    assert answer.exit_code == 1
    assert str(answer.exception) == f"there is no run {run_id}; `cxr status` lists them"


def test_a_night_to_come_is_not_scored(idle: Site) -> None:
    answer = idle.cxr("score", "--date", "2999-01-01")
    assert answer.exit_code == 2
    assert "2999-01-01 is in the future" in answer.output
    assert idle.runs() == []


@pytest.mark.parametrize("nights", ["0", "-4"])
def test_status_shows_one_night_or_more(idle: Site, nights: str) -> None:
    answer = idle.cxr("status", "--nights", nights)
    assert answer.exit_code == 2
    assert "--nights" in answer.output


def test_status_tells_a_run_at_work_from_one_that_was_killed(site: Site, phantoms: Path) -> None:
    site.upload(phantoms)
    site.environment["CXR_SHARD_SIZE"] = "2"
    process = site.start("score")
    site.until("exists (select from cxr.predictions)", process)
    assert "\n    at work\n" in site.cxr("status").output
    site.kill(process)
    deadline = time.monotonic() + 10  # Postgres takes a moment to see that the connection is closed
    while "\n    its process is gone; cxr score takes it up\n" not in site.cxr("status").output:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_status_tells_what_happened_and_what_waits(site: Site, phantoms: Path) -> None:
    before = site.cxr("status")
    assert "none yet: cxr score" in before.output
    hold_a_night(site, phantoms)
    (held,) = site.runs()
    answer = site.cxr("status")
    assert answer.exit_code == 0, answer.output
    assert "Champion: test-" in answer.output
    assert "trained on made data" in answer.output
    assert f"held  started {held['started_at'][:10]}" in answer.output
    assert f"run {held['run_id']}\n    {held['message']}" in answer.output
    assert f"{BAD} quarantined: format" in answer.output


def test_score_on_the_command_line_ends_with_the_verdict_and_its_exit_code(site: Site, phantoms: Path) -> None:
    site.upload(phantoms / "NORMAL", "incoming/2026/05/06/")
    site.upload(phantoms / "COVID-19", "incoming/2026/05/01/")  # before the look-back
    answer = site.cxr("score", "--date", "2026-05-07", "--prefix", "incoming/%Y/%m/%d/")
    assert answer.exit_code == 0, answer.output
    count = len(site.keys("incoming/2026/05/06/"))
    assert f"Completed: scored {count} of {count}" in answer.output
    assert all(key.startswith("incoming/2026/05/06/") for key in site.predictions())
    assert site.runs()[0]["night"] == "2026-05-07"


def test_a_foreseen_error_is_told_in_words_without_a_traceback(site: Site) -> None:
    site.environment["CXR_DATABASE_URL"] = site.db.url().replace(site.db.name, "no_such_database")
    process = site.start("status")
    output = site.finish(process)
    assert process.returncode == 1
    assert output.startswith("cxr: ")
    assert "Traceback" not in output


@pytest.mark.parametrize("command", ["score", "status", "replay", "release", "report"])
def test_help_teaches_each_command(idle: Site, command: str) -> None:
    answer = idle.cxr(command, "--help")
    assert answer.exit_code == 0
    words = re.sub(r"\W+", " ", answer.output)
    assert f"Usage cxr {command}" in words or f"{command} OPTIONS" in words
    assert len(words) > 200
