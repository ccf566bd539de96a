"""What `cxr champion` promises to the person who changes who scores. Needs no Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from flows.commands.champion import app
from tasks.registry import model_versions, promotion
from tasks.registry.promotion import PromotionError, Ruling
from tasks.retraining import record
from tests.support.nights import MODEL, Nights

if TYPE_CHECKING:
    from click.testing import Result

    from infra.settings import Settings

KEPT = Ruling(
    sentence="model-1 stays: model-2 loses COVID-19 sensitivity.", champion_version=MODEL, challengers=("model-2",),
    winner=None, gate={}, evidence={}, data_fingerprint="d", test_fingerprint="t", test_images=9, test_patients=9,
)  # fmt: skip


def cxr(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def models(settings: Settings, nights: Nights) -> Nights:
    """Three model versions, one of them of made data, and a champion."""
    assert settings.database
    for name in ("model-2", "model-3"):
        nights.register(name)
    nights.db.rows("update cxr.model_versions set made_data = true where model_version = 'model-3'")
    promotion.promote(nights.pool, MODEL, "the first one")
    return nights


def test_history_tells_who_is_champion_since_when_and_why(models: Nights) -> None:
    assert promotion.promote(models.pool, "model-2", "it reads the new detector") == MODEL
    assert cxr("shadow", "model-3", "--reason", "curious", "--by", "Dr Ito").exit_code == 0
    answer = cxr("history")
    assert answer.exit_code == 0, answer.output
    newest, why, first, _, _, trial = answer.output.splitlines()
    assert newest.endswith("  model-2  champion now")
    assert why == "    manual after model-1, by test_writer: it reads the new detector"
    assert first.endswith(f"  {MODEL}")
    assert trial.startswith("Shadow: model-3 has scored alongside the champion since 20")
    assert trial.endswith(", set by test_writer (Dr Ito): curious")


def test_who_changes_the_champion_is_named_by_login_or_by_name_beside_the_database_user(
    models: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ito")
    assert cxr("promote", "model-2", "--reason", "the March review").exit_code == 0
    assert cxr("rollback", "--reason", "it misses effusions", "--by", "Dr Ito").exit_code == 0
    assert cxr("promote", "model-2", "--reason", "the April review", "--by", " ").exit_code == 0
    by = models.db.rows("select promoted_by from cxr.promotions order by promotion_id")
    assert by == [("test_writer",), ("test_writer (ito)",), ("test_writer (Dr Ito)",), ("test_writer",)]


def test_before_the_first_champion_history_says_how_to_get_one(settings: Settings, nights: Nights) -> None:
    assert settings.database
    assert nights.pool
    assert "cxr retrain" in cxr("history").output


def test_a_promotion_by_hand_warns_and_obeys(models: Nights) -> None:
    answer = cxr("promote", "model-2", "--reason", "the March review")
    assert answer.exit_code == 0, answer.output
    assert f"WARNING: the gate has never compared model-2 with the current champion, {MODEL}" in answer.output
    assert "model-2 is champion instead of model-1; the next night scores with it" in answer.output
    assert "cxr champion rollback --reason" in answer.output
    assert model_versions.champion(models.pool).model_version == "model-2"
    assert "trained on made data: its predictions for radiographs" in cxr("promote", "model-3", "--reason", "x").output


def test_a_promotion_against_the_gates_decision_shows_its_sentence(models: Nights) -> None:
    one = uuid4()
    record.start(models.pool, one, None, "b", "schedule", dry_run=False, code_version="1")
    promotion.record(models.pool, one, KEPT, outcome="kept")
    answer = cxr("promote", "model-2", "--reason", "I know better")
    assert answer.exit_code == 0
    assert f": {KEPT.sentence}\n" in answer.output
    assert "WARNING: the gate decided against it on 20" in answer.output


def test_a_rollback_says_from_whom_to_whom_and_a_second_one_what_to_do(models: Nights) -> None:
    promotion.promote(models.pool, "model-2", "better")
    answer = cxr("rollback", "--reason", "it misses effusions")
    assert answer.output == f"{MODEL} is champion again, instead of model-2; the next night scores with it\n"
    again = cxr("rollback", "--reason", "further")
    assert again.exit_code == 1
    assert isinstance(again.exception, PromotionError)  # which `main` prints in one line
    assert "cxr champion promote VERSION" in str(again.exception)


def test_no_change_is_made_without_a_reason(models: Nights) -> None:
    for command in (["promote", "model-2"], ["rollback"], ["shadow", "model-2"], ["shadow", "--off"]):
        assert cxr(*command).exit_code == 2
        assert cxr(*command, "--reason", " ").exit_code == 1
    assert model_versions.champion(models.pool).model_version == MODEL
    assert models.db.value("select count(*) from cxr.shadows") == 0


def test_a_shadow_is_put_on_trial_and_taken_off_again(models: Nights) -> None:
    answer = cxr("shadow", "model-2", "--reason", "two weeks")
    assert answer.output == (
        "model-2 scores alongside the champion from the next night on: see analysis.shadow_summary\n"
    )
    assert (
        "model-2 no longer scores alongside the champion" in cxr("shadow", "--off", "--reason", "they are over").output
    )
    assert model_versions.shadow(models.pool) is None
    for wrong in ([], ["model-2", "--off"]):
        assert "give a model version, or --off" in cxr("shadow", *wrong, "--reason", "x").output
