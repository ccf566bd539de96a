"""Retrainings of a site: images that are quick to learn, lenient rules, and what came of it in the database."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.phantoms.phantom import encode
from models.training import worker
from models.training.job import IMAGES as IMAGES_FILE
from models.training.job import JOB, ROWS, WorkerOutcome
from tasks.training import jobs
from tests.support.processes.eager import eager
from tests.support.processes.once import once
from tests.support.recipes import EPOCHS, RECIPE, known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prefect.client.schemas.objects import State

    from tests.support.site import Site

IMAGES = 160
PLACES = {"COVID-19": (0.35, 0.35), "NORMAL": (0.65, 0.65), "PNEUMONIA": (0.35, 0.65)}
LENIENT = {
    "minimum_images": 10, "minimum_patients": 5, "minimum_images_per_class": 2, "minimum_patients_per_class": 1,
    "floors": {}, "sensitivity_floor": 0.0, "sensitivity_fall": 1.0, "sensitivity_margin": 1.0, "audit_margin": 0.0,
    "too_good_gain": 1.0,
    "too_good_accuracy": 1.1, "maximum_calibration_error": 1.0, "calibration_fall": 1.0, "resamples": 300,
    "always_fast_ms": 10_000.0, "maximum_latency_ms": 10_000.0,
}  # fmt: skip
"""Rules for a few dozen phantoms on a busy machine; tests/models/gate/test_decision.py shows what each rule does."""
TYPED = ("--recipe", RECIPE, "--epochs", str(EPOCHS))


def write_labelled(folder: Path) -> None:
    """Write a folder of made images with a bright spot whose place is the class, two of each patient: quick to learn.

    Their border is random, for the shortcut audit looks there, and their texture is their own: no two look the same.
    """
    random = np.random.default_rng(5)
    y, x = np.mgrid[:96, :96] / 96
    lines = ["file,label,patient_id"]
    for number in range(IMAGES):
        label = list(PLACES)[number // 2 % 3]
        down, right = np.array(PLACES[label]) + random.normal(0, 0.02, 2)
        picture = (
            0.4
            + 0.4 * np.exp(-((y - down) ** 2 + (x - right) ** 2) / 0.01)
            + np.kron(random.normal(0, 0.1, (24, 24)), np.ones((4, 4)))
        )
        frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.1
        picture[frame] = random.uniform(0, 1, (4, 1)).repeat(frame.sum() // 4 + 1)[: frame.sum()]
        (folder / label).mkdir(exist_ok=True)
        file = f"{label}/{number}.png"
        (folder / file).write_bytes(encode(np.clip(picture, 0, 1).astype(np.float32), "png-grey-8"))
        lines.append(f"{file},{label},secret-patient-{number // 2}")
    (folder / "labels.csv").write_text("\n".join(lines))


def prepared(site: Site, labelled: Path, folder: Path) -> Site:
    site.environment["CXR_TEST_SHARE"] = "0.3"
    rules(site, folder)
    answer = site.cxr("labels", "import", str(labelled), "--source", "study")
    assert answer.exit_code == 0, answer.output
    return site


def rules(site: Site, folder: Path, **changed: Any) -> None:
    """Let the site's gate decide by the lenient rules, some of them changed."""
    file = folder / "gate.json"
    file.write_text(json.dumps(LENIENT | changed))
    site.environment["CXR_GATE_FILE"] = str(file)


def retrain(site: Site, **parameters: Any) -> State[Any]:
    """Retrain in this process; the training itself is a process of its own."""
    from flows.retraining import retrain_and_compare

    with site.surroundings():
        return retrain_and_compare(
            return_state=True, **{"cause": "by hand", "recipes": [RECIPE], "epochs": EPOCHS} | parameters
        )


@contextmanager
def working_inside(shared: Path) -> Iterator[None]:
    """Work on jobs in this process, where TensorFlow is imported only once: importing takes longer than training here.

    A job that another test has trained is not trained again. For tests of what comes of a job; other tests show that a
    worker process does it, and what a kill does to it.
    """

    def run(work: str, folder: Path, tell: Callable[[], None], timeout_s: float | None) -> WorkerOutcome:
        assert timeout_s is None or timeout_s > 0
        outcome = trained(folder, shared) if work == "train" else worker.answer(folder)
        tell()
        return outcome

    with pytest.MonkeyPatch.context() as patch, eager():
        known(patch)
        patch.setattr(jobs, "run", run)
        yield


def trained(folder: Path, shared: Path) -> WorkerOutcome:
    """Train, or take what came of the same job before, in whichever process of tests."""

    def train(finished: Path) -> None:
        worker.train(folder)
        shutil.copytree(folder, finished, dirs_exist_ok=True, ignore=shutil.ignore_patterns(IMAGES_FILE))

    job = hashlib.sha256((folder / JOB).read_bytes() + (folder / ROWS).read_bytes())
    shutil.copytree(once(shared, f"job-{job.hexdigest()}", train), folder, dirs_exist_ok=True)
    outcome = WorkerOutcome.read(folder)
    assert outcome is not None
    return outcome


def decisions(site: Site) -> list[dict[str, Any]]:
    return [row for (row,) in site.db.rows("select to_jsonb(d) from cxr.decisions d order by decision_id")]


def champions(site: Site) -> list[str]:
    """Every champion so far, oldest first."""
    return [name for (name,) in site.db.rows("select model_version from cxr.promotions order by promotion_id")]


def leave_no_pixels(site: Site) -> None:
    """Nothing of a finished retraining's images stays but the cache of arrays, which opens for its owner only."""
    assert not list((cache(site) / jobs.FOLDER).glob("*/images.npy"))


def cache(site: Site) -> Path:
    """Folder of the site's cached artifacts, arrays and trainings."""
    return Path(site.environment["CXR_HOME"]) / "cache"
