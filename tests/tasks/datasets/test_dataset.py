"""Data sets: which labelled images are learned from, and what is left out for which reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tasks.datasets import dataset, splits
from tasks.datasets.dataset import DatasetError, Item
from tests.support.nights import Nights, quarantined, scored, sha256

if TYPE_CHECKING:
    from tests.support.databases import Database


def label(db: Database, content: str, name: str, patient: str, source: str = "dr-a", view: str | None = None) -> None:
    db.rows(
        "insert into cxr.labels (content_sha256, class, patient_id, source, view, age, sex)"
        " values (%s, %s, %s, %s, %s, 44, 'F')",
        sha256(content), name, patient, source, view,
    )  # fmt: skip


def stored(db: Database, content: str, bucket: str = "b", *, made: bool = False) -> None:
    db.rows(
        "insert into cxr.labelled_objects (content_sha256, bucket, object_key, etag, size_bytes, made)"
        " values (%s, %s, %s, 'e', 7, %s)",
        sha256(content), bucket, f"labelled/{content}", made,
    )  # fmt: skip


def of(split: str, start: int = 0) -> str:
    return next(name for n in range(start, start + 1000) if splits.split_of(name := f"p{n}", 0.15, 0.15) == split)


def test_labelled_images_come_from_nights_and_from_what_came_with_its_labels(db: Database, nights: Nights) -> None:
    old, copy, gone = nights.listed("a.png", "copy of a.png", "replaced.png")
    nights.night(scored(old, "a"), scored(copy, "a"), scored(gone, "c"))
    nights.listed("replaced.png", etag="newer", at=datetime(2026, 5, 8, tzinfo=UTC))
    for content, name in (("a", "NORMAL"), ("b", "PNEUMONIA"), ("c", "NORMAL"), ("d", "NORMAL"), ("e", "NORMAL")):
        label(db, content, name, of("train"))
    stored(db, "b")
    stored(db, "d", "elsewhere")
    splits.assign(nights.pool, 0.15, 0.15)
    label(db, "late", "NORMAL", of("test"))
    stored(db, "late")
    data = dataset.load(nights.pool, "b")
    found = {item.content_sha256: item for item in data.items}
    assert set(found) == {sha256("a"), sha256("b")}
    assert found[sha256("a")].bucket_key in {"a.png", "copy of a.png"}
    assert (found[sha256("a")].width, found[sha256("a")].format) == (300, "PNG")
    assert found[sha256("b")].size_bytes == 7
    assert (data.classes, data.made) == (("NORMAL", "PNEUMONIA"), False)
    assert data.left_out == {"no readable image in this bucket": 3, "not assigned to a split yet": 1}
    assert "a.png" not in repr(data)


def test_lateral_views_and_leaks_are_left_out_and_counted(db: Database, nights: Nights) -> None:
    tester, trainee = of("test"), of("train")
    for content, name, patient in (
        ("a", "NORMAL", tester), ("b", "PNEUMONIA", trainee),
        ("c", "NORMAL", of("train", 100)), ("d", "NORMAL", of("train", 200)),
    ):  # fmt: skip
        label(db, content, name, patient)
        stored(db, content)
    label(db, "side", "NORMAL", trainee, view="lateral")
    stored(db, "side")
    splits.assign(nights.pool, 0.15, 0.15)
    assert len(dataset.load(nights.pool, "b").items) == 4
    label(db, "c", "NORMAL", tester, source="adjudication")
    db.rows("insert into cxr.near_duplicates values (%s, %s, 0.99)", *sorted((sha256("a"), sha256("d"))))
    data = dataset.load(nights.pool, "b")
    assert {item.content_sha256: item.split for item in data.items} == {sha256("a"): "test", sha256("b"): "train"}
    assert data.near_duplicates == 1
    assert data.left_out == {
        "lateral view": 1,
        "patient has images in the test set": 1,
        "near-duplicate of a test image": 1,
    }


def test_made_data_is_used_only_where_there_is_no_real_data(db: Database, nights: Nights) -> None:
    for content, name in (("m", "NORMAL"), ("n", "PNEUMONIA")):
        label(db, content, name, content)
        stored(db, content, made=True)
    splits.assign(nights.pool, 0.15, 0.15)
    assert dataset.load(nights.pool, "b").made
    for content, name in (("r", "NORMAL"), ("s", "PNEUMONIA")):
        label(db, content, name, content)
        stored(db, content)
    splits.assign(nights.pool, 0.15, 0.15)
    data = dataset.load(nights.pool, "b")
    assert {item.content_sha256 for item in data.items} == {sha256("r"), sha256("s")}
    assert (data.made, data.left_out) == (False, {"made data alongside real data": 2})


def test_nothing_to_tell_apart_is_said_with_what_was_left_out(db: Database, nights: Nights) -> None:
    with pytest.raises(DatasetError, match="0 images of 0 classes"):
        dataset.load(nights.pool, "b")
    label(db, "a", "NORMAL", "p")
    with pytest.raises(DatasetError, match="1 left out: no readable image"):
        dataset.load(nights.pool, "b")


def items() -> tuple[Item, ...]:
    common = {"bucket_key": "k", "etag": "e", "patient": "p", "made": False, "size_bytes": 1}
    return tuple(
        Item(content_sha256=content, label=name, split=split, **common)
        for content, name, split in (("a", "X", "train"), ("b", "Y", "test"), ("c", "X", "test"), ("d", "Y", "train"))
    )


def test_the_fingerprints_depend_on_contents_labels_and_splits_and_not_on_order() -> None:
    data = dataset.Dataset(items())
    turned = dataset.Dataset(items()[::-1])
    assert (data.fingerprint, data.test_fingerprint) == (turned.fingerprint, turned.test_fingerprint)
    moved = dataset.Dataset((replace(items()[0], split="validation"), *items()[1:]))
    assert data.fingerprint != moved.fingerprint
    assert data.test_fingerprint == moved.test_fingerprint
    relabelled = dataset.Dataset((*items()[:2], replace(items()[2], label="Y"), items()[3]))
    assert data.test_fingerprint != relabelled.test_fingerprint
    assert data.learning_fingerprint == turned.learning_fingerprint == relabelled.learning_fingerprint
    assert data.learning_fingerprint != moved.learning_fingerprint
    another_class = dataset.Dataset((*items(), replace(items()[1], content_sha256="e", label="Z")))
    assert data.learning_fingerprint != another_class.learning_fingerprint, "a network answers it, too"


def test_what_cannot_be_decoded_is_taken_out_and_counted() -> None:
    data = dataset.without(dataset.without(dataset.Dataset(items(), {"lateral view": 2}), [0], "gone"), [0], "gone")
    assert [item.content_sha256 for item in data.items] == ["c", "d"]
    assert data.left_out == {"lateral view": 2, "gone": 2}
    with pytest.raises(DatasetError, match="3 left out: gone"):
        dataset.without(data, [0], "gone")


def test_only_training_and_validation_images_known_to_be_another_view_are_left_out() -> None:
    seen = [
        replace(item, split=split, view=view, content_sha256=f"{split} {view} {item.content_sha256}")
        for item in items()
        for split in ("train", "validation", "test")
        for view in ("PA", "AP", None)
    ]
    data = dataset.Dataset(tuple(seen))
    frontal = dataset.with_views(data, ("PA",))
    assert {(item.split, item.view) for item in data.items} - {(item.split, item.view) for item in frontal.items} == {
        ("train", "AP"), ("validation", "AP"),
    }  # fmt: skip
    assert frontal.left_out == {dataset.OTHER_VIEW: len(data.items) - len(frontal.items)}
    assert frontal.test_fingerprint == data.test_fingerprint
    assert dataset.with_views(data, ()) is data


def test_subgroups_are_named_where_they_are_known() -> None:
    one, two, *_ = items()
    found = dataset.subgroups([replace(one, sex="F", age=39.5, view="PA"), replace(two, age=80, site="here")])
    assert found == {
        "view": ("PA", None), "sex": ("F", None), "age band": ("0-39", "80+"), "site": (None, "here"),
    }  # fmt: skip
    assert [dataset.age_band(years) for years in (0, 40, 59, 60, 79.9, 130, None)] == [
        "0-39", "40-59", "40-59", "60-79", "60-79", "80+", None,
    ]  # fmt: skip


def test_a_stray_label_does_not_become_a_class_of_the_next_model() -> None:
    def item(number: int, label: str) -> Item:
        return Item(sha256(str(number)), f"{number}", "e", label, f"p{number}", "train", made=False, size_bytes=1)

    labels = ["NORMAL"] * 10 + ["PNEUMONIA"] * 10 + ["FLU"]
    given = dataset.Dataset(tuple(item(*one) for one in enumerate(labels)))
    kept = dataset.without_rare_classes(given)
    assert kept.classes == ("NORMAL", "PNEUMONIA")
    assert kept.left_out == {"a class with fewer than 10 images": 1}
    assert dataset.without_rare_classes(kept) is kept


def test_an_image_that_a_night_quarantined_is_not_learned_from(db: Database, nights: Nights) -> None:
    for name, content in (("NORMAL", "a"), ("PNEUMONIA", "b"), ("NORMAL", "blank")):
        label(db, content, name, f"patient-{content}")
        stored(db, content)
    splits.assign(nights.pool, 0.15, 0.15)
    (blank,) = nights.listed("blank.png")
    nights.night(quarantined(blank, "not-blank"))
    db.rows("update cxr.images set content_sha256 = %s where image_id = %s", sha256("blank"), blank)
    data = dataset.load(nights.pool, "b")
    assert data.left_out == {dataset.QUARANTINED: 1}
    assert len(data.items) == 2
