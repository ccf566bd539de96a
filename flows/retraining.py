"""The retraining flow: from labels to the gate's decision, and to a new champion if a challenger wins.

This file is an outline: tasks/ does the work of each step, and models/gate holds the rules.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import challengers, comparing
from flows.approval import Approval, ask
from flows.runs import Retraining
from flows.work import flow_run_id
from infra.settings import Settings
from infra.version import code_version
from models.gate import decision as gate
from models.recipes.catalogue import recipe_named
from tasks.datasets import dataset
from tasks.registry import promotion
from tasks.retraining import record, verdict
from tasks.tournament import fold_training
from tasks.training import arrays, jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.schemas.objects import State

    from flows.challengers import Plan
    from flows.comparing import Compared
    from models.gate.decision import Gate
    from tasks.datasets.dataset import Dataset
    from tasks.registry.promotion import DecisionOutcome


@flow(
    name="retrain_and_compare",
    flow_run_name=lambda: f"retraining ({flow_run.parameters.get('cause', 'schedule')})",
    description=__doc__,
    persist_result=False,
    validate_parameters=True,
)
def retrain_and_compare(
    recipes: list[str] | None = None,
    cause: Literal["schedule", "by hand", "new labels", "drift"] = "schedule",
    dry_run: bool = False,  # noqa: FBT001, FBT002 - a flow parameter, shown by name in the UI
    seed: int = 0,
    epochs: int | None = None,
) -> State[Any]:
    """Train challengers and promote one only if its test metrics win.

    Args:
        recipes: names of the recipes to train; CXR_RECIPES if not given.
        cause: why the retraining runs.
        dry_run: decide and report, but promote nothing.
        seed: of initial weights, order and augmentation.
        epochs: number of epochs; the recipes' own if not given.
    """
    settings = Settings.load()
    run = Retraining(settings, flow_run_id(), cause, dry_run=dry_run)

    def steps() -> State[Any]:
        try:
            begin(run)
            rules = gate.read(settings.gate_file) if settings.gate_file else gate.DEFAULT
            names = dict.fromkeys(recipes or settings.recipes)  # without repeats
            wanted = [recipe_named(name, settings.pretrained) for name in names]
            plans = [challengers.Plan(recipe, seed, epochs) for recipe in wanted]
            return retrain(run, plans, rules)
        except dataset.DatasetError as error:
            return nothing_to_do(run, f"nothing was trained: {error}")
        finally:  # patients' pixels, including those that a killed run left
            jobs.discard(jobs.job_folder(settings.cache, challengers.WORKBENCH))

    return run.under_lock(steps, "another retraining is running; its decision counts")


def retrain(run: Retraining, plans: Sequence[Plan], rules: Gate) -> State[Any]:
    """Run the steps in order."""
    champion = comparing.current_champion(run)
    data = challengers.decode(run, challengers.gather(run), plans)
    keys = challengers.describe(run, data, plans)
    rules.require_classes(data.classes)
    with run.best_effort("what is no longer needed could not be removed"):  # first: the retraining may end early
        clean(run, data, keys)
    if decided := comparing.decided_before(run, data, champion, keys, rules):
        return nothing_to_do(run, decided)
    tried = [challengers.train(run, plan, data) for plan in plans]
    given = {key: one for key, one in zip(keys, tried, strict=True) if one}
    # Checked again without the failed recipes: one that always fails would have the others judged anew every week.
    if given and (decided := comparing.decided_before(run, data, champion, list(given), rules)):
        return nothing_to_do(run, decided + run.failed_recipes)
    # A recipe that produced the champion produces it again; only the others are compared with it.
    trained = [one for one in given.values() if champion is None or one.version.model_version != champion.model_version]
    compared = comparing.compare(run, data, champion, trained, rules)
    outcome, approval = settle(run, compared)
    run.retrying_database(run.lock.renew)
    sentence = conclude(run, compared, outcome, approval)
    with run.best_effort("the files of failed trainings could not be removed"):
        for key in keys:
            jobs.discard(jobs.job_folder(run.settings.cache, key))
        jobs.prune(run.settings.cache, [], data.fingerprint)
    return Completed(message=sentence)


def clean(run: Retraining, data: Dataset, keys: Sequence[str]) -> None:
    """Remove pixels that are no longer needed: they may belong to patients who have withdrawn."""
    cache = run.settings.cache
    arrays.prune(cache, {item.content_sha256 for item in data.items})
    jobs.prune(cache, keys, data.fingerprint)
    with (
        suppress(fold_training.TournamentError),
        fold_training.machine_lock(cache),
    ):  # a running tournament does this itself
        fold_training.remove_pixels(cache)


def begin(run: Retraining) -> None:
    """Write the retraining's row and take over the open triggers."""
    started = run.retrying_database(
        record.start, run.pool, run.run_id, flow_run.id, run.settings.bucket, run.cause, run.dry_run, code_version()
    )
    for dead in started.dead:
        run.log.warning("retraining %s: %s stopped unexpectedly; this one takes over its work", run.run_id, dead)
    for words in started.triggers:
        run.log.info("retraining %s: requested because %s", run.run_id, words)


def settle(run: Retraining, compared: Compared) -> tuple[DecisionOutcome, Approval | None]:
    """Turn the gate's decision into an outcome. A person is asked if the rules or the settings require it."""
    decision = compared.decision
    if decision.winner is None:
        return "kept", None
    if run.dry_run:
        return "would promote", None
    doubts = comparing.for_a_person(run, compared)
    run.note([f"a person is asked: {words}" for words in doubts])
    if decision.outcome == "promote" and run.settings.promotion == "automatic" and not doubts:
        return "promoted", None
    waiting = comparing.gathered(run, compared, "waiting", None)
    approval = ask(comparing.question(run, waiting), run.settings.approval_hours, run.log.info)
    return ("promoted" if approval.approve else "declined"), approval


def conclude(run: Retraining, compared: Compared, outcome: DecisionOutcome, approval: Approval | None) -> str:
    """Write decision, promotion and the retraining's end in one transaction, then the report and the cards.

    Returns:
        What was decided, in one sentence.
    """
    found = comparing.gathered(run, compared, outcome, approval)
    sentence = verdict.headline(found)
    ruling = comparing.ruling(run, compared, sentence)
    run.retrying_database(
        promotion.record, run.pool, run.run_id, ruling, outcome=outcome, approved_by=found.approved_by
    )
    run.log.info("retraining %s: %s", run.run_id, sentence)
    report_key = comparing.report(run, found)  # afterwards: a decision that was not recorded must not be reported
    carded = comparing.cards(run, found)
    with run.best_effort("the artifacts could not be shown"):
        comparing.show(run, found, report_key, carded)
    return sentence


def nothing_to_do(run: Retraining, message: str) -> State[Any]:
    """End a retraining that has nothing to decide; its state is `Skipped`."""
    run.retrying_database(record.finish, run.pool, run.run_id, "completed", message)
    run.log.info("retraining %s: %s", run.run_id, message)
    return Completed(name="Skipped", message=message)
