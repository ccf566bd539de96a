"""What a tournament promises: recipes ranked on the same images, none lost to another's failure, the test set kept."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from studies import RECIPE, decisions

from models import recipes
from tasks import contest, entries

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Site
    from prefect.client.schemas.objects import State


def compete(site: Site, **parameters: Any) -> State[Any]:
    from flows.tournament import tournament

    with site.surroundings():
        return tournament(return_state=True, **{"recipes": [RECIPE], "epochs": 1} | parameters)


def test_a_killed_tournament_goes_on_and_what_was_trained_is_not_trained_again(
    study: Site, labelled: Path, tmp_path: Path
) -> None:
    study.environment["CXR_HOME"] = str(tmp_path / "home")
    typed = ("tournament", str(labelled), "--recipe", RECIPE, "--recipe", "compact-cnn", "--epochs", "1")
    answers = tmp_path / "home" / "cache" / entries.FOLDER / contest.ANSWERS
    page = tmp_path / "page.html"
    process = study.start(*typed, "--save", str(page))
    while not list(answers.glob("*.npz")):
        assert process.poll() is None, study.output(process)
        time.sleep(0.05)
    study.kill(process)
    (first,) = answers.glob("*.npz")
    written = first.stat().st_mtime_ns
    output = study.finish(study.start(*typed, "--save", str(page)))
    assert "Completed: " in output, output
    assert first.stat().st_mtime_ns == written
    assert len(list(answers.glob("*.npz"))) == 2
    assert f"| {RECIPE} |" in output
    assert "| compact-cnn |" in output
    assert "| *sees only the file's size and format* |" in output
    assert "secret-patient" not in output + page.read_text()
    left = [path for path in answers.parent.iterdir() if path != answers and path.name != ".lock"]
    assert left == [], "neither pixels nor weights stay"


@pytest.mark.usefixtures("workers_inside")
def test_one_that_fails_does_not_cost_the_others_and_the_winner_must_pass_the_gate(
    study: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = replace(recipes.RECIPES[RECIPE], name="steep", learning_rate=1e30)
    monkeypatch.setitem(recipes.RECIPES, "steep", steep)
    seen: list[set[str]] = []
    from flows import tournament

    enter = tournament.enter

    def watch(*given: Any) -> Any:
        found = enter(*given)
        seen.append(set(found.contents))
        return found

    monkeypatch.setattr(tournament, "enter", watch)
    state = compete(study, recipes=["steep", RECIPE], hand_over=True)
    assert state.is_completed(), state.message
    assert str(state.message).startswith(f"{RECIPE} is first: accuracy ")
    tested = {content for (content,) in study.db.rows("select content_sha256 from cxr.splits where split = 'test'")}
    assert tested
    assert not seen[0] & tested, "the frozen test set is left for the gate"
    (decision,) = decisions(study)
    assert decision["sentence"] in str(state.message)
    pages = [one.key for page in study.store.list("reports/") for one in page if one.key.endswith("tournament.html")]
    assert len(pages) == 1
    assert "steep</strong> gave no answers: diverged" in study.store.read(pages[0]).decode()


def test_a_tournament_that_cannot_be_held_says_why(study: Site, labelled: Path, tmp_path: Path) -> None:
    assert "name no folders" in str(compete(study, folders=[str(labelled)], hand_over=True).message)
    assert "carson-final" in str(compete(study, recipes=["resnet-9000"]).message)
    assert "sub-folder for each class" in str(compete(study, folders=[str(tmp_path)]).message)
    assert "ask for fewer folds" in str(compete(study, folders=[str(labelled)], folds=50).message)
