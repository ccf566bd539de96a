"""What a tournament promises: recipes ranked on the same images, none lost to another's failure, the test set kept."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prefect.states import Completed

from infra.storage import StorageError
from models.recipes import catalogue
from tasks.tournament import baselines, entries, fold_training
from tests.support.recipes import OTHER, RECIPE, known
from tests.support.studies import decisions

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.support.site import Site


def compete(site: Site, **parameters: Any) -> State[Any]:
    from flows.tournament import tournament

    with site.surroundings():
        return tournament(return_state=True, **{"recipes": [RECIPE], "epochs": 1} | parameters)


def test_a_killed_tournament_goes_on_and_what_was_trained_is_not_trained_again(
    study: Site, labelled: Path, tmp_path: Path
) -> None:
    study.environment["CXR_HOME"] = str(tmp_path / "home")
    typed = ("tournament", str(labelled), "--recipe", RECIPE, "--recipe", OTHER, "--epochs", "1")
    answers = tmp_path / "home" / "cache" / entries.FOLDER / fold_training.ANSWERS_FOLDER
    page = tmp_path / "page.html"
    process = study.start(*typed, "--save", str(page))
    while not list(answers.glob("*.npz")):
        assert process.poll() is None, study.output(process)
        time.sleep(0.05)
    study.kill(process)
    (first,) = answers.glob("*.npz")
    written = first.stat().st_mtime_ns
    interrupted = study.start(*typed)
    time.sleep(2)
    interrupted.send_signal(signal.SIGINT)
    assert "finished trainings are kept, and the same command continues from there" in study.finish(interrupted)
    output = study.finish(study.start(*typed, "--save", str(page)))
    assert "Completed: " in output, output
    assert first.stat().st_mtime_ns == written
    assert len(list(answers.glob("*.npz"))) == 2
    assert f"| {RECIPE} |" in output
    assert f"| {OTHER} |" in output
    assert "| *sees only the file's size and format* |" in output
    assert "secret-patient" not in output + page.read_text()
    left = [path for path in answers.parent.iterdir() if path != answers and path.name != ".lock"]
    assert left == [], "neither pixels nor weights stay"


@pytest.mark.usefixtures("workers_inside")
def test_one_that_fails_does_not_cost_the_others_and_the_winner_must_pass_the_gate(
    study: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = replace(catalogue.RECIPES[RECIPE], name="steep", learning_rate=1e30)
    monkeypatch.setitem(catalogue.RECIPES, "steep", steep)
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
    assert "give no folders" in str(compete(study, folders=[str(labelled)], hand_over=True).message)
    assert "carson-final" in str(compete(study, recipes=["resnet-9000"]).message)
    assert "sub-folder per class" in str(compete(study, folders=[str(tmp_path)]).message)
    assert "50 folds by patient need" in str(compete(study, folders=[str(labelled)], folds=50).message)
    for folds in (1, -2):
        assert "at least 2, or for 0" in str(compete(study, folders=[str(labelled)], folds=folds).message)
    unwritable = compete(study, folders=[str(labelled)], save=str(tmp_path / "no" / "page.html"))
    assert "create it first" in str(unwritable.message)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sets on which a recipe was trained: in no time, and with answers that are right."""
    known(monkeypatch)
    sets: list[str] = []

    def train(_: Path, of: entries.Entries, recipe: Any, __: int, split: Any, *___: Any) -> fold_training.FoldResult:
        sets.append(of.name)
        if of.name.startswith("poor"):
            raise fold_training.TournamentError("diverged: its loss is no number")
        rows = np.flatnonzero(split == "test")
        right = np.eye(len(of.classes), dtype=np.float32)[of.labels[rows]]
        return fold_training.FoldResult(recipe.name, rows, right, 1_000, 60.0, 25.0, 1, "tensorflow", ())

    monkeypatch.setattr(fold_training, "train_fold", train)
    return sets


def copies(labelled: Path, tmp_path: Path) -> dict[str, Path]:
    """Two folders of one name with the same images, and a third with hardly any."""
    found = {name: tmp_path / name / "ward" for name in ("good", "poor", "small")}
    for name, folder in found.items():
        folder.mkdir(parents=True)
        lines = (labelled / "labels.csv").read_text().splitlines()
        (folder / "labels.csv").write_text("\n".join(lines[: 13 if name == "small" else None]))
        for one in labelled.iterdir():
            if one.is_dir():
                (folder / one.name).mkdir()
                for image in one.iterdir():
                    (folder / one.name / image.name).hardlink_to(image)
    return found


def test_what_fails_beside_the_table_does_not_cost_it(
    site: Site, labelled: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from flows import tournament

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret-patient")

    monkeypatch.setattr(baselines, "baselines", fail)
    monkeypatch.setattr(tournament, "create_markdown_artifact", fail)
    of, page = copies(labelled, tmp_path), tmp_path / "page.html"
    state = compete(site, folders=[str(of["poor"]), str(of["good"])], save=str(page))
    assert state.is_completed(), state.message
    assert asked == ["poor/ward", "good/ward"]
    for words in (
        "good/ward has no simple models to compare the recipes with (RuntimeError)",
        "poor/ward: no recipe gave answers",
        "the table could not be shown in the Prefect UI (RuntimeError)", f"Report: {page}",
    ):  # fmt: skip
        assert words in str(state.message)
    assert "secret-patient" not in str(state.message)
    assert "<h2>good/ward</h2>" in page.read_text()

    def away(*_: object) -> None:
        raise StorageError("the bucket cannot be reached")

    monkeypatch.setattr(tournament, "publish", away)
    capsys.readouterr()
    state = compete(site, folders=[str(of["good"])])
    assert state.is_failed()
    assert "could not be written (the bucket cannot be reached)" in str(state.message)
    assert f"| {RECIPE} | 1.000" in capsys.readouterr().out


def test_a_set_with_too_few_patients_is_told_before_anything_is_trained(
    site: Site, labelled: Path, tmp_path: Path, asked: list[str]
) -> None:
    of = copies(labelled, tmp_path)
    state = compete(site, folders=[str(of["good"]), str(of["small"])])
    assert "small/ward has a class with images of 2 patients only" in str(state.message)
    assert asked == []


def test_sets_are_told_apart_by_as_much_of_their_place_as_it_takes(tmp_path: Path) -> None:
    from flows.tournament import named

    places = [tmp_path / one for one in ("a/x/ward", "b/x/ward", "a/x/ward")]
    assert list(named(places).values()) == ["a/x/ward", "b/x/ward"]
    assert list(named([tmp_path / "a" / "ward-3", tmp_path / "ward-7"]).values()) == ["ward-3", "ward-7"]


def test_the_winner_is_trained_no_longer_for_the_gate_than_its_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import retraining, tournament

    given: list[Any] = []

    def retrain(**parameters: Any) -> Any:
        given.append(parameters["epochs"])
        return Completed(message="promoted")

    known(monkeypatch)
    monkeypatch.setattr(retraining, "retrain_and_compare", retrain)
    for epochs in (100, 2, None):
        assert tournament.challenge(RECIPE, epochs, 0, "it won").is_completed()
    assert given == [catalogue.RECIPES[RECIPE].epochs, 2, None]
