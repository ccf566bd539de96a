"""Jobs of a worker process and their outcomes: read back as they were written, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.recipe import Recipe, Stage
from models.training.job import JOB, OUTCOME, ROWS, AnsweringJob, JobError, TrainingJob, WorkerOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = Recipe(
    name="small", architecture="vgg16", preprocessing=PreprocessingSpec(height=32, width=32), weights="imagenet",
    stages=(Stage(0, 0.0, 0.1),), views=("PA",),
)  # fmt: skip
TRAINING = TrainingJob(
    recipe=RECIPE, classes=("A", "B"), labels=(0, 1, 1), splits=("train", "test", "validation"), contents="c" * 64,
    seed=3, epochs=None, budget_s=60.0, data_fingerprint="f" * 64, code_version="1.0", made_data=True,
    pretrained_dir=Path("/weights"),
)  # fmt: skip
ANSWERING = AnsweringJob(artifact=Path("/artifact"), sha256="a" * 64, explain=((3, None), (3, 1)), batch_size=4)


def test_jobs_and_outcomes_read_back_what_they_wrote(tmp_path: Path) -> None:
    TRAINING.write(tmp_path)
    assert TrainingJob.read(tmp_path) == TRAINING
    ANSWERING.write(tmp_path)
    assert AnsweringJob.read(tmp_path) == ANSWERING
    outcome = WorkerOutcome("trained", "3 epochs", "small-1", "a" * 64, ("the checkpoint could not be used",))
    outcome.write(tmp_path)
    assert WorkerOutcome.read(tmp_path) == outcome


@pytest.mark.parametrize("job", [TRAINING, ANSWERING])
def test_a_job_with_an_unknown_or_a_missing_key_is_refused(tmp_path: Path, job: TrainingJob | AnsweringJob) -> None:
    job.write(tmp_path)
    values = json.loads((tmp_path / JOB).read_text())
    without = {name: {key: value for key, value in values.items() if key != name} for name in values}
    for name, wrong in {"sead": values | {"sead": 1}, **without}.items():
        (tmp_path / JOB).write_text(json.dumps(wrong))
        with pytest.raises(JobError, match=rf"differ from this code's in \['{name}'\]"):
            type(job).read(tmp_path)


@pytest.mark.parametrize("name", [JOB, ROWS])
@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"{")]
)
def test_a_job_that_is_missing_or_damaged_is_refused(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    TRAINING.write(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(JobError):
        TrainingJob.read(tmp_path)


def test_an_outcome_that_is_missing_damaged_or_unknown_is_none(tmp_path: Path) -> None:
    assert WorkerOutcome.read(tmp_path) is None
    for text in (
        "",
        "[]",
        '{"state": "trained"}',
        '{"state": "asleep", "message": ""}',
        '{"state": "failed", "why": ""}',
    ):
        (tmp_path / OUTCOME).write_text(text)
        assert WorkerOutcome.read(tmp_path) is None, text
