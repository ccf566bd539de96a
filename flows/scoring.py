"""The nightly scoring flow: from new objects in the bucket to published predictions.

Reads like a table of contents; how a step is done is in tasks/.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import artifacts, heatmaps, monitoring
from flows.runs import SHOWN_SETTINGS, Run
from flows.shadow import beside
from flows.work import as_is
from infra.settings import Settings
from infra.version import code_version
from models.radiographs.radiograph import Limits
from tasks.nights import report
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
    from tasks.radiographs.fetching import Intake
    from tasks.scoring.discovery import Shard
    from tasks.scoring.shadow import Shadow

    ShardWork = tuple[list[Intake], predictions.Lineage, Runtime, Limits, Shadow | None]


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
    discover: bool = True,  # noqa: FBT001, FBT002 - a flow's parameter, shown by name in the UI
) -> State[Any]:
    """Score what is new in the bucket.

    Args:
        night: the date that date-patterned prefixes and the rows are about; today in CXR_TIMEZONE if not given.
        prefixes: where to look; CXR_PREFIXES if not given. May hold date patterns such as incoming/%Y/%m/%d/.
        discover: off, only what is already waiting is scored (after `cxr replay`).
    """
    settings = Settings.load()
    night = night or _today(settings)
    this = Run(settings, night, UUID(str(flow_run.id)) if flow_run.id else uuid4())
    return this.alone(
        lambda: score_night(this, prefixes or settings.prefixes, discover=discover),
        "another run is scoring this bucket; what is new is scored there or by the next run",
    )


def score_night(this: Run, prefixes: Sequence[str], *, discover: bool) -> State[Any]:
    """Do the night's steps in order."""
    take_over(this)
    champion = this.patiently(lambda: model_versions.champion(this.pool))
    if discover:
        find_new_images(this, discovery.expand(prefixes, this.date, this.settings.look_back_days))
    shards = claim_shards(this, retry_failed=discover)
    if shards:
        score_shards(this, champion, shards)
    state, headline = conclude(this)
    heatmaps.explain_highest(this, as_is(champion))
    return Failed(name="Held", message=headline) if state == "held" else Completed(message=headline)


def take_over(this: Run) -> None:
    """Write the run's row, adopt what dead runs of this bucket left, and see that there are partitions to write to."""
    kept = this.settings.model_dump(mode="json", include=SHOWN_SETTINGS)
    taken_over = this.patiently(
        lambda: runs.start(this.pool, this.run_id, flow_run.id, this.settings.bucket, this.date, code_version(), kept)
    )
    this.run_ids += taken_over
    for dead in taken_over:
        this.log.warning("run %s: takes over what run %s left unfinished", this.run_id, dead)
    this.patiently(lambda: runs.ensure_partitions(this.pool))


@task(name="find new images", cache_policy=NO_CACHE, persist_result=False)
def find_new_images(this: Run, prefixes: list[str]) -> None:
    """List the bucket and write a row for each object that is not known yet."""
    found = this.patiently(lambda: discovery.discover(this.pool, this.store, this.settings, prefixes))
    this.skipped = found.skipped
    if not found.listed and not found.skipped:
        this.note(
            ["nothing at all lies under the prefixes that were listed; if that is a surprise, check CXR_PREFIXES"]
        )
    this.log.info(
        "run %s: %s listed under %s, %d new; %d skipped, no images by their suffix",
        this.run_id, counted(found.listed, "object"), counted(len(prefixes), "prefix"), found.new, found.skipped,
    )  # fmt: skip


def claim_shards(this: Run, *, retry_failed: bool) -> list[Shard]:
    """Claim everything that waits, in shards."""
    shards: list[Shard] = this.patiently(
        lambda: discovery.claim(this.pool, this.settings, this.run_id, retry_failed=retry_failed)
    )
    this.claimed = sum(one.images for one in shards)
    this.log.info(
        "run %s: %s to score in %s", this.run_id, counted(this.claimed, "image"), counted(len(shards), "shard")
    )
    return shards


@task(name="load champion", cache_policy=NO_CACHE, persist_result=False)
def load_champion(this: Run, wanted: model_versions.ModelVersion) -> Runtime:
    """Fetch, verify and smoke-test the champion."""
    from models.serving.runtime import load_runtime

    settings = this.settings
    folder = model_versions.fetch(this.store, wanted, settings.cache)
    loaded = load_runtime(folder, wanted.artifact_sha256, settings.cache, settings.runtime, settings.batch_size)
    this.patiently(lambda: runs.describe(this.pool, this.run_id, wanted.model_version, loaded.name))
    this.log.info("run %s: %s scores with %s", this.run_id, wanted.model_version, loaded.name)
    this.note(loaded.notes)
    return loaded


def score_shards(this: Run, champion: model_versions.ModelVersion, shards: list[Shard]) -> None:
    """Score shard after shard; the next one is taken in while the last one is scored."""
    from tasks.validation import verdicts as validation

    scorer = load_champion(this, as_is(champion))
    lineage = predictions.Lineage(
        this.run_id, this.date, champion.model_version, champion.preprocessing_hash, code_version(), scorer.name
    )
    limits = Limits(this.settings.max_bytes, this.settings.max_pixels)
    progress = artifacts.Progress("scoring-progress", this.claimed)

    def begun(some: Iterable[Shard]) -> Iterator[tuple[Shard, list[fetching.Reference]]]:
        for one in some:
            yield one, this.patiently(partial(discovery.begin, this.pool, this.run_id, one.number))

    def score(shard: Shard, taken: list[Intake]) -> None:
        score_shard(this, shard.number, as_is((taken, lineage, scorer, limits, shadow)))
        with this.best_effort("progress could not be shown"):
            progress.add(len(taken))

    workers = fetching.threads(this.settings.intake_threads)
    with (
        beside(this, champion) as shadow,
        intake.IntakePool(this.store, scorer.spec, limits, workers, shadow.own_spec if shadow else None) as pool,
    ):
        unsuspected = begun(one for one in shards if not one.suspect)
        with prefetch(pool.shards(unsuspected), this.settings.queue_shards) as ahead:
            validation.prepare(limits)
            for shard, taken in ahead:
                score(shard, taken)
        # What runs may have died of is taken in when nothing else is at work.
        for shard, references in begun(one for one in shards if one.suspect):
            score(shard, pool.shard(references))
    this.note(scorer.notes)


@task(name="score shard", task_run_name="score shard {shard}", cache_policy=NO_CACHE, persist_result=False)
def score_shard(this: Run, shard: int, work: ShardWork) -> None:
    """Validate, score and commit one shard."""
    from tasks.validation import verdicts as validation

    taken, lineage, scorer, limits, shadow = work
    fetched = [one for one in taken if one.failure is None]
    verdicts = validation.validate(
        [one.image_id for one in fetched], [one.measurement for one in fetched if one.measurement], limits, shard
    )
    accepted_ids = {one.image_id for one in verdicts.verdicts if one.accepted}
    accepted = [one for one in fetched if one.image_id in accepted_ids]
    contents = [one.measurement.sha256 for one in accepted if one.measurement and one.measurement.sha256]
    known = this.patiently(lambda: predictions.known_content(this.pool, contents))
    results = [
        *inference.unfetched(taken),
        *inference.quarantined(fetched, verdicts.verdicts),
        *inference.score(accepted, scorer, known),
    ]
    this.patiently(this.lock.renew)
    counts = this.patiently(lambda: predictions.commit(this.pool, lineage, results))
    if shadow:
        with this.best_effort("the shadow did not get this shard"):
            shadow.hand_over(lineage, accepted, results)
    this.log.info(
        "run %s shard %d: %s", this.run_id, shard, ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    )
    this.shards += 1
    this.kept_for_docs = data_docs.keep_for_docs(this.kept_for_docs, verdicts)


@task(name="conclude", cache_policy=NO_CACHE, persist_result=False)
def conclude(this: Run) -> tuple[str, str]:
    """Reconcile the counts, judge the share of bad images, write the report, and publish or hold the night.

    Returns:
        The run's state, completed or held, and what happened in one sentence.

    Raises:
        RunError: an image has no state; nothing is published.
    """
    own = this.patiently(lambda: runs.count(this.pool, [this.run_id]))
    whole = this.patiently(lambda: runs.count(this.pool, this.run_ids))
    if whole.pending:
        raise runs.RunError(
            f"{whole.pending} of {whole.discovered} images have no state: the counts do not add up, "
            "nothing is published"
        )
    if own.discovered < this.claimed:
        raise runs.RunError(
            f"{this.claimed} images were claimed, {own.discovered} are accounted for: nothing is published"
        )
    held = this.patiently(lambda: runs.judge(this.pool, this.settings, this.run_ids))
    limits = Limits(this.settings.max_bytes, this.settings.max_pixels)
    wording = {check.name: check.words for check in checklist(limits)} if whole.discovered else None
    outcome = RunOutcome("held" if held else "completed", held, this.skipped, tuple(this.notes))
    found = this.patiently(lambda: gather(this.pool, this.run_id, this.run_ids, outcome, wording))
    docs_key, report_key = write_reports(this, found) if whole.discovered else (None, None)
    headline = report.headline(found)
    if not whole.discovered:
        headline = "; ".join([headline, *this.notes])
    if held:
        headline += f". Look at the report, then: cxr release {this.run_id} --reason '...', or cxr replay"
    this.patiently(
        lambda: runs.finish(this.pool, this.run_id, outcome.state, headline, own, this.skipped, report_key, docs_key)
    )
    if whole.discovered:
        with this.best_effort("the artifacts could not be shown"):
            artifacts.show(this.settings, found, report_key, docs_key)
    this.log.log(logging.ERROR if held else logging.INFO, "run %s: %s", this.run_id, headline)
    if not held:
        monitoring.watch(this, scored=whole.scored)
    return outcome.state, headline


def write_reports(this: Run, found: RunFigures) -> tuple[str | None, str | None]:
    """Store Data Docs and report; returns their keys, None for what could not be stored."""
    docs_key = report_key = None
    with ThreadPoolExecutor(1, thread_name_prefix="contact-sheets") as executor:
        sheets = executor.submit(artifacts.contact_sheets, this.pool, this.store, this.settings, this.run_ids)
        with this.best_effort("the Data Docs could not be written"):
            if this.kept_for_docs:
                docs_key = artifacts.write_data_docs(this.store, found, this.run_id, this.kept_for_docs, this.shards)
        with this.best_effort("the report could not be written"):
            this.report = artifacts.Report(found, *sheets.result(), docs_key)
            report_key = artifacts.write_report(
                this.store, this.settings, found, this.run_id, sheets.result(), docs_key
            )
    return docs_key, report_key
