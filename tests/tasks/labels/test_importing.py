"""Labels in the database: kept by content with their history, and nothing that cannot be attached is lost."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from models.phantoms.phantom import draw_phantom, encode, write_phantoms
from tasks.labels import importing, objects, report
from tasks.registry import promotion
from tests.support.nights import CLASSES, Nights, scored, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings
    from infra.storage import Store
    from tasks.labels.importing import ImportResult
    from tests.support.databases import Database

HEAD = "object_key,label,patient_id\n"


class Desk:
    """Where sheets come in, for one test's database and bucket."""

    def __init__(self, nights: Nights, store: Store, settings: Settings, folder: Path) -> None:
        self.nights, self.store, self.settings, self.folder = nights, store, settings, folder

    def take(
        self, rows: str, source: str | None = "dr-a", *, head: str = HEAD, new: tuple[str, ...] = ()
    ) -> ImportResult:
        path = self.folder / "sheet.csv"
        path.write_text(head + rows)
        return importing.import_labels(
            self.nights.pool, self.store, self.settings, path, source=source, new_classes=new
        )

    def scored(self, *keys: str) -> None:
        """A night that has scored images whose contents are named like their keys."""
        run_id = self.nights.begin(bucket=self.store.bucket)
        found = self.nights.listed(*keys, bucket=self.store.bucket)
        self.nights.finish(run_id)
        run_id = self.nights.begin(bucket=self.store.bucket)
        self.nights.commit(run_id, *(scored(one, key) for one, key in zip(found, keys, strict=True)))
        self.nights.finish(run_id)

    def current(self) -> list[tuple]:
        return self.nights.db.rows("select source, class from cxr.labels where superseded_at is null order by 1, 2")


@pytest.fixture
def desk(nights: Nights, store: Store, settings: Settings, tmp_path: Path) -> Desk:
    return Desk(nights, store, settings, tmp_path)


def picture(number: int = 0) -> bytes:
    return encode(draw_phantom("NORMAL", number, 0, 1, (80, 80)), "png-grey-8")


def test_a_source_that_says_the_same_again_changes_nothing(desk: Desk, db: Database) -> None:
    desk.scored("a.png", "b.png")
    for new, same in ((2, 0), (0, 2), (0, 2)):
        done = desk.take("a.png,NORMAL,p1\nb.png,PNEUMONIA,p2\n")
        assert (done.new, done.changed, done.same) == (new, 0, same)
    assert db.value("select count(*) from cxr.labels") == 2
    assert set(db.rows("select content_sha256 from cxr.labels")) == {(sha256("a.png"),), (sha256("b.png"),)}


def test_a_sources_newer_word_supersedes_its_older_one_and_no_other_sources(desk: Desk, db: Database) -> None:
    desk.scored("a.png")
    for word, source in (("NORMAL", "dr-a"), ("NORMAL", "dr-b"), ("PNEUMONIA", "dr-a")):
        desk.take(f"a.png,{word},p1\n", source)
    assert desk.current() == [("dr-a", "PNEUMONIA"), ("dr-b", "NORMAL")]
    history = "select source, class from cxr.labels where superseded_at is not null"
    assert db.rows(history) == [("dr-a", "NORMAL")]


def test_what_a_newer_word_leaves_empty_the_older_one_fills_in(desk: Desk, db: Database) -> None:
    desk.scored("a.png")
    desk.take("a.png,NORMAL,p1,F,50,PA\n", head="object_key,label,patient_id,sex,age,view\n")
    assert desk.take("a.png,NORMAL,p1\n").same == 1
    assert desk.take("a.png,PNEUMONIA,p1\n").changed == 1
    desk.take("a.png,NORMAL,p1\n", "adjudication")
    found = db.rows("select class, source, sex, age, view, disputed from cxr.current_labels")
    assert found == [("NORMAL", "adjudication", "F", 50.0, "PA", True)]


def test_an_adjudication_stands_before_later_words_and_these_before_earlier_ones(desk: Desk, db: Database) -> None:
    desk.scored("a.png", "b.png")
    for source, one, two in (
        ("dr-a", "NORMAL", "NORMAL"), ("Adjudication", "COVID-19", ""), ("dr-b", "PNEUMONIA", "PNEUMONIA"),
    ):  # fmt: skip
        rows = [f"{key},{word},p1\n" for key, word in (("a.png", one), ("b.png", two)) if word]
        done = desk.take("".join(rows), source)
    disputes = done.disputes
    assert (disputes.images, disputes.adjudicated, disputes.patients) == (2, 1, 0)
    seen = db.rows(
        "select content_sha256, winning_class, winning_source, settled_by, classes_by_source"
        " from analysis.label_conflicts",
        user="test_analyst",
    )
    both = {"dr-a": "NORMAL", "dr-b": "PNEUMONIA"}
    assert sorted(seen, key=lambda row: row[1]) == [
        (sha256("a.png"), "COVID-19", "adjudication", "adjudication", both | {"adjudication": "COVID-19"}),
        (sha256("b.png"), "PNEUMONIA", "dr-b", "latest word", both),
    ]
    assert "2 images with sources that disagree about the class: 1 settled by adjudication, 1 by the latest label" in (
        "\n".join(report.import_lines(done))
    )


def test_sources_that_give_an_image_to_different_patients_are_reported(desk: Desk) -> None:
    desk.scored("a.png")
    desk.take("a.png,NORMAL,p1\n", "dr-a")
    done = desk.take("a.png,NORMAL,p2\n", "dr-b")
    assert (done.disputes.images, done.disputes.patients) == (0, 1)
    assert "1 image that sources assign to different patients" in "\n".join(report.import_lines(done))


def test_an_unknown_class_waits_is_listed_and_taken_when_it_is_named(desk: Desk, db: Database) -> None:
    desk.scored("a", "b", "c", "d")
    done = desk.take("a,NORMAL,p1\nb,FLU,p2\nc,Normal,p3\nd,FLU,p4\n")
    assert (done.new, [row.label for row in done.unknown]) == (1, ["FLU", "Normal", "FLU"])
    said = "\n".join(report.import_lines(done))
    assert "3 rows waiting, unknown classes: 'FLU' (2 rows), 'Normal' (1 row; did you mean NORMAL?)" in said
    assert "2 labels waiting" not in said
    waiting = "select label, why, count(*) from analysis.waiting_labels group by 1, 2 order by 1"
    assert desk.nights.db.rows(waiting) == [("FLU", "unknown class", 2), ("Normal", "unknown class", 1)]
    assert "labels waiting, unknown class: FLU 2, Normal 1" in "\n".join(
        report.status_lines(desk.nights.pool, desk.store.bucket)
    )

    # The mended row replaces the one that waited, and the class that is meant is taken, then and from now on.
    done = desk.take("c,NORMAL,p3\n", new=("FLU",))
    assert (done.new, done.resolved.labels, done.resolved.waiting) == (1, 2, {})
    assert [label for _, label in desk.current()] == ["FLU", "FLU", "NORMAL", "NORMAL"]
    assert desk.take("a,FLU,p1\n", "dr-b").new == 1
    assert db.value("select count(*) from analysis.waiting_labels") == 0


def test_a_label_of_an_image_that_nobody_has_seen_waits_for_it(desk: Desk, db: Database) -> None:
    for _ in range(2):  # the same again makes no second one wait
        done = desk.take("late.png,NORMAL,p1\nlost.png,NORMAL,p2\n")
        assert [row.key for row in done.unmatched] == ["late.png", "lost.png"]
    assert db.value("select count(*) from cxr.waiting_labels") == 2
    assert "row 2: late.png" in "\n".join(report.import_lines(done))
    desk.scored("late.png")
    desk.take("late.png,PNEUMONIA,p1\n", "dr-b")
    resolved = importing.resolve_waiting(desk.nights.pool, desk.store, desk.settings)
    assert (resolved.labels, resolved.waiting) == (0, {"no such image": 1})  # the import above has tried already
    assert desk.current() == [("dr-a", "NORMAL"), ("dr-b", "PNEUMONIA")]
    # It counts from when it was said, so the later word stands.
    assert db.value("select class from cxr.current_labels") == "PNEUMONIA"


def test_a_key_in_the_bucket_that_no_night_has_scored_is_labelled_by_its_content(desk: Desk, db: Database) -> None:
    desk.store.write("made/a.png", picture())
    desk.store.write("broken.png", b"no image")
    done = desk.take("made/a.png,NORMAL,p1\nbroken.png,NORMAL,p2\n")
    assert (done.new, [one.why for one in done.refused]) == (1, ["it is not an image"])
    assert db.rows("select object_key, made, format, width from cxr.labelled_objects") == [
        ("made/a.png", True, "PNG", 80)
    ]
    # Another picture under the same key is another content.
    desk.store.write("made/a.png", picture(1))
    assert desk.take("made/a.png,PNEUMONIA,p1\n").new == 1
    assert db.value("select count(distinct content_sha256) from cxr.labels") == 2


def test_a_label_by_sha256_is_attached_to_the_image_or_waits(desk: Desk) -> None:
    desk.scored("a.png")
    head = "sha256,label,patient_id\n"
    done = desk.take(f"{sha256('a.png').upper()},NORMAL,p1\n{sha256('b')},NORMAL,p2\n", head=head)
    assert (done.new, len(done.unmatched)) == (1, 1)
    both = desk.take(f"a.png,{sha256('b')},NORMAL,p1\n", head="key,sha256,label,patient_id\n")
    assert [one.why for one in both.refused] == ["the image does not match its sha256"]


def test_a_folder_brings_its_images_along_once(desk: Desk, db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    write_phantoms(folder, 6, seed=2, size=80)
    with (folder / "labels.csv").open("a") as file:
        file.write("NORMAL/lost.png,NORMAL,p9\nNORMAL/notes.png,NORMAL,p9\n")
    (folder / "NORMAL" / "notes.png").write_text("not an image")
    for new, same in ((6, 0), (0, 6)):
        done = importing.import_labels(desk.nights.pool, desk.store, desk.settings, folder, source="demo")
        assert (done.new, done.same) == (new, same)
        assert {one.name: one.why for one in done.refused} == {
            "lost.png": "the file is not there",
            "notes.png": "it is not an image",
        }
    stored = db.rows("select content_sha256, object_key, made, bit_depth is not null from cxr.labelled_objects")
    keys = [item.key for page in desk.store.list("labelled/") for item in page]
    assert sorted(key for _, key, *_ in stored) == sorted(keys)
    assert len(keys) == 6
    assert all(key.startswith(f"labelled/{content[:2]}/{content}.") and made for content, key, made, _ in stored)


def test_a_file_that_changed_since_it_was_hashed_is_not_stored_under_its_old_content(
    desk: Desk, tmp_path: Path
) -> None:
    file, before = tmp_path / "a.png", hashlib.sha256(picture(0)).hexdigest()
    file.write_bytes(picture(1))
    refused = objects.store_files(desk.nights.pool, desk.store, desk.settings, {before: file})
    assert refused == {before: "the file changed during the import"}
    assert not [item for page in desk.store.list("labelled/") for item in page]


def test_two_rows_that_contradict_each_other_by_content_are_both_refused(desk: Desk) -> None:
    for key in ("one.png", "copy.png"):
        desk.store.write(key, picture())
    done = desk.take("one.png,NORMAL,p1\ncopy.png,PNEUMONIA,p1\n")
    assert (done.new, [one.line for one in done.refused]) == (0, [2, 3])


def test_the_champions_classes_are_known_where_it_has_others(nights: Nights) -> None:
    assert importing.known_classes(nights.pool) == CLASSES
    for model, classes, known in (
        ("two", ("NORMAL", "PNEUMONIA"), CLASSES),
        ("site's", ("NORMAL", "TUBERCULOSIS"), ("NORMAL", "TUBERCULOSIS")),
    ):
        nights.register(model, classes)
        promotion.promote(nights.pool, model, "a test")
        assert importing.known_classes(nights.pool) == known
    assert importing.known_classes(nights.pool, ["FLU"]) == ("NORMAL", "TUBERCULOSIS", "FLU")


def test_the_analyst_sees_no_patient_in_any_view(db: Database) -> None:
    columns = db.rows("select table_name, column_name from information_schema.columns where table_schema = 'analysis'")
    assert {"label_conflicts", "waiting_labels"} <= {view for view, _ in columns}
    assert not [view for view, name in columns if "patient_id" in name]
