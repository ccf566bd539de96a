"""The shadow in a night: it starts with the champion, ends with the shards, and never delays them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.registry import model_versions
from tasks.scoring.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.runs import Run
    from models.serving.runtime import Runtime


@contextmanager
def shadow_scoring(run: Run, champion: model_versions.ModelVersion) -> Iterator[Shadow | None]:
    """Yield the shadow while the shards are scored; None if no shadow scores.

    A run that takes over from a dead run has no shadow: the shadow may have killed that run.
    """
    wanted = None
    with run.best_effort("the shadow could not be looked up and does not score"):
        wanted = model_versions.shadow(run.pool)
    if wanted and len(run.run_ids) > 1:
        run.note([f"the shadow {wanted.model_version} does not score: this run takes over from one that stopped"])
        wanted = None
    if wanted is None:
        yield None
        return
    shadow = Shadow(
        run.pool, wanted, lambda: _load(run, wanted), patience_s=run.settings.database_patience_s,
        own_input=wanted.preprocessing_hash != champion.preprocessing_hash,
    )  # fmt: skip
    if shadow.ready():
        run.log.info("run %s: %s scores too, as its shadow, with %s", run.run_id, wanted.model_version, shadow.runtime)
    elif shadow.gone:
        run.note(shadow.finish())
        yield None
        return
    try:
        yield shadow
    except BaseException:
        shadow.finish(at_once=True)
        raise
    run.note(shadow.finish())


def _load(run: Run, wanted: model_versions.ModelVersion) -> Runtime:
    from models.serving.runtime import load_runtime

    settings = run.settings
    folder = model_versions.fetch(run.store, wanted, settings.cache)
    return load_runtime(folder, wanted.artifact_sha256, settings.cache, settings.runtime, settings.batch_size)
