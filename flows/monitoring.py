"""After a night: check for drift, show the result, and request a retraining if one is due."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from prefect.artifacts import create_markdown_artifact
from prefect.deployments import run_deployment

from flows.artifacts import at_once
from tasks.nights import drift, triggers

if TYPE_CHECKING:
    from uuid import UUID

    from flows.runs import Run
    from tasks.nights.drift import DriftComparison
    from tasks.nights.triggers import Trigger

RETRAINING: Final = "retrain_and_compare/weekly"
"""Prefect's full name of the deployment: flow/deployment."""
HOW_TO_START: Final = "`cxr retrain` starts it, or the next scheduled retraining covers it"


def watch(run: Run, *, scored: int) -> None:
    """Check drift and new labels after the night is published. No error here affects the published night.

    Args:
        run: a published run.
        scored: number of images that it and the runs it took over have scored; with none, drift is not checked.
    """
    found = None
    if scored:
        with run.best_effort("drift could not be checked"):
            found = run.retrying_database(drift.watch, run.pool, run.settings, run.run_ids)
            words = drift.sentence(found)
            run.log.log(logging.WARNING if found and found.drifted else logging.INFO, "run %s: %s", run.run_id, words)
    notice = None
    with run.best_effort("it could not be decided whether a retraining is due"):
        trigger = run.retrying_database(triggers.fire, run.pool, run.settings, run.run_id)
        if trigger:
            notice = ask(run, trigger)
            run.log.warning("run %s: %s", run.run_id, notice)
    with run.best_effort("drift could not be shown"):
        show(found, notice)


def ask(run: Run, trigger: Trigger) -> str:
    """Request a trigger's retraining from Prefect unless it was already requested; say what will happen.

    With the idempotency key, nights that request the same trigger, together or after a lost reply, get the same flow
    run. It is not a subflow of the night, so cancelling the night does not cancel it.
    """
    if trigger.flow_run_id is None:
        with run.best_effort("a retraining could not be requested from Prefect"):
            with at_once():
                flow_run: Any = run_deployment(
                    RETRAINING,
                    parameters={"cause": trigger.kind},
                    timeout=0,
                    as_subflow=False,
                    idempotency_key=f"trigger {trigger.trigger_id} of run {trigger.run_id}",
                )
            requested: UUID = flow_run.id
            run.retrying_database(triggers.note_asked, run.pool, trigger.trigger_id, requested)
            return f"a retraining was asked for: {trigger.detail} (flow run {requested})"
        return f"a retraining is due: {trigger.detail}; {HOW_TO_START}"
    return (
        f"a retraining was asked for on {trigger.fired_at:%-d %B} (flow run {trigger.flow_run_id}) and has not begun: "
        f"{trigger.detail}; {HOW_TO_START}"
    )


def show(found: DriftComparison | None, notice: str | None) -> None:
    """Show the result in the UI; show nothing if nothing was compared and no retraining is due."""
    sentences = [drift.sentence(found)] if found and found.findings else []
    sentences += [notice] if notice else []
    if not sentences:
        return
    parts = [f"{words[0].upper()}{words[1:]}." for words in sentences]
    parts += [drift.table(found)] if found and found.findings else []
    with at_once():
        create_markdown_artifact(
            "\n\n".join(parts) + "\n", key="drift", description="Drift, and whether a retraining is due"
        )
