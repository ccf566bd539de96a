"""Commands about the champion: its history, a change by hand, a rollback, and a shadow on trial."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.person import By
from flows.commands.session import connected

app = typer.Typer(
    name="champion",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The model that scores: its history, a change by hand, one step back, and a shadow on trial.\n\n"
    "A change takes effect with the next night. A night that is already running keeps the champion it started with.",
)

Version = Annotated[str, typer.Argument(help="As `cxr retrain` and `cxr champion history` print it.")]
Reason = Annotated[str, typer.Option(help="Why; stored permanently in the history.")]


@app.command()
def history() -> None:
    """Show every change of champion, newest first: when, who and why.

    For SQL, the views analysis.champions and analysis.shadows hold the same.

    Example: `cxr champion history`
    """
    from tasks.registry import history as champion_history

    with connected() as (_, pool):
        changes, trial = champion_history.history(pool), champion_history.shadow_sentence(pool)
    for number, one in enumerate(changes):
        now = "  champion now" if number == 0 else ""
        made = "  trained on made data" if one.made_data else ""
        by = f"{one.promoted_by}, approved by {one.approved_by}" if one.approved_by else one.promoted_by
        before = f" after {one.previous_version}" if one.previous_version else ""
        typer.echo(f"{one.promoted_at:%Y-%m-%d %H:%M}  {one.model_version}{now}{made}")
        typer.echo(f"    {one.kind}{before}, by {by}: {one.reason}")
    if not changes:
        typer.echo("there has been no champion yet: cxr labels import, then cxr retrain")
    if trial:
        typer.echo(f"\n{trial}")


@app.command()
def promote(model_version: Version, reason: Reason, by: By) -> None:
    """Make a model version the champion by hand.

    The gate is not asked. If it has never compared this version with the current champion, or decided against it, a
    warning says so, and the version is promoted all the same.

    Example: `cxr champion promote compact-cnn-20260131T021500Z-1f3a9c02 --reason 'better on the March review'`
    """
    from tasks.registry import history as champion_history
    from tasks.registry import promotion

    with connected() as (_, pool):
        doubts = champion_history.doubts(pool, model_version)
        before = promotion.promote(pool, model_version, reason, by=by)
    for words in doubts:
        typer.echo(f"WARNING: {words}", err=True)
    typer.echo(f"{model_version} is champion{f' instead of {before}' if before else ''}; the next night scores with it")
    if doubts and before:
        typer.echo("To undo that: cxr champion rollback --reason '...'")


@app.command()
def rollback(reason: Reason, by: By) -> None:
    """Go back to the previous champion.

    Only one step: if the last change was itself a rollback, choose a version with `cxr champion promote`.

    Example: `cxr champion rollback --reason 'misses effusions on the portable scanner'`
    """
    from tasks.registry import model_versions, promotion

    with connected() as (_, pool):
        before, after = promotion.rollback(pool, reason, by=by)
        shadow, made = model_versions.shadow(pool), model_versions.require(pool, after).made_data
    if made:
        typer.echo(f"WARNING: {after} was trained on made data: its predictions for radiographs mean nothing", err=True)
    typer.echo(f"{after} is champion again, instead of {before}; the next night scores with it")
    if shadow:
        typer.echo(
            f"{shadow.model_version} still scores as its shadow: `cxr champion shadow --off --reason '...'` ends that"
        )


@app.command()
def shadow(
    reason: Reason,
    by: By,
    model_version: Annotated[str | None, typer.Argument(help="The version to put on trial.")] = None,
    *,
    off: Annotated[bool, typer.Option("--off", help="End the trial.")] = False,
) -> None:
    """Put a model version on trial: it scores the coming nights alongside the champion.

    Its predictions are kept apart: analysts see them in analysis.shadow_comparison (image by image) and
    analysis.shadow_summary (night by night), and in no other view. A shadow that fails or is slow does not hold up the
    night.

    Examples: `cxr champion shadow compact-cnn-20260131T021500Z-1f3a9c02 --reason 'two weeks before we promote it'`, and
    `cxr champion shadow --off --reason 'the two weeks are over'`
    """
    from tasks.registry import trial

    if off == (model_version is not None):
        raise typer.BadParameter("give a model version, or --off", param_hint="MODEL_VERSION")
    with connected() as (_, pool):
        if model_version is None:
            typer.echo(
                f"{trial.end(pool, reason, by=by)} no longer scores alongside the champion, from the next night on"
            )
            return
        trial.choose(pool, model_version, reason, by=by)
    typer.echo(f"{model_version} scores alongside the champion from the next night on: see analysis.shadow_summary")
