"""What a night promises when nothing breaks: every object in one state, lineage on each row, and words for ops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.version import code_version
from tests.support.flow_runs import artifacts, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import State

    from models.phantoms.spoiled import SpoiledFile
    from tests.support.artifacts import Artifact
    from tests.support.databases import Database
    from tests.support.site import Site

ALL_FINE = {"CXR_MAX_BAD_SHARE_RUN": "1", "CXR_MAX_BAD_SHARE_SHARD": "1"}
EXPLAINED = 4
ODD_KEY = "incoming/ward 3/café + 50%25 & Ω?.png"


class MixedNight:
    """A night on phantoms of all formats, spoiled files and a few oddities; run once, looked at by many tests."""

    def __init__(self, site: Site, good: list[str], spoiled: list[SpoiledFile], patients: set[str]) -> None:
        self.site, self.good, self.spoiled, self.patients = site, good, spoiled, patients
        process = site.start("score", "--date", "2026-05-07")
        self.output = site.finish(process)
        self.returncode = process.returncode
        (self.run,) = site.runs()


@pytest.fixture(scope="module")
def mixed(module_db: Database, new_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> MixedNight:
    from models.phantoms.phantom import FORMATS, write_phantoms
    from models.phantoms.spoiled import write_spoiled_files

    site = new_site(module_db)
    site.environment |= ALL_FINE | {"CXR_SHARD_SIZE": "16", "CXR_EXPLAIN_HIGHEST": str(EXPLAINED)}
    folder = tmp_path_factory.mktemp("mixed")
    made = write_phantoms(folder / "good", len(FORMATS), seed=5, size=320)
    spoiled = write_spoiled_files(folder / "bad", seed=5)
    site.upload(folder / "good", "incoming/good/")
    site.upload(folder / "bad", "incoming/bad/")
    site.store.write(ODD_KEY, made[0].path.read_bytes() + b"another content, the same picture")
    good = [f"incoming/good/{one.path.relative_to(folder / 'good').as_posix()}" for one in made]
    return MixedNight(site, good, spoiled, {one.patient_id for one in made})


def states(night: MixedNight) -> dict[str, tuple[str, list[str], str | None]]:
    rows = night.site.db.rows(
        """select object_key, state, failed_expectations, cxr.reason_text(failed_expectations, reasons)
           from cxr.images"""
    )
    assert len({key for key, *_ in rows}) == len(rows)
    return {key: (state, failed, reason) for key, state, failed, reason in rows}


def test_every_object_ends_in_one_state_and_the_counts_reconcile(mixed: MixedNight) -> None:
    assert mixed.returncode == 0, mixed.output
    mixed.site.reconcile()
    assert mixed.run["discovered"] == len(mixed.good) + 1 + len(mixed.spoiled)
    assert mixed.run["skipped"] == 1  # labels.csv
    assert mixed.run["state"] == "completed"
    assert mixed.run["night"] == "2026-05-07"


def test_good_images_of_every_format_and_oddly_named_ones_are_scored(mixed: MixedNight) -> None:
    ends = states(mixed)
    misleading = [f"incoming/bad/{one.path.name}" for one in mixed.spoiled if one.fails is None]
    assert len(misleading) == 3
    assert {key: ends[key] for key in [*mixed.good, *misleading, ODD_KEY] if ends[key][0] != "scored"} == {}


def test_each_spoiled_file_is_quarantined_for_the_check_that_it_was_made_to_fail(mixed: MixedNight) -> None:
    ends = states(mixed)
    for one in mixed.spoiled:
        state, failed, reason = ends[f"incoming/bad/{one.path.name}"]
        if one.fails is not None:
            assert (state, one.fails in failed) == ("quarantined", True), (one.path.name, one.fails, failed, reason)
            assert reason
            assert f"{one.fails}: " in reason


def test_each_row_says_what_made_it(mixed: MixedNight, champion: Artifact) -> None:
    rows = mixed.site.db.rows(
        """select p.run_id::text, p.model_version, p.preprocessing_hash, p.code_version, p.runtime, p.night::text,
                  p.source_bucket, p.source_key = i.object_key, p.source_etag = i.etag,
                  p.content_sha256 = i.content_sha256, p.made,
                  p.scored_at between r.started_at and r.finished_at, cardinality(p.probabilities),
                  p.top_probability = (select max(x) from unnest(p.probabilities) x)
           from cxr.predictions p join cxr.images i using (image_id) join cxr.runs r on r.run_id = p.run_id"""
    )
    about = champion.metadata
    assert set(rows) == {
        (
            mixed.run["run_id"], about.model_version, about.preprocessing.hash, code_version(), "openvino-f32",
            "2026-05-07", mixed.site.environment["CXR_S3_BUCKET"], True, True, True, True, True, 3, True,
        )
    }  # fmt: skip
    assert len(rows) == mixed.run["scored"]


def test_the_prefect_ui_shows_progress_summary_tables_and_links(mixed: MixedNight) -> None:
    shown = artifacts(mixed.run["run_id"])
    assert set(shown) == {
        "scoring-progress", "scoring-summary", "scoring-classes", "scoring-reasons", "scoring-report",
        "scoring-data-docs",
    }  # fmt: skip
    assert shown["scoring-progress"] == 100.0
    assert f"| {mixed.run['discovered']} | {mixed.run['scored']} |" in shown["scoring-summary"]
    assert "not-blank" in shown["scoring-reasons"]
    assert f"http://reports.invalid/2026-05-07/{mixed.run['run_id']}/report.html" in shown["scoring-report"]


def test_the_final_state_says_what_happened(
    mixed: MixedNight, flow_run_state: Callable[[str], State[Any]], champion: Artifact
) -> None:
    state = flow_run_state(mixed.run["run_id"])
    assert state.is_completed()
    assert state.message == mixed.run["message"]
    assert f"scored {mixed.run['scored']} of {mixed.run['discovered']} in " in str(state.message)
    assert f"with {champion.metadata.model_version}" in str(state.message)
    assert re.search(r"24 quarantined \(.*\d not-blank.*\), 0 failed, 0 duplicates", str(state.message))
    assert f"Completed: {state.message}" in mixed.output


def test_report_and_data_docs_are_in_the_bucket(mixed: MixedNight) -> None:
    folder = f"reports/2026-05-07/{mixed.run['run_id']}/"
    keys = mixed.site.keys(folder)
    assert mixed.run["report_key"] == f"{folder}report.html"
    assert {mixed.run["report_key"], mixed.run["data_docs_key"]} <= set(keys)
    assert f"{mixed.run['scored']:,}" in mixed.site.store.read(mixed.run["report_key"]).decode()


def test_the_highest_scores_of_the_report_show_where_the_model_looked(mixed: MixedNight) -> None:
    page = mixed.site.store.read(mixed.run["report_key"]).decode()
    assert page.count('alt="The same with the heat map for ') == EXPLAINED
    assert "There are no heat maps" not in page
    assert f"{EXPLAINED} heat maps in the report" in "\n".join(logs(mixed.run["run_id"]))
    assert not list((Path(mixed.site.environment["CXR_HOME"]) / "cache" / "explaining").iterdir()), "no pixels are left"


def test_no_object_key_and_no_patient_is_named_in_logs_artifacts_or_reports(mixed: MixedNight) -> None:
    """A key's every part counts: folders, file names and the patient ids in them."""
    secret = {part for key in states(mixed) for part in (key, Path(key).name, Path(key).stem)} | mixed.patients
    secret -= {"black", "white", "grey", "text", "empty", "bomb", "tiny", "strip", "page", "drawing", "meadow"}  # words
    secret -= {"no-suffix", "no-patient", "underexposed", "overexposed", "gif", "tiff", "bmp"}
    texts = {f"artifact {name}": str(data) for name, data in artifacts(mixed.run["run_id"]).items()}
    texts |= {f"bucket {key}": mixed.site.store.read(key).decode() for key in mixed.site.keys("reports/")}
    logged = logs(mixed.run["run_id"])
    assert any("shard 0: " in line for line in logged), "the log has a line for each shard"
    texts |= {"log": "\n".join(logged), "output": mixed.output}
    assert [(where, word) for where, text in texts.items() for word in sorted(secret) if word in text] == []


def test_a_second_run_finds_nothing_new_and_changes_no_row(
    mixed: MixedNight, flow_run_state: Callable[[str], State[Any]]
) -> None:
    site = mixed.site
    before = site.db.rows("select i from cxr.images i order by 1"), site.db.rows("select p from cxr.predictions p")
    state = site.night()
    assert state.is_completed()
    run = site.runs()[-1]
    assert run["discovered"] == 0
    assert str(state.message).startswith("nothing new to score, done in ")
    assert flow_run_state(run["run_id"]).message == state.message == run["message"]
    assert (site.db.rows("select i from cxr.images i order by 1"), site.db.rows("select p from cxr.predictions p")) == (
        before
    )


def test_the_same_content_under_another_key_is_a_duplicate_that_points_to_the_scored_one(mixed: MixedNight) -> None:
    site = mixed.site
    data = site.store.read(mixed.good[0])
    site.store.write("incoming/copies/one.png", data)
    site.store.write("incoming/copies/two.png", data)
    before = site.db.value("select count(*) from cxr.predictions")
    state = site.night()
    assert "0 quarantined, 0 failed, 2 duplicates" in str(state.message)
    pointers = site.db.rows(
        "select f.object_key, f.state from cxr.images i join cxr.images f on f.image_id = i.duplicate_of "
        "where i.object_key like 'incoming/copies/%%' and i.state = 'duplicate'"
    )
    assert pointers == [(mixed.good[0], "scored")] * 2
    assert site.db.value("select count(*) from cxr.predictions") == before
    seen = site.predictions()
    assert seen["incoming/copies/one.png"] == seen[mixed.good[0]]
    site.reconcile()


def test_an_object_that_was_replaced_is_scored_again(mixed: MixedNight) -> None:
    site = mixed.site
    key = mixed.good[1]
    old = site.predictions()[key]
    site.store.write(key, site.store.read("incoming/bad/png-named.jpg") + b"other bytes")
    assert site.night().is_completed()
    assert site.db.rows("select state from cxr.images where object_key = %s", key) == [("scored",), ("scored",)]
    assert site.predictions()[key] != old
    site.reconcile()


def test_real_radiographs_are_all_scored_and_none_is_quarantined(site: Site, xrays: Path) -> None:
    site.environment["CXR_RUNTIME"] = "auto"
    uploaded = site.upload(xrays / "originals")
    state = site.night()
    assert state.is_completed(), state.message
    assert uploaded == 36
    assert site.db.rows("select object_key, state, reasons from cxr.images where state <> 'scored'") == []
    assert site.db.value("select count(*) from analysis.latest_prediction") == 36
    assert "scored 36 of 36" in str(state.message)


def test_a_night_whose_prefix_holds_nothing_at_all_says_so(site: Site) -> None:
    state = site.night(prefixes=["incomming/"])
    assert state.is_completed()
    assert "check CXR_PREFIXES" in str(state.message)
