"""The nightly scoring flow: from new objects in the bucket to published predictions.

This file is an outline: tasks/ does the work of each step.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import artifacts, heatmaps, monitoring
from flows.runs import SHOWN_SETTINGS, Run
from flows.shadow import shadow_scoring
from flows.work import flow_run_id, step
from infra.settings import Settings
from infra.version import code_version
from models.radiographs.radiograph import Limits
from tasks.nights import report as night_report
from tasks.nights.figures import RunOutcome, gather
from tasks.pages.wording import counted
from tasks.radiographs import fetching
from tasks.radiographs.prefetch import prefetch
from tasks.registry import model_versions
from tasks.scoring import discovery, inference, intake, predictions, runs
from tasks.validation import data_docs
from tasks.validation.checklist import checklist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prefect.client.schemas.objects import State

    from models.serving.runtime import Runtime
    from tasks.nights.figures import RunFigures
    from tasks.radiographs.fetching import ScoringInput
    from tasks.scoring.discovery import Shard
    from tasks.scoring.shadow import Shadow


def _today(settings: Settings) -> date:
    return datetime.now(ZoneInfo(settings.timezone)).date()


@flow(
    name="nightly_scoring",
    flow_run_name=lambda: f"scoring {flow_run.parameters.get('night') or _today(Settings.load())}",
    description=__doc__,
    persist_result=False,
    validate_parameters=True,
)
def nightly_scoring(
    night: date | None = None,
    prefixes: list[str] | None = None,
    discover: bool = True,  # noqa: FBT001, FBT002 - a flow parameter, shown by name in the UI
) -> State[Any]:
    """Score what is new in the bucket.

    Args:
        night: the date for date-patterned prefixes and for the rows; today in CXR_TIMEZONE if not given.
        prefixes: where to look; CXR_PREFIXES if not given. May hold date patterns such as incoming/%Y/%m/%d/.
        discover: list the bucket; if off, only images that already wait are scored (after `cxr replay`).
    """
    settings = Settings.load()
    night = night or _today(settings)
    run = Run(settings, night, flow_run_id())
    return run.under_lock(
        lambda: score_night(run, prefixes or settings.prefixes, discover=discover),
        "another run is scoring this bucket; it or the next run scores the new images",
    )


def score_night(run: Run, prefixes: Sequence[str], *, discover: bool) -> State[Any]:
    """Run the night's steps in order."""
    take_over(run)
    champion = run.retrying_database(model_versions.champion, run.pool)
    if discover:
        find_new_images(run, discovery.expand(prefixes, run.date, run.settings.look_back_days))
    shards = claim_shards(run, retry_failed=discover)
    if shards:
        score_shards(run, champion, shards)
    state, headline = conclude(run)
    heatmaps.explain_highest(run, champion)
    return Failed(name="Held", message=headline) if state == "held" else Completed(message=headline)


def take_over(run: Run) -> None:
    """Write the run's row, take over the work of dead runs of this bucket, and make sure that partitions exist."""
    shown_settings = run.settings.model_dump(mode="json", include=SHOWN_SETTINGS)
    taken_over = run.retrying_database(
        runs.start, run.pool, run.run_id, flow_run.id, run.settings.bucket, run.date, code_version(), shown_settings
    )
    run.run_ids += taken_over
    for dead in taken_over:
        run.log.warning("run %s: takes over the unfinished work of run %s", run.run_id, dead)
    run.retrying_database(runs.ensure_partitions, run.pool)


@step("find new images")
def find_new_images(run: Run, prefixes: list[str]) -> None:
    """List the bucket and write a row for each new object."""
    found = run.retrying_database(discovery.discover, run.pool, run.store, run.settings, prefixes)
    run.skipped = found.skipped
    if not found.listed and not found.skipped:
        run.note(["there are no objects at all under the listed prefixes; if that is unexpected, check CXR_PREFIXES"])
    run.log.info(
        "run %s: %s listed under %s, %d new; %d skipped because of their suffix",
        run.run_id, counted(found.listed, "object"), counted(len(prefixes), "prefix"), found.new, found.skipped,
    )  # fmt: skip


def claim_shards(run: Run, *, retry_failed: bool) -> list[Shard]:
    """Claim all waiting images, in shards."""
    shards: list[Shard] = run.retrying_database(
        discovery.claim, run.pool, run.settings, run.run_id, retry_failed=retry_failed
    )
    run.claimed = sum(one.images for one in shards)
    run.log.info("run %s: %s to score in %s", run.run_id, counted(run.claimed, "image"), counted(len(shards), "shard"))
    return shards


@step("load champion")
def load_champion(run: Run, champion: model_versions.ModelVersion) -> Runtime:
    """Fetch, verify and smoke-test the champion."""
    from models.serving.runtime import load_runtime

    settings = run.settings
    folder = model_versions.fetch(run.store, champion, settings.cache)
    loaded = load_runtime(folder, champion.artifact_sha256, settings.cache, settings.runtime, settings.batch_size)
    run.retrying_database(runs.describe, run.pool, run.run_id, champion.model_version, loaded.name)
    run.log.info("run %s: %s scores with %s", run.run_id, champion.model_version, loaded.name)
    run.note(loaded.notes)
    return loaded


def score_shards(run: Run, champion: model_versions.ModelVersion, shards: list[Shard]) -> None:
    """Score shard after shard; the next shards are fetched while the current one is scored."""
    from tasks.validation import verdicts

    scorer = load_champion(run, champion)
    lineage = predictions.Lineage(
        run.run_id, run.date, champion.model_version, champion.preprocessing_hash, code_version(), scorer.name
    )
    limits = Limits(run.settings.max_bytes, run.settings.max_pixels)
    progress = artifacts.Progress("scoring-progress", run.claimed)

    def begun(some: Iterable[Shard]) -> Iterator[tuple[Shard, list[fetching.Reference]]]:
        for one in some:
            yield one, run.retrying_database(discovery.begin, run.pool, run.run_id, one.number)

    def score(shard: Shard, taken: list[ScoringInput]) -> None:
        score_shard(run, shard.number, taken, lineage, scorer, limits, shadow)
        with run.best_effort("progress could not be shown"):
            progress.add(len(taken))

    workers = fetching.thread_count(run.settings.intake_threads)
    with (
        shadow_scoring(run, champion) as shadow,
        intake.IntakePool(run.store, scorer.spec, limits, workers, shadow.own_spec if shadow else None) as pool,
    ):
        unsuspected = begun(one for one in shards if not one.suspect)
        with prefetch(pool.shards(unsuspected), run.settings.queue_shards) as ahead:
            verdicts.prepare(limits)
            for shard, taken in ahead:
                score(shard, taken)
        # Images that may have killed a run are fetched last, when nothing else is running.
        for shard, references in begun(one for one in shards if one.suspect):
            score(shard, pool.shard(references))
    run.note(scorer.notes)


@step("score shard", run_name="score shard {shard}")
def score_shard(
    run: Run, shard: int, taken: Sequence[ScoringInput], lineage: predictions.Lineage, scorer: Runtime, limits: Limits,
    shadow: Shadow | None,
) -> None:  # fmt: skip
    """Validate, score and commit one shard."""
    from tasks.validation import verdicts

    fetched = [one for one in taken if one.failure is None]
    validated = verdicts.validate(
        [one.image_id for one in fetched], [one.measurement for one in fetched if one.measurement], limits, shard
    )
    accepted_ids = {one.image_id for one in validated.verdicts if one.accepted}
    accepted = [one for one in fetched if one.image_id in accepted_ids]
    contents = [one.measurement.sha256 for one in accepted if one.measurement and one.measurement.sha256]
    known = run.retrying_database(predictions.known_content, run.pool, contents)
    results = [
        *inference.unfetched(taken),
        *inference.quarantined(fetched, validated.verdicts),
        *inference.score(accepted, scorer, known),
    ]
    run.retrying_database(run.lock.renew)
    counts = run.retrying_database(predictions.commit, run.pool, lineage, results)
    if shadow:
        with run.best_effort("the shadow did not get this shard"):
            shadow.hand_over(lineage, accepted, results)
    run.log.info(
        "run %s shard %d: %s", run.run_id, shard, ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    )
    run.shards += 1
    run.kept_for_docs = data_docs.keep_for_docs(run.kept_for_docs, validated)


@step("conclude")
def conclude(run: Run) -> tuple[str, str]:
    """Reconcile the counts, judge the share of bad images, write the report, and publish or hold the night.

    Returns:
        The run's state (completed or held), and one sentence that says what happened.

    Raises:
        RunError: the counts do not add up; nothing is published.
    """
    own = run.retrying_database(runs.count, run.pool, [run.run_id])
    whole = run.retrying_database(runs.count, run.pool, run.run_ids)
    if whole.pending:
        raise runs.RunError(
            f"{whole.pending} of {whole.discovered} images have no state: the counts do not add up, "
            "nothing is published"
        )
    if own.discovered < run.claimed:
        raise runs.RunError(
            f"{run.claimed} images were claimed, but only {own.discovered} are accounted for: nothing is published"
        )
    held = run.retrying_database(runs.judge, run.pool, run.settings, run.run_ids)
    limits = Limits(run.settings.max_bytes, run.settings.max_pixels)
    wording = {check.name: check.words for check in checklist(limits)} if whole.discovered else None
    outcome = RunOutcome("held" if held else "completed", held, run.skipped, tuple(run.notes))
    found = run.retrying_database(gather, run.pool, run.run_id, run.run_ids, outcome, wording)
    docs_key, report_key = write_reports(run, found) if whole.discovered else (None, None)
    headline = night_report.headline(found)
    if not whole.discovered:
        headline = "; ".join([headline, *run.notes])
    if held:
        headline += f". Look at the report, then: cxr release {run.run_id} --reason '...', or cxr replay"
    run.retrying_database(
        runs.finish, run.pool, run.run_id, outcome.state, headline, own, run.skipped, report_key, docs_key
    )
    if whole.discovered:
        with run.best_effort("the artifacts could not be shown"):
            artifacts.show(run.settings, found, report_key, docs_key)
    run.log.log(logging.ERROR if held else logging.INFO, "run %s: %s", run.run_id, headline)
    if not held:
        monitoring.watch(run, scored=whole.scored)
    return outcome.state, headline


def write_reports(run: Run, found: RunFigures) -> tuple[str | None, str | None]:
    """Store the Data Docs and the report; return their keys, None for one that could not be stored."""
    docs_key = report_key = None
    with ThreadPoolExecutor(1, thread_name_prefix="contact-sheets") as executor:
        sheets = executor.submit(artifacts.contact_sheets, run.pool, run.store, run.settings, run.run_ids)
        with run.best_effort("the Data Docs could not be written"):
            if run.kept_for_docs:
                docs_key = artifacts.write_data_docs(run.store, found, run.run_id, run.kept_for_docs, run.shards)
        with run.best_effort("the report could not be written"):
            run.report = artifacts.Report(found, *sheets.result(), docs_key)
            report_key = artifacts.write_report(run.store, run.settings, found, run.run_id, sheets.result(), docs_key)
    return docs_key, report_key
