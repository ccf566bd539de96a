"""What reporting promises: figures that reconcile, a self-contained page, and no object key in any text for people."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import numpy as np
import pytest

from infra.settings import Settings
from models.phantoms.phantom import CLASSES
from models.radiographs.preprocessing import PreprocessingSpec
from tasks.nights import figures, report
from tasks.pages import publishing
from tasks.radiographs import thumbnails

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from infra.storage import Store
    from tests.support.databases import Database

NIGHT = date(2026, 5, 7)
MODEL = "compact-cnn-1"
SECRET = "incoming/DOE^JANE 1970-01-01"  # noqa: S105 - what a key may hold and no reader may see


class Rows:
    """Writes a run's rows as the flow would, one image at a time."""

    def __init__(self, db: Database, *, made_model: bool = False) -> None:
        self.db, self.images = db, 0
        spec = PreprocessingSpec()
        db.rows(
            """insert into cxr.model_versions
               values (%s, 'compact CNN', 'models/x', %s, %s, %s, %s, '{}', 'f', 'c', '{}', %s)""",
            MODEL, "a" * 64, list(CLASSES), json.dumps(spec.to_dict()), spec.hash, made_model,
        )  # fmt: skip
        db.rows("select cxr.ensure_partitions(1)")

    def run(self, state: str = "running", night: date = NIGHT, **counts: int) -> UUID:
        run_id = uuid4()
        self.db.rows(
            """insert into cxr.runs (run_id, flow, bucket, night, state, model_version, runtime, code_version,
                                     started_at, published_at, discovered, scored, quarantined, failed, duplicate)
               values (%s, 'nightly_scoring', 'b', %s, %s, %s, 'keras', '1.0', now() - interval '10 s',
                       case when %s = 'completed' then now() end, %s, %s, %s, %s, %s)""",
            str(run_id), night, state, MODEL, state,
            *(counts.get(name) for name in ("discovered", "scored", "quarantined", "failed", "duplicate")),
        )  # fmt: skip
        return run_id

    def image(
        self, run_id: UUID, state: str, *reasons: str | None, failed: tuple[str, ...] = (), made: bool = False,
        of: int | None = None,
    ) -> int:  # fmt: skip
        self.images += 1
        return self.db.value(
            """insert into cxr.images (bucket, object_key, etag, size_bytes, last_modified, made, state,
                                       failed_expectations, reasons, duplicate_of, content_sha256, format, width,
                                       height, bit_depth, run_id, decided_at)
               values ('b', %s, 'e', 10, now(), %s, %s, %s, %s, %s, %s, 'PNG', %s, 500, 8, %s, now())
               returning image_id""",
            f"{SECRET}/{self.images}.png", made, state, list(failed), list(reasons) or None, of, f"{self.images:064x}",
            500 + self.images, str(run_id),
        )  # fmt: skip

    def scored(self, run_id: UUID, predicted: str, probability: float, *, made: bool = False) -> int:
        image_id = self.image(run_id, "scored", made=made)
        rest = (1 - probability) / (len(CLASSES) - 1)
        self.db.rows(
            """insert into cxr.predictions
               select image_id, content_sha256, %s, %s, %s, %s, %s, run_id, now(), 'h', 'c', 'keras', bucket,
                      object_key, etag, made
               from cxr.images where image_id = %s""",
            MODEL, predicted, probability, [probability if one == predicted else rest for one in CLASSES], NIGHT,
            image_id,
        )  # fmt: skip
        return image_id


@pytest.fixture
def rows(db: Database) -> Rows:
    return Rows(db)


@pytest.fixture
def settled(rows: Rows) -> list[UUID]:
    """A run with images in every state, and a dead one that it took over."""
    run_id, dead = rows.run(), rows.run("crashed")
    first = rows.scored(run_id, "COVID-19", 0.97)
    rows.scored(run_id, "COVID-19", 0.5)
    rows.scored(run_id, "NORMAL", 1.0)
    rows.scored(dead, "PNEUMONIA", 0.81)
    rows.image(run_id, "duplicate", of=first)
    rows.image(run_id, "failed", "the object was deleted after it had been listed")
    rows.image(run_id, "quarantined", "it spans 0.04; at least 0.10 is expected", failed=("contrast",))
    rows.image(dead, "quarantined", "it is a colour photograph", "it spans 0.01", failed=("grey", "contrast"))
    return [run_id, dead]


def test_a_runs_figures_include_what_it_took_over_and_reconcile(pool: sa.Engine, settled: list[UUID]) -> None:
    found = figures.gather(pool, settled[0], settled)
    assert (found.counts.discovered, found.counts.scored, found.counts.pending) == (8, 4, 0)
    assert sum(one.images for one in found.classes) == found.counts.scored
    assert sum(reason.first for reason in found.quarantine) == found.counts.quarantined
    assert sum(reason.images for reason in found.failures) == found.counts.failed
    assert sum(part.images for part in found.parts) == found.counts.discovered
    assert found.images_per_second == pytest.approx(6 / 10, rel=0.2)  # its own images only


def test_an_image_that_fails_two_expectations_is_counted_at_each_and_explained_for_each(
    pool: sa.Engine, settled: list[UUID]
) -> None:
    found = {one.name: one for one in figures.gather(pool, settled[0], settled, words={"grey": "Grey."}).quarantine}
    assert (found["contrast"].images, found["contrast"].first) == (2, 1)
    assert found["contrast"].example == "it spans 0.04; at least 0.10 is expected"
    assert (found["grey"].first, found["grey"].example, found["grey"].words) == (
        1,
        "it is a colour photograph",
        "Grey.",
    )


def test_a_certain_score_falls_into_the_last_bin_and_every_class_has_its_bins(
    pool: sa.Engine, settled: list[UUID]
) -> None:
    found = {one.name: one for one in figures.gather(pool, settled[0], settled).classes}
    assert tuple(found) == CLASSES
    assert found["NORMAL"].bins[-1] == 1
    assert found["COVID-19"].bins[10] == 1
    assert found["COVID-19"].mean_top_probability == pytest.approx(0.735)
    assert all(len(one.bins) == figures.BINS for one in found.values())


def test_usual_is_the_median_of_published_nights_before_this_one(rows: Rows, pool: sa.Engine) -> None:
    for day, discovered, quarantined in ((4, 100, 1), (5, 200, 4), (6, 300, 30)):
        rows.run(
            "completed", date(2026, 5, day), discovered=discovered, scored=discovered - quarantined,
            quarantined=quarantined, failed=0, duplicate=0,
        )  # fmt: skip
    rows.run("held", date(2026, 5, 6), discovered=900, scored=0, quarantined=900, failed=0, duplicate=0)
    run_id = rows.run()
    found = figures.gather(pool, run_id, [run_id]).usual
    assert (found.nights, found.discovered, found.bad_share) == (3, 200, pytest.approx(0.02))


def test_classes_take_turns_on_the_contact_sheet_and_the_normal_one_is_not_on_it(rows: Rows, pool: sa.Engine) -> None:
    run_id = rows.run()
    for step in range(5):
        rows.scored(run_id, "COVID-19", 0.9 + step / 100)
        rows.scored(run_id, "NORMAL", 0.99)
    rows.scored(run_id, "PNEUMONIA", 0.4)
    shown = figures.contact_sheets(pool, [run_id], images=3).highest
    assert [(one.caption, pytest.approx(one.probability, abs=1e-6)) for one in shown] == [
        ("COVID-19", 0.94), ("PNEUMONIA", 0.4), ("COVID-19", 0.93),
    ]  # fmt: skip


def test_a_rare_reason_is_shown_along_with_a_frequent_one(rows: Rows, pool: sa.Engine) -> None:
    run_id = rows.run()
    for _ in range(9):
        rows.image(run_id, "quarantined", "pale", failed=("contrast",))
    rows.image(run_id, "quarantined", "tiny", failed=("size",))
    rows.image(run_id, "failed", "gone")
    shown = figures.contact_sheets(pool, [run_id], images=3).unscored
    assert {(one.caption, one.detail) for one in shown} == {("contrast", "pale"), ("size", "tiny"), ("failed", "gone")}


def test_no_text_for_people_holds_an_object_key(pool: sa.Engine, settled: list[UUID]) -> None:
    outcome = figures.RunOutcome("held", "2 of 8 images (25%) failed an expectation", notes=("Keras scored.",))
    found = figures.gather(pool, settled[0], settled, outcome)
    sheets = figures.contact_sheets(pool, settled)
    assert all(one.key.startswith(SECRET) for one in sheets.references)
    texts = [
        report.render(found, sheets, {}, report.Links()),
        report.summary_markdown(found, "http://report", None),
        report.headline(found),
        repr((found, sheets, report.class_table(found), report.reason_table(found))),
    ]
    assert not any("DOE" in text or SECRET in text for text in texts)


class Outside(HTMLParser):
    """Collects what a page would load, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {name: value or "" for name, value in attrs if name in ("src", "srcset", "data", "xlink:href")}
        self.found += [value for value in loads.values() if not value.startswith("data:")]
        self.found += [tag] if tag in ("script", "link", "iframe", "object") else []


def test_the_page_needs_no_script_and_no_other_file(pool: sa.Engine, settled: list[UUID]) -> None:
    sheets = figures.contact_sheets(pool, settled)
    jpeg = thumbnails.shrink(np.full((90, 60), 80, np.uint8))
    pictures = {one.image_id: thumbnails.Thumbnail(jpeg) for one in sheets.references}
    found = figures.gather(pool, settled[0], settled, figures.RunOutcome("completed"))
    html = report.render(found, sheets, pictures, report.Links("http://docs", "http://run"), "Europe/Berlin")
    page = Outside()
    page.feed(html)
    assert page.found == []
    assert "url(" not in html
    assert "@import" not in html
    assert html.count("data:image/jpeg;base64,") == len(sheets.references)
    assert "Research use, not for diagnosis" in html


def test_a_model_trained_on_made_data_has_a_prominent_warning_on_real_radiographs(
    db: Database, pool: sa.Engine
) -> None:
    rows = Rows(db, made_model=True)
    run_id = rows.run()
    rows.scored(run_id, "NORMAL", 0.9, made=True)
    mixed = figures.gather(pool, run_id, [run_id])
    assert "Nothing here is about a patient" in (report.made_data_warning(mixed) or "")
    rows.scored(run_id, "NORMAL", 0.9)
    found = figures.gather(pool, run_id, [run_id], figures.RunOutcome("completed"))
    warning = report.made_data_warning(found) or ""
    assert "means nothing (1 of the images that it scored are real)" in warning
    assert 'class="banner"' in report.render(found, figures.ContactSheets(), {}, report.Links())
    assert warning in report.summary_markdown(found, None, None)
    assert "trained on made data" in report.headline(found)


def test_the_headline_says_what_happened_in_one_sentence(pool: sa.Engine, settled: list[UUID]) -> None:
    found = figures.gather(pool, settled[0], settled, figures.RunOutcome("completed"))
    assert re.fullmatch(
        r"scored 4 of 8 in \d+ s \(\d+ img/s\) with compact-cnn-1: 2 COVID-19, 1 NORMAL, 1 PNEUMONIA; "
        r"2 quarantined \(1 contrast, 1 grey\), 1 failed, 1 duplicate; "
        r"2 of them were decided by an earlier run that stopped",
        report.headline(found),
    )


def test_the_headline_of_a_held_run_begins_with_why(pool: sa.Engine, settled: list[UUID]) -> None:
    found = figures.gather(pool, settled[0], settled, figures.RunOutcome("held", "3 of 8 images (38%) are bad"))
    assert report.headline(found).startswith("held, nothing published: 3 of 8 images (38%) are bad; scored 4 of 8")


def test_a_night_with_nothing_new_says_so_and_has_a_page(rows: Rows, pool: sa.Engine) -> None:
    run_id = rows.run()
    found = figures.gather(pool, run_id, [run_id], figures.RunOutcome("completed", skipped=2))
    assert report.headline(found).startswith("nothing new to score")
    assert "2 objects skipped" in report.headline(found)
    assert "Nothing new to score" in report.render(found, figures.ContactSheets(), {}, report.Links())


def test_words_from_outside_cannot_become_markup(pool: sa.Engine, settled: list[UUID]) -> None:
    found = figures.gather(pool, settled[0], settled, figures.RunOutcome("failed", "<script>alert(1)</script>"))
    assert "<script" not in report.render(found, figures.ContactSheets(), {}, report.Links())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "under 1 s"), (41, "41 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_are_given_in_two_units(seconds: float, words: str) -> None:
    assert report.duration(seconds) == words


def test_each_expectation_is_explained_by_its_own_words_though_they_hold_semicolons(
    rows: Rows, pool: sa.Engine
) -> None:
    run_id = rows.run()
    words = "it spans 0.04; at least 0.10 is expected", "1.2 bits; size: at least 3.4 are expected"
    rows.image(run_id, "quarantined", *words, failed=("contrast", "histogram"))
    found = figures.gather(pool, run_id, [run_id]).quarantine
    assert [(one.name, one.example) for one in found] == [("contrast", words[0]), ("histogram", words[1])]
    (shown,) = figures.contact_sheets(pool, [run_id]).unscored
    assert (shown.caption, shown.detail) == ("contrast, histogram", words[0])


def test_an_old_reason_that_could_not_be_split_is_shown_whole(rows: Rows, pool: sa.Engine) -> None:
    run_id = rows.run()
    rows.image(run_id, "quarantined", None, None, "it is blank and small", failed=("size", "not-blank"))
    found = figures.gather(pool, run_id, [run_id]).quarantine
    assert [(one.name, one.images, one.first, one.example) for one in found] == [
        ("not-blank", 1, 0, "it is blank and small"),
        ("size", 1, 1, "it is blank and small"),
    ]
    (shown,) = figures.contact_sheets(pool, [run_id]).unscored
    assert (shown.caption, shown.detail) == ("size, not-blank", "it is blank and small")


def test_reports_and_folders_are_stored_with_the_types_that_browsers_expect(store: Store, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_text("<p>é</p>", encoding="utf-8")
    (tmp_path / "static" / "style.css").write_text("p {}", encoding="utf-8")
    run_id = uuid4()
    key = report.publish(store, NIGHT, run_id, "<p>ü</p>")
    assert key == f"reports/2026-05-07/{run_id}/report.html"
    assert publishing.publish_folder(store, tmp_path, f"{report.folder(NIGHT, run_id)}data-docs/") == 2
    style_key = f"{report.folder(NIGHT, run_id)}data-docs/static/style.css"
    style = store.client.get_object(Bucket=store.bucket, Key=style_key)
    page = store.client.get_object(Bucket=store.bucket, Key=key)
    assert (page["ContentType"], style["ContentType"]) == ("text/html; charset=utf-8", "text/css; charset=utf-8")
    assert store.read(key).decode() == "<p>ü</p>"


def test_links_open_in_a_browser_where_an_address_is_set() -> None:
    key = "reports/2026-05-07/x/report.html"
    with_address = Settings(_env_file=None, s3_bucket="b", reports_url="https://cxr.example/reports/")
    assert publishing.link(with_address, key) == "https://cxr.example/reports/2026-05-07/x/report.html"
    without = Settings(_env_file=None, s3_bucket="b", reports_url=None)
    assert publishing.link(without, key) == f"s3://b/{key}"
