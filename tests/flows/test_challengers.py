"""Steps of a retraining by themselves: what is lost, refused or cancelled costs neither the others nor the truth."""

from __future__ import annotations

import traceback
from inspect import unwrap
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from flows import challengers, comparing, retraining, runs
from flows.challengers import Challenger, Plan
from flows.work import RunCancelledError
from infra.database import DatabaseError
from infra.storage import StorageError, Store
from models import files
from models.gate.rules import DEFAULT
from models.radiographs.preprocessing import PreprocessingSpec
from models.recipes.catalogue import RECIPES
from models.serving import artifact
from tasks.datasets.dataset import Dataset, Item
from tasks.registry import model_versions
from tasks.retraining import record
from tasks.tournament.entries import FOLDER
from tasks.training import arrays
from tests.support.compared import evidence
from tests.support.nights import MODEL, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.runs import Retraining
    from infra.settings import Settings
    from tests.support.databases import Database
    from tests.support.nights import Nights

PLAN = Plan(RECIPES["compact-cnn"], 0, None)
DATA = Dataset(
    tuple(
        Item(sha256(str(number)), f"key-{number}", "e", ("NORMAL", "PNEUMONIA")[number % 2], f"p{number}",
             "test" if number > 5 else "train", made=True, size_bytes=7)
        for number in range(12)
    )
)  # fmt: skip


@pytest.fixture
def run(settings: Settings) -> Iterator[Retraining]:
    """A retraining at work, outside of Prefect."""
    with disable_run_logger():
        made = runs.Retraining(settings, uuid4(), "by hand", dry_run=False)
        record.start(made.pool, made.run_id, None, settings.bucket, "by hand", False, "1.0")
        yield made
        made.pool.dispose()


@pytest.fixture
def known(db: Database, nights: Nights) -> model_versions.ModelVersion:
    """A model version that came of the plan, and whose artifact nobody has stored."""
    db.rows("update cxr.model_versions set training_key = %s", PLAN.key(DATA))
    return model_versions.require(nights.pool, MODEL)


@pytest.mark.parametrize("damaged", [False, True], ids=["lost", "damaged"])
def test_a_challenger_whose_artifact_is_lost_or_damaged_does_not_stop_the_others_and_a_lost_store_does(
    run: Retraining, known: model_versions.ModelVersion, *, damaged: bool
) -> None:
    for name in artifact.ARTIFACT_FILES if damaged else ():
        run.store.write(f"{known.artifact_key}/{name}", b"something else")
    train = unwrap(challengers.train)
    assert train(run, PLAN, DATA) is None
    assert f"{MODEL} was trained before, and its artifact is lost or damaged: " in run.failures["compact-cnn"]
    assert str(run.settings.cache) not in run.failures["compact-cnn"]
    run.store = Store(run.settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
    with pytest.raises(StorageError, match="no-such-bucket does not exist"):
        train(run, PLAN, DATA)


def test_a_challenger_that_does_not_answer_is_said_to_have_been_trained(
    run: Retraining, known: model_versions.ModelVersion
) -> None:
    spec = PreprocessingSpec()
    for item in DATA.items:
        arrays.put(item.content_sha256, np.full(spec.shape, item.label == "NORMAL", np.uint8), spec, run.settings.cache)
    with pytest.raises(record.RetrainingError, match="there is no challenger to judge, so nothing was decided"):
        unwrap(comparing.compare)(run, DATA, None, [Challenger(known, None)], DEFAULT)
    assert run.failures[MODEL].startswith("it was trained and does not answer: ")


def test_what_postgres_refuses_of_a_label_that_waited_is_said_without_the_patient(
    db: Database, run: Retraining
) -> None:
    db.rows("alter table cxr.labels add constraint refused check (patient_id <> 'DOE^JANE')")
    db.rows(
        "insert into cxr.waiting_labels (bucket, content_sha256, class, patient_id, source, why) "
        "values (%s, %s, 'NORMAL', 'DOE^JANE', 's', 'unknown class')",
        run.settings.bucket, sha256("a"),
    )  # fmt: skip
    db.rows(
        "insert into cxr.labelled_objects (content_sha256, bucket, object_key, etag, size_bytes, made)"
        " values (%s, %s, 'labelled/a', 'e', 7, false)",
        sha256("a"), run.settings.bucket,
    )  # fmt: skip
    with pytest.raises(DatabaseError, match="violates check constraint") as refused:
        unwrap(challengers.gather)(run)
    assert "DOE" not in "".join(traceback.format_exception(refused.value))


def test_while_a_person_is_asked_and_in_a_dry_run_no_card_is_written(run: Retraining) -> None:
    found = evidence(outcome="waiting")
    asked = comparing.question(run, found)
    ((page,),) = run.store.list("reports/")
    assert f"cxr report {run.run_id}" in asked
    assert "stored while the retraining was waiting" in run.store.read(page.key).decode()
    run.dry_run = True
    assert comparing.cards(run, found) == []
    run.dry_run = False
    assert not [one for one in run.store.list("reports/models/") if one]
    assert len(comparing.cards(run, found)) == 2
    assert sum(len(one) for one in run.store.list("reports/models/")) == 2


def test_a_retraining_that_is_cancelled_is_cancelled_and_its_row_says_so(db: Database, run: Retraining) -> None:
    def steps() -> None:
        raise RunCancelledError("it was cancelled while it waited")

    assert run.under_lock(steps, "elsewhere").is_cancelled()  # type: ignore[arg-type]
    assert db.rows("select state, message from cxr.retrainings") == [
        ("failed", f"it was cancelled while it waited; {run.after_a_stop}")
    ]


def test_pixels_that_a_killed_tournament_left_are_removed(run: Retraining) -> None:
    left = run.settings.cache / FOLDER / "left.npy"
    files.make_private_folders(left.parent)
    left.write_bytes(b"pixels of a patient")
    retraining.clean(run, DATA, [])
    assert not left.exists()
