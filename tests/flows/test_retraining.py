"""What a retraining promises: a decision on a frozen test set, a better model promoted, and no other."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from infra import database
from models.recipes import catalogue
from tasks.registry import promotion
from tests.support.recipes import EPOCHS, RECIPE
from tests.support.studies import (  # fmt: skip
    cache,
    champions,
    decisions,
    leave_no_pixels,
    prepared,
    retrain,
    rules,
    working_inside,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.support.databases import Database
    from tests.support.site import Site


@pytest.fixture(scope="module")
def promoted(
    new_site: Callable[..., Site], module_db: Database, labelled: Path, shared: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Site, State[Any]]]:  # fmt: skip
    """A retraining in which one challenger failed and the other beat the champion, for tests that only look at it."""
    site = prepared(new_site(module_db), labelled, tmp_path_factory.mktemp("rules"))
    with working_inside(shared), pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.RECIPES, "steep", replace(catalogue.RECIPES[RECIPE], name="steep", learning_rate=1e30))
        yield site, retrain(site, recipes=["steep", RECIPE])
    site.end_all()


def test_a_better_challenger_is_promoted_with_all_that_the_decision_rests_on(
    promoted: tuple[Site, State[Any]],
) -> None:
    site, state = promoted
    assert state.is_completed(), state.message
    decision, *_ = decisions(site)
    before, now = champions(site)
    assert state.message == decision["sentence"]
    assert decision["sentence"].startswith(f"Promoted {now}: balanced accuracy ")
    assert (decision["outcome"], decision["champion_version"], decision["winner"]) == ("promoted", before, now)
    assert decision["challengers"] == [now]
    assert decision["gate"]["primary"] == "balanced_accuracy"
    assert set(decision["evidence"]["figures"]) == {before, now}
    assert set(decision["evidence"]["baselines"]) == {"the image's border", "the file's size and format"}
    ((kind, reason, decided),) = site.db.rows(
        "select kind, reason, decision_id from cxr.promotions order by promotion_id desc limit 1"
    )
    assert (kind, reason, decided) == ("gate", decision["sentence"], decision["decision_id"])
    assert decision["test_images"] == site.db.value("select count(*) from cxr.splits where split = 'test'")
    leave_no_pixels(site)


def test_a_challenger_that_fails_is_reported_and_does_not_stop_the_others(promoted: tuple[Site, State[Any]]) -> None:
    decision, *_ = decisions(promoted[0])
    assert list(decision["failures"]) == ["steep"]
    assert decision["failures"]["steep"].startswith("diverged: ")
    assert len(decision["challengers"]) == 1


def test_the_report_and_a_card_of_each_model_lie_in_the_bucket(promoted: tuple[Site, State[Any]]) -> None:
    site, state = promoted
    (key,) = site.db.rows("select report_key from cxr.retrainings")[0]
    page = site.store.read(key).decode()
    assert str(state.message).rpartition(", a gain of ")[2] in page
    assert "secret-patient" not in page
    for name in champions(site):
        assert "not for diagnosis" in site.store.read(f"reports/models/{name}/card.html").decode().lower()
    shown = site.cxr("report", "--retraining", "--save", str(site.folder / "comparison.html"))
    assert shown.exit_code == 0, shown.output
    assert (site.folder / "comparison.html").read_text() == page
    assert site.cxr("card", "--save", str(site.folder / "card.html")).exit_code == 0


def test_no_patient_and_no_key_is_in_the_log_or_the_artifacts_of_a_retraining(
    promoted: tuple[Site, State[Any]],
) -> None:
    site, _ = promoted
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
        LogFilter,
        LogFilterFlowRunId,
    )  # fmt: skip

    (run_id,) = site.db.rows("select flow_run_id from cxr.retrainings")[0]
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])), limit=200)
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        )
    told = "\n".join([*(one.message for one in logs), *(str(one.data) + str(one.description) for one in artifacts)])
    assert "epoch 1 of" in told
    assert any(one.key == "retraining-decision" for one in artifacts)
    identifiers = site.db.rows("select patient_id from cxr.labels union select object_key from cxr.labelled_objects")
    assert not [one for (one,) in identifiers if one in told]


def test_the_same_again_is_not_decided_twice_and_a_champion_is_not_compared_with_itself(
    promoted: tuple[Site, State[Any]],
) -> None:
    site, _ = promoted
    before = champions(site)
    again = retrain(site)
    assert (again.name, champions(site), len(decisions(site))) == ("Skipped", before, 1)
    assert "it is not compared with itself" in str(again.message)


@pytest.mark.usefixtures("workers_inside")
def test_another_recipe_is_tried_on_the_same_images_though_one_of_them_gave_the_champion(
    promoted: tuple[Site, State[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = promoted
    withdrawn = cache(site) / "arrays" / ("0" * 16) / "00" / f"{'0' * 64}.npz"
    withdrawn.parent.mkdir(parents=True, exist_ok=True)
    withdrawn.write_bytes(b"pixels of a patient who has withdrawn")
    monkeypatch.setitem(
        catalogue.RECIPES, "other", replace(catalogue.RECIPES[RECIPE], name="other", learning_rate=1e-3)
    )
    rules(site, tmp_path, minimum_gain=0.999)
    before = champions(site)
    state = retrain(site, recipes=[RECIPE, "other"], epochs=EPOCHS)
    assert f"{before[-1]} stays: " in str(state.message)
    (challenger,) = decisions(site)[-1]["challengers"]
    assert challenger.startswith("other-")
    assert not withdrawn.exists()
    withdrawn.write_bytes(b"the same again")
    again = retrain(site, recipes=[RECIPE, "other"], epochs=EPOCHS)
    assert str(again.message).startswith("nothing new to decide: ")
    assert champions(site) == before
    assert not withdrawn.exists(), "also where there is nothing to decide"


@pytest.mark.usefixtures("warm_workers")
def test_the_next_night_scores_with_the_promoted_model(promoted: tuple[Site, State[Any]], phantoms: Path) -> None:
    site, _ = promoted
    site.upload(phantoms)
    assert site.night().is_completed()
    assert site.db.rows("select distinct model_version from cxr.predictions") == [(champions(site)[-1],)]


@pytest.mark.usefixtures("workers_inside")
def test_rules_are_asked_anew_when_they_change_and_the_training_is_not_repeated(
    study: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champions(study)
    rules(study, tmp_path, minimum_gain=0.999)
    kept = retrain(study)
    assert f"{before[0]} stays: " in str(kept.message)
    assert champions(study) == before

    from flows import approval

    monkeypatch.setattr(approval, "POLL_S", 0.2)
    rules(study, tmp_path, too_good_gain=0.01)
    waiting = threading.Thread(target=approve, args=(study,))
    waiting.start()
    promoted = retrain(study)
    waiting.join()
    assert promoted.is_completed(), promoted.message
    *_, decision = decisions(study)
    assert (decision["outcome"], decision["approved_by"]) == ("promoted", "Dr. A")
    assert decision["sentence"].startswith("A person must look before ")
    assert decision["sentence"].endswith(" Approved by Dr. A: looked at the mistakes.")
    assert [one["outcome"] for one in decisions(study)] == ["kept", "promoted"]
    assert study.db.value("select count(*) from cxr.model_versions where training_key is not null") == 1

    pool = database.engine(study.db.url())
    promotion.rollback(pool, "it misses effusions")
    pool.dispose()
    correct_a_test_label(study, tmp_path)
    rules(study, tmp_path, version=3)
    study.environment["CXR_APPROVAL_HOURS"] = "0.0003"
    undone = retrain(study)  # by these rules it would be promoted, had nobody taken it back; and nobody answers
    assert str(undone.message).startswith("Not promoted, though it passed the gate: ")
    assert champions(study)[-1] == before[0]
    assert study.db.value("select count(*) from cxr.model_versions where training_key is not null") == 1, (
        "a test label teaches nothing: it is the same model, which a person took back"
    )


def correct_a_test_label(site: Site, folder: Path) -> None:
    content, patient = site.db.rows(
        "select content_sha256, l.patient_id from cxr.current_labels l join cxr.splits using (content_sha256) "
        "where split = 'test' and class = 'PNEUMONIA' limit 1"
    )[0]
    (folder / "corrections.csv").write_text(f"sha256,label,patient_id\n{content},NORMAL,{patient}\n")
    answer = site.cxr("labels", "import", str(folder / "corrections.csv"), "--source", "adjudication")
    assert answer.exit_code == 0, answer.output


def approve(site: Site) -> None:
    """Resume the retraining that waits, as a person does in the Prefect UI."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + 120
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            for (run_id,) in site.db.rows("select flow_run_id from cxr.retrainings where state = 'running'"):
                state = client.read_flow_run(run_id).state
                if state and state.is_paused():
                    answer = {"approve": True, "name": "Dr. A", "reason": "looked at the mistakes."}
                    client.resume_flow_run(run_id, run_input=answer)
                    return
            time.sleep(0.2)


@pytest.mark.usefixtures("workers_inside")
def test_without_a_champion_the_floors_decide_and_a_dry_run_changes_nothing(study: Site) -> None:
    study.db.rows("truncate cxr.promotions")
    tried = retrain(study, dry_run=True)
    assert str(tried.message).startswith("Dry run: it would promote ")
    assert champions(study) == []
    taken = retrain(study)
    assert str(taken.message).endswith("there was no champion yet.")
    assert study.db.rows("select kind from cxr.promotions") == [("bootstrap",)]


def test_a_corrupted_champion_is_refused_before_anything_is_compared(study: Site) -> None:
    (key,) = study.db.rows("select artifact_key from cxr.champion")[0]
    study.store.write(f"{key}/model.keras", b"something else")
    shutil.rmtree(cache(study) / "artifacts", ignore_errors=True)
    before = champions(study)
    state = retrain(study, epochs=1)
    assert state.is_failed()
    assert "sha256" in str(state.message)
    assert (champions(study), decisions(study)) == (before, [])


def test_without_labels_nothing_is_trained_and_it_is_said(site: Site) -> None:
    state = retrain(site)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "import more labels: cxr labels import" in str(state.message)


def test_an_unknown_recipe_is_said_in_words_with_the_known_ones(site: Site) -> None:
    state = retrain(site, recipes=["resnet-9000"])
    assert state.is_failed()
    assert "no recipe is called 'resnet-9000' (see CXR_RECIPES); known: carson-final" in str(state.message)
    assert site.db.value("select state from cxr.retrainings") == "failed"
