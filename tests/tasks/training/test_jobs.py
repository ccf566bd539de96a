"""Training and answering in a worker process: however it ends, the outcome is a message in words."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from models import files
from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.catalogue import RECIPES, Recipe, recipe_named
from models.serving import artifact
from models.training.job import (
    ARTIFACT,
    CHECKPOINTS,
    IMAGES,
    JOB,
    OUTCOME,
    ROWS,
    AnsweringJob,
    TrainingJob,
    WorkerOutcome,
    contents_digest,
)
from tasks.datasets.dataset import Dataset, Item
from tasks.training import arrays, jobs
from tests.support.processes.warm import Process, use

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
SPEC = PreprocessingSpec(height=32, width=32)
SMALL = Recipe(name="small", architecture="compact_cnn", preprocessing=SPEC, epochs=2, batch_size=8)
CLASSES = ("A", "B")
PATIENCE_S = 90


def item(number: int, split: str = "train") -> Item:
    return Item(f"{number:064x}", f"key-{number}", "etag", CLASSES[number % 2], f"p{number}", split, True, 1)


ITEMS = [item(number, ("train", "train", "validation", "test")[number // 2 % 4]) for number in range(24)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with an array for each item: bright or dark."""
    for one in ITEMS:
        pixels = np.full(SPEC.shape, 60 + 120 * CLASSES.index(one.label), np.uint8)
        arrays.put(one.content_sha256, pixels, SPEC, tmp_path)
    return tmp_path


@pytest.fixture
def prepared(cache: Path) -> Callable[..., Path]:
    def prepare(recipe: Recipe = SMALL, items: list[Item] = ITEMS, **options: Any) -> Path:
        folder = jobs.job_folder(cache, jobs.job_key("f" * 64, recipe, options.get("seed", 0), None))
        data = Dataset(tuple(items))
        job = TrainingJob(
            recipe=recipe, classes=CLASSES, labels=data.labels, splits=data.splits,
            contents=contents_digest(data.contents),
            data_fingerprint="f" * 64, code_version="0", made_data=True, pretrained_dir=None,
            **{"seed": 0, "epochs": None, "budget_s": None} | options,
        )  # fmt: skip
        jobs.prepare_training(folder, job, lambda file: arrays.assemble(file, data.contents, SPEC, cache))
        return folder

    return prepare


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_training_in_a_worker_process_leaves_an_artifact_reports_its_epochs_and_answers(
    prepared: Callable[..., Path], cache: Path, warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training begins as in production, with a new Python; what others here see needs no import of TensorFlow."""
    folder = prepared()
    told: list[int] = []
    done = jobs.train_in_worker(folder, lambda epoch, figures: told.append(epoch) if "val_loss" in figures else None)
    assert (done.state, told) == ("trained", [1, 2]), done
    assert done.model_sha256 is not None
    loaded = artifact.load(folder / ARTIFACT, done.model_sha256)
    assert (loaded.metadata.model_version, loaded.metadata.classes) == (done.model_version, CLASSES)
    assert not (folder / IMAGES).exists(), "no patient's pixels are left"

    prepared()
    assert not (folder / IMAGES).exists(), "what is trained already is not prepared again"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")  # no process is started
        assert jobs.train_in_worker(folder, lambda *_: told.append(99)) == done
    assert told == [1, 2]

    test = [one for one in ITEMS if one.split == "test"]
    use(warm, monkeypatch)
    answering = cache / "answering"
    job = AnsweringJob(artifact=folder / ARTIFACT, sha256=done.model_sha256, explain=((1, None),))
    answers = jobs.answer_in_worker(
        answering, job, lambda file: arrays.assemble(file, Dataset(tuple(test)).contents, SPEC, cache)
    )
    expected = jobs.held_out_answers(folder, [place for place, one in enumerate(ITEMS) if one.split == "test"])
    assert np.allclose(answers.probabilities, expected, atol=1e-5)
    assert answers.milliseconds > 0
    assert answers.runtime.startswith("keras-")
    assert answers.heatmaps.shape == (1, 32, 32)
    assert not answering.exists(), "here neither"


@pytest.mark.usefixtures("warm_workers")
def test_a_recipe_that_cannot_be_trained_is_an_outcome_in_words(prepared: Callable[..., Path]) -> None:
    done = jobs.train_in_worker(prepared(replace(SMALL, architecture="alexnet")))
    assert done.state == "failed"
    assert "no architecture is called 'alexnet'" in done.message


def test_a_killed_worker_is_an_outcome_in_words_and_the_next_one_goes_on(
    prepared: Callable[..., Path], warm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(replace(SMALL, epochs=500, patience=500))
    started: list[Process] = []
    use(warm, monkeypatch, started.append)
    done = jobs.train_in_worker(folder, lambda *_: started[0].kill())
    assert done.state == "killed"
    assert "memory" in done.message
    assert list((folder / CHECKPOINTS).glob("epoch-*")), "the next one would go on from here"


def test_a_worker_that_takes_too_long_is_ended(prepared: Callable[..., Path]) -> None:
    before = children()
    done = jobs.train_in_worker(prepared(replace(SMALL, epochs=500)), timeout_s=1.0)
    assert (done.state, done.message) == ("failed", "it did not end within 1 s")
    assert children() <= before


def test_a_worker_does_not_outlive_an_exception(prepared: Callable[..., Path]) -> None:
    before = children()

    def interrupt() -> None:
        while children() <= before:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        jobs.train_in_worker(prepared(replace(SMALL, epochs=500)))
    assert children() <= before


def test_a_worker_does_not_outlive_a_parent_that_was_killed(prepared: Callable[..., Path]) -> None:
    folder = prepared(replace(SMALL, epochs=500, patience=500))
    code = f"from pathlib import Path; from tasks.training import jobs; jobs.train_in_worker(Path({str(folder)!r}))"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + PATIENCE_S
    while not (found := psutil.Process(parent.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # it watches for its parent by now
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(found, timeout=30)
    assert gone
    assert not alive


def test_a_worker_knows_no_secret(
    prepared: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CXR_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nenv > seen\nexit 3\n")
    fake.chmod(0o700)
    folder = prepared()
    fake.write_text(f"#!/bin/sh\nenv > {folder}/seen\necho 'ValueError: that is all' >&2\necho /a/path >&2\nexit 3\n")
    monkeypatch.setattr(sys, "executable", str(fake))
    assert jobs.train_in_worker(folder) == WorkerOutcome("failed", "it ended with status 3: ValueError: that is all")
    seen = (folder / "seen").read_text()
    assert "a secret" not in seen
    assert "OMP_NUM_THREADS=1" in seen
    answering = AnsweringJob(artifact=folder, sha256="0" * 64)
    with pytest.raises(jobs.AnswersMissing, match="failed: it ended with status 3: ValueError: that is all"):
        jobs.answer_in_worker(folder, answering, lambda file: file.touch())
    assert not folder.exists()


def test_a_job_is_prepared_once_and_anew_where_it_became_another(prepared: Callable[..., Path]) -> None:
    folder = prepared()
    (folder / CHECKPOINTS).mkdir()
    before = (folder / IMAGES).stat().st_mtime_ns
    assert prepared(budget_s=60.0) == folder
    assert json.loads((folder / JOB).read_text())["budget_s"] == 60.0
    assert (folder / IMAGES).stat().st_mtime_ns == before
    assert (folder / CHECKPOINTS).is_dir()
    prepared(items=ITEMS[:-1])  # an image became unreadable
    assert np.load(folder / IMAGES).shape == (23, *SPEC.shape)
    assert not (folder / CHECKPOINTS).exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_training_that_was_interrupted_before_an_upgrade_goes_on_after_it(
    prepared: Callable[..., Path], cache: Path
) -> None:
    folder = jobs.job_folder(cache, jobs.job_key("f" * 64, SMALL, 0, None))
    (folder / CHECKPOINTS).mkdir(parents=True)
    contents = hashlib.sha256("".join(one.content_sha256 for one in ITEMS).encode()).hexdigest()
    job = {
        "recipe": SMALL.to_dict(), "classes": ["A", "B"], "seed": 0, "epochs": None, "data_fingerprint": "f" * 64,
        "code_version": "an earlier one", "made_data": True, "contents": contents, "budget_s": 3600.0,
        "pretrained_dir": "/weights",
    }  # fmt: skip
    files.write_json(folder / JOB, job)
    codes = [("train", "validation", "test").index(one.split) for one in ITEMS]
    np.savez(folder / ROWS, labels=[CLASSES.index(one.label) for one in ITEMS], splits=np.array(codes, np.uint8))
    assert prepared() == folder
    assert (folder / CHECKPOINTS).is_dir()
    assert json.loads((folder / JOB).read_text()).keys() == job.keys()


def test_the_same_data_recipe_and_seed_have_one_key() -> None:
    recipe = RECIPES["compact-cnn"]
    key = jobs.job_key("f" * 64, recipe, 0, None)
    assert key == jobs.job_key("f" * 64, recipe, 0, recipe.epochs)
    others = [
        jobs.job_key("e" * 64, recipe, 0, None),
        jobs.job_key("f" * 64, replace(recipe, learning_rate=0.1), 0, None),
        jobs.job_key("f" * 64, recipe, 1, None),
        jobs.job_key("f" * 64, recipe, 0, recipe.epochs + 1),
    ]
    assert len({key, *others}) == 5


def test_a_training_that_begins_with_learned_weights_is_another_one_than_one_that_does_not() -> None:
    keys = [
        jobs.job_key("f" * 64, recipe_named(name, weights), 0, None)
        for name in ("harrisburg-vgg19", "carson-final")
        for weights in ("imagenet", "none")
    ]
    assert keys[0] != keys[1], "its recipe asks for learned weights"
    assert keys[2] == keys[3], "its recipe does not"


def test_jobs_of_other_data_are_removed_and_of_the_same_those_that_nobody_goes_on_with(
    prepared: Callable[..., Path], cache: Path
) -> None:
    wanted, interrupted, failed, old = (prepared(seed=seed) for seed in range(4))
    files.write_json(failed / OUTCOME, {"state": "diverged", "message": "the loss is not a number"})
    os.utime(old / JOB, (0, time.time() - 1.1 * jobs.INTERRUPTED_S))
    answering = cache / jobs.FOLDER / "answer-0"
    answering.mkdir()
    jobs.prune(cache, [jobs.job_key("f" * 64, SMALL, 0, None)], "f" * 64)
    left = set((cache / jobs.FOLDER).iterdir())
    assert left == {wanted, interrupted}
    assert [(one / IMAGES).exists() for one in (wanted, interrupted)] == [True, False], "pixels are made anew"
    jobs.prune(cache, [jobs.job_key("f" * 64, SMALL, 0, None)], "e" * 64)
    assert set((cache / jobs.FOLDER).iterdir()) == {wanted}
