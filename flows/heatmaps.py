"""The last step of a night: heat maps for the highest scores of its published report."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from flows import artifacts
from flows.work import step
from models.errors import in_words
from models.radiographs.radiograph import Limits
from tasks.explain import subject
from tasks.pages.wording import counted
from tasks.radiographs import fetching, thumbnails
from tasks.radiographs.thumbnails import HeatMaps
from tasks.training import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.artifacts import Report
    from flows.runs import Run
    from tasks.nights.figures import Exhibit
    from tasks.registry.model_versions import ModelVersion


PATIENCE_S: Final = 120.0
"""Limit for the whole step; beyond it the report stays without heat maps."""


@step("explain the highest scores")
def explain_highest(run: Run, champion: ModelVersion) -> None:
    """Write the report again, with heat maps of the highest scores or a note that says why there are none.

    The night's rows and its first report stay valid whatever happens here.
    """
    report = run.report
    if report is None or not run.settings.explain_highest:
        return
    shown = [one for one in report.sheets.highest if one.model_version == champion.model_version]
    shown = shown[: run.settings.explain_highest]
    if not shown:
        return
    with run.best_effort("the heat maps could not be added to the report"):
        started = time.monotonic()
        heat = heat_maps(run, champion, report, shown)
        artifacts.write_report(
            run.store, run.settings, report.found, run.run_id, (report.sheets, report.pictures), report.docs_key,
            heat,
        )  # fmt: skip
        run.log.info(
            "run %s: %s in the report, after %.0f s",
            run.run_id, counted(len(heat.overlays), "heat map"), time.monotonic() - started,
        )  # fmt: skip


def heat_maps(run: Run, champion: ModelVersion, report: Report, shown: Sequence[Exhibit]) -> HeatMaps:
    """Return heat maps for the published classes of the images, or a note that says why there are none."""
    try:
        return _heat(run, champion, report, shown)
    except Exception as error:  # noqa: BLE001 - the report says why, and the night goes on
        why = in_words(error)
    run.note([f"no heat maps: {why}"])
    return HeatMaps({}, why)


def _heat(run: Run, champion: ModelVersion, report: Report, shown: Sequence[Exhibit]) -> HeatMaps:
    if find_spec("keras") is None:
        raise jobs.AnswersMissing("Keras is not installed on the machine that ran this night")
    deadline = time.monotonic() + PATIENCE_S
    limits = Limits(run.settings.max_bytes, run.settings.max_pixels)
    executor = ThreadPoolExecutor(thumbnails.WORKERS, thread_name_prefix="heatmaps")
    try:
        fetched = executor.map(
            lambda one: fetching.read_for_scoring(one.reference, run.store, champion.preprocessing, limits), shown,
            timeout=PATIENCE_S,
        )  # fmt: skip
        readable = [(one, image.pixels) for one, image in zip(shown, fetched, strict=True) if image.pixels is not None]
    except TimeoutError:
        raise jobs.AnswersMissing(f"the images could not be fetched again within {PATIENCE_S:.0f} s") from None
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    if not readable:
        raise jobs.AnswersMissing("none of the images could be fetched again")
    answers = subject.answer_images(
        run.store, run.settings.cache, champion, np.stack([pixels for _, pixels in readable]),
        [(row, champion.classes.index(one.caption)) for row, (one, _) in enumerate(readable)],
        max(deadline - time.monotonic(), 0),
    )  # fmt: skip
    if answers.notes:
        raise jobs.AnswersMissing("; ".join(answers.notes))
    from models.plots.pictures import heat_overlay_on_thumbnail

    overlays = {}
    for (one, _), heat in zip(readable, answers.heatmaps, strict=True):
        thumbnail = report.pictures[one.reference.image_id]
        if thumbnail.jpeg:
            overlays[one.reference.image_id] = heat_overlay_on_thumbnail(thumbnail.jpeg, heat, champion.preprocessing)
    return HeatMaps(overlays)
