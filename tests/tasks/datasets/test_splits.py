"""Splits: what was once in the test set is never trained on, whatever becomes of labels, patients and shares."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import numpy as np
import psycopg2
import pytest

from models.recipes.catalogue import SPLITS
from tasks.datasets import dataset, splits
from tasks.datasets.splits import split_of
from tests.support.databases import OWNER, WRITER
from tests.support.nights import sha256

if TYPE_CHECKING:
    import sqlalchemy as sa

    from tests.support.databases import Database

TEST = "patient has images in the test set"


def say(db: Database, *words: tuple[str, str], source: str = "dr-a", label: str = "NORMAL") -> None:
    """Write what a source says now of contents and their patients, superseding its older words."""
    contents, patients = map(list, zip(*words, strict=True))
    db.rows(
        "update cxr.labels set superseded_at = now()"
        " where content_sha256 = any(%s) and source = %s and superseded_at is null",
        contents, source,
    )  # fmt: skip
    db.rows(
        "insert into cxr.labels (content_sha256, class, patient_id, source, labelled_at)"
        " select c, %s, p, %s, clock_timestamp() from unnest(%s::text[], %s::text[]) as u (c, p)",
        label, source, contents, patients,
    )  # fmt: skip


def assigned(db: Database) -> dict[str, str]:
    return dict(db.rows("select content_sha256, split from cxr.splits"))


def usable(db: Database, near: tuple[tuple[str, str], ...] = ()) -> dict[str, set[str]]:
    """The contents of each split that are not left out."""
    known = assigned(db)
    words = db.rows(
        "select content_sha256, patient_id from cxr.labels union select content_sha256, patient_id from cxr.splits"
    )
    gone = splits.exclusions(known, words, near)
    return {name: {one for one, split in known.items() if split == name and one not in gone} for name in SPLITS}


def patient_in(split: str, start: int = 0, shares: tuple[float, float] = (0.15, 0.15)) -> str:
    """A patient whose hash falls into a split."""
    return next(name for number in range(start, start + 1000) if split_of(name := f"p{number}", *shares) == split)


def test_the_split_of_a_patient_is_what_it_always_was() -> None:
    for number in range(2000):
        share = int(hashlib.sha256(f"p{number}".encode()).hexdigest()[:8], 16) / 2**32
        old = "train" if share < 0.70 else "validation" if share < 0.85 else "test"
        assert split_of(f"p{number}", 0.15, 0.15) == old


def test_a_larger_test_share_takes_patients_in_and_lets_none_out() -> None:
    names = [f"p{number}" for number in range(3000)]
    small = {name for name in names if split_of(name, 0.15, 0.10) == "test"}
    large = {name for name in names if split_of(name, 0.20, 0.25) == "test"}
    assert small < large
    assert len(large) / len(names) == pytest.approx(0.25, abs=0.03)


def test_a_split_is_assigned_once_and_a_patients_later_images_follow(db: Database, pool: sa.Engine) -> None:
    tester, trainee = patient_in("test"), patient_in("train")
    say(db, ("a", tester), ("b", trainee))
    assert splits.assign(pool, 0.15, 0.15).new == {"test": 1, "train": 1}
    say(db, ("c", tester), ("d", trainee), ("e", "new"))
    assert splits.assign(pool, 0.01, 0.01).total == {"test": 2, "train": 3}
    assert splits.assign(pool, 0.4, 0.4).new == {}
    assert assigned(db) == {"a": "test", "c": "test", "b": "train", "d": "train", "e": "train"}


@pytest.mark.parametrize("user", [OWNER, WRITER])
@pytest.mark.parametrize(
    "statement", ["update cxr.splits set split = 'train'", "delete from cxr.splits", "truncate cxr.splits"]
)
def test_nobody_changes_a_split(db: Database, pool: sa.Engine, user: str, statement: str) -> None:
    say(db, ("a", patient_in("test")))
    splits.assign(pool, 0.15, 0.15)
    refused = psycopg2.errors.RestrictViolation if user == OWNER else psycopg2.errors.InsufficientPrivilege
    with pytest.raises(refused):
        db.rows(statement, user=user)
    assert assigned(db) == {"a": "test"}


def test_patients_that_turn_out_to_be_one_take_the_training_images_out_of_training(
    db: Database, pool: sa.Engine
) -> None:
    tester, trainee = patient_in("test"), patient_in("train")
    say(db, ("a", tester), ("b", trainee), ("c", trainee))
    splits.assign(pool, 0.15, 0.15)
    assert usable(db) == {"train": {"b", "c"}, "validation": set(), "test": {"a"}}
    say(db, ("b", tester), source="adjudication")
    # c is still said to be the trainee's, who is the tester by way of b.
    assert usable(db) == {"train": set(), "validation": set(), "test": {"a"}}
    say(db, ("b", trainee), source="adjudication")
    assert usable(db)["train"] == set(), "what was once said is not forgotten"


def test_a_person_has_one_name_whatever_the_order_of_the_rows_and_another_fingerprint_when_joined() -> None:
    words, near = [("b", "p"), ("c", "p"), ("a", "q"), ("d", "r")], [("c", "d")]
    expected = {"a": "a", "b": "b", "c": "b", "d": "b"}
    for order in itertools.permutations(words):
        assert splits.group_names(splits.group_by_person(order, near)) == expected
    apart, joined = (
        dataset.Dataset(
            tuple(
                dataset.Item(one, "k", "e", "NORMAL", name, "train", made=False, size_bytes=1)
                for one, name in splits.group_names(splits.group_by_person(words, pairs)).items()
            )
        )
        for pairs in ([], near)
    )
    assert apart.fingerprint != joined.fingerprint


def test_near_duplicates_of_test_images_are_not_trained_on(db: Database, pool: sa.Engine) -> None:
    tester, validator, trainee = (patient_in(split) for split in ("test", "validation", "train"))
    say(db, ("a", tester), ("b", trainee), ("c", trainee), ("d", validator), ("e", validator))
    splits.assign(pool, 0.15, 0.15)
    known = assigned(db)
    gone = splits.exclusions(known, [], [("a", "b"), ("d", "a"), ("c", "e"), ("b", "c")])
    assert gone == {
        "b": "near-duplicate of a test image",
        "d": "near-duplicate of a test image",
        "c": "near-duplicate of a validation image",
        "e": TEST,  # by way of c, b and a
    }
    words = [("a", tester), ("b", trainee), ("c", trainee)]
    assert splits.exclusions(known, words, [("a", "b")])["c"] == TEST, "one picture under two numbers is one person"
    say(db, ("f", trainee))
    db.rows("insert into cxr.near_duplicates (content_sha256, other_sha256, similarity) values ('a', 'b', 1)")
    splits.assign(pool, 0.15, 0.15)
    assert assigned(db)["f"] == "test", "a later image of that person goes where the first ones are"


def test_no_image_that_was_ever_in_test_is_ever_trained_on_as_data_grows(db: Database, pool: sa.Engine) -> None:
    random = np.random.default_rng(5)
    ever: set[str] = set()
    patients: dict[str, str] = {}
    for step in range(50):
        for number in range(int(random.integers(1, 12))):  # new images of new and of old patients
            patients[sha256(f"{step}-{number}")] = f"patient-{random.integers(0, 10 + 3 * step)}"
        known = assigned(db)
        fresh = [one for one in patients if one not in known]
        say(db, *((one, patients[one]) for one in fresh))
        for one in random.choice(
            list(patients), int(random.integers(0, 3))
        ):  # corrections by the same or another source
            patients[str(one)] = f"patient-{random.integers(0, 10 + 3 * step)}"
            say(db, (str(one), patients[str(one)]), source=str(random.choice(["dr-a", "adjudication"])),
                label=str(random.choice(["NORMAL", "PNEUMONIA"])))  # fmt: skip
        splits.assign(pool, float(random.uniform(0.05, 0.3)), float(random.uniform(0.05, 0.3)))
        before, sets = ever.copy(), usable(db)
        ever |= {one for one, split in assigned(db).items() if split == "test"}
        assert before <= {one for one, split in assigned(db).items() if split == "test"}
        assert not ever & (sets["train"] | sets["validation"])
        people = dict(db.rows("select content_sha256, array_agg(patient_id) from cxr.labels group by 1"))
        tested = {name for one in ever for name in people[one]}
        learned = {name for one in sets["train"] | sets["validation"] for name in people[one]}
        assert not tested & learned, "a patient of the test set is learned from"
        assert not {name for one in sets["train"] for name in people[one]} & {
            name for one in sets["validation"] for name in people[one]
        }
    assert len(ever) > 20
    assert len(sets["train"]) > 20


def test_left_out_images_name_their_reason(db: Database, pool: sa.Engine) -> None:
    tester, trainee = patient_in("test"), patient_in("train")
    say(db, ("a", tester), ("b", trainee))
    splits.assign(pool, 0.15, 0.15)
    assert splits.exclusions(assigned(db), [("a", tester), ("b", trainee), ("b", tester)]) == {"b": TEST}
