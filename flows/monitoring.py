"""After a night: drift is looked at and shown, and a retraining is asked for where one is due."""

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
"""The flow and its deployment, as Prefect names them together."""
OTHERWISE: Final = "`cxr retrain` runs it, or the next one on the schedule takes it up"


def watch(run: Run, *, scored: int) -> None:
    """Look at drift and new labels once the night is published; nothing here can take that back.

    Args:
        run: published already.
        scored: images that it and the runs it took over have scored; without any there is no drift to look at.
    """
    found = None
    if scored:
        with run.best_effort("drift could not be looked at"):
            found = run.retrying_database(drift.watch, run.pool, run.settings, run.run_ids)
            words = drift.sentence(found)
            run.log.log(logging.WARNING if found and found.drifted else logging.INFO, "run %s: %s", run.run_id, words)
    notice = None
    with run.best_effort("whether a retraining is due could not be decided"):
        trigger = run.retrying_database(triggers.fire, run.pool, run.settings, run.run_id)
        if trigger:
            notice = ask(run, trigger)
            run.log.warning("run %s: %s", run.run_id, notice)
    with run.best_effort("drift could not be shown"):
        show(found, notice)


def ask(run: Run, trigger: Trigger) -> str:
    """Ask Prefect for the retraining that a trigger is about, unless it was asked before; says what will happen.

    The idempotency key lets nights that ask for the same trigger, at once or after an answer was lost, get the same
    flow run. It is no part of the night: cancelling the night leaves it.
    """
    if trigger.flow_run_id is None:
        with run.best_effort("Prefect could not be asked for a retraining"):
            with at_once():
                flow_run: Any = run_deployment(
                    RETRAINING,
                    parameters={"cause": trigger.kind},
                    timeout=0,
                    as_subflow=False,
                    idempotency_key=f"trigger {trigger.trigger_id} of run {trigger.run_id}",
                )
            asked_for: UUID = flow_run.id
            run.retrying_database(triggers.note_asked, run.pool, trigger.trigger_id, asked_for)
            return f"a retraining was asked for: {trigger.detail} (flow run {asked_for})"
        return f"a retraining is due: {trigger.detail}; {OTHERWISE}"
    return (
        f"a retraining was asked for on {trigger.fired_at:%-d %B} (flow run {trigger.flow_run_id}) and has not begun: "
        f"{trigger.detail}; {OTHERWISE}"
    )


def show(found: DriftComparison | None, notice: str | None) -> None:
    """Put what was found into the UI; nothing where there was nothing to compare and nothing is due."""
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
