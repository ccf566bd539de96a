"""Commands about nights: score one, show recent ones, replay quarantined images, release a held night."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from flows.commands.person import By
from flows.commands.session import connected, require_services
from infra.settings import Settings
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from infra.storage import Store

Save = Annotated[str | None, typer.Option(help="Write the HTML page to this file instead of printing a link.")]
Prefixes = Annotated[
    list[str] | None,
    typer.Option("--prefix", help="Prefix to list instead of CXR_PREFIXES; repeatable, may hold date patterns."),
]


def score(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The night to score; today if not given.")
    ] = None,
    prefix: Prefixes = None,
) -> None:
    """Score the new images in the bucket, now.

    Lists the bucket, takes objects that the database does not know yet (new, or with another etag), validates them,
    scores them with the champion and writes the rows. Safe to run again at any time: finished images are not scored
    again, and a killed run is continued. Exits with 1 if the night failed or was held.

    Example: `cxr score --date 2026-01-31 --prefix 'incoming/%Y/%m/%d/'`
    """
    settings = Settings.load()
    if date and date.date() > (today := datetime.now(ZoneInfo(settings.timezone)).date()):
        raise typer.BadParameter(f"{date:%Y-%m-%d} is in the future: today is {today}", param_hint="--date")
    run_flow(date, prefix, discover=True)


def run_flow(date: datetime | None, prefixes: list[str] | None, *, discover: bool) -> None:
    """Run the flow in this process and end the command with its verdict."""
    require_services(Settings.load())
    from httpx import HTTPError

    from flows.scoring import nightly_scoring
    from tasks.scoring import runs

    night = date.date() if date else None
    try:
        state = nightly_scoring(night=night, prefixes=prefixes or None, discover=discover, return_state=True)
        completed, verdict = state.is_completed(), f"{state.name}: {state.message}"
    except HTTPError as error:  # Prefect stopped in the meantime; the database knows how the run ended
        with connected() as (settings, pool):
            name, message = runs.newest(pool, settings.bucket)
        completed = name == "completed"
        verdict = f"Prefect no longer answers ({type(error).__name__}) and may show this run as running indefinitely."
        verdict += f"\n{name.capitalize()}: {message or 'see the log above'}"
    typer.echo(verdict)
    if not completed:
        raise typer.Exit(1)


def status(nights: Annotated[int, typer.Option(min=1, help="How many of the latest runs to show.")] = 8) -> None:
    """Show the champion, the latest runs and retrainings, and the images without a prediction.

    Example: `cxr status --nights 30`
    """
    from tasks.nights import overview

    with connected() as (_, pool):
        found = overview.look(pool, nights)
    typer.echo(f"Champion: {found.champion or 'none yet: cxr labels import, then cxr retrain'}")
    typer.echo("\n".join(["", "Runs, newest first:", *(found.runs or ["none yet: cxr score"])]))
    typer.echo("\n".join(["", "Retrainings, newest first:", *(found.retrainings or ["none yet: cxr retrain"])]))
    for line in found.due:
        typer.echo(line)
    typer.echo("\n".join(["", "Images without a prediction:", *(found.waiting or ["none"])]))


def replay(
    reason: Annotated[
        str | None, typer.Option(help="An expectation's name (contrast, decodable, ...) or part of the reason.")
    ] = None,
    run: Annotated[UUID | None, typer.Option(help="Only images that this run quarantined or failed.")] = None,
    key: Annotated[str | None, typer.Option(help="One object's key.")] = None,
    only: Annotated[str, typer.Option(help="quarantined, failed, or both.")] = "both",
    yes: Annotated[bool, typer.Option("--yes", help="Replay everything if no selection is given.")] = False,
) -> None:
    """Score quarantined or failed images again, after a fix or a relaxed expectation.

    Queues the selected images again and scores all waiting images, without listing the bucket. An image must match all
    selections.

    Examples: `cxr replay --reason contrast`, `cxr replay --run 0b54... --only failed`, `cxr replay --key a.png`
    """
    from tasks.nights.replay import explain_nothing, requeue

    states = {"both": ("quarantined", "failed"), "quarantined": ("quarantined",), "failed": ("failed",)}
    if only not in states:
        raise typer.BadParameter(f"{only}: choose quarantined, failed or both", param_hint="--only")
    if not (reason or run or key or yes):
        raise typer.BadParameter("select by --reason, --run or --key, or give --yes to replay all of them")
    with connected() as (settings, pool):
        images = requeue(pool, settings.bucket, states=states[only], reason=reason, run_id=run, key=key)
        if not images and (reason or run or key):
            explain_nothing(pool, settings.bucket, states=states[only], reason=reason, run_id=run, key=key)
    typer.echo(f"{counted(images, 'image')} queued again")
    if images:
        run_flow(None, None, discover=False)


def release(
    run: Annotated[UUID, typer.Argument(help="The held run, as `cxr status` shows it.")],
    reason: Annotated[str, typer.Option(help="Why its predictions may be published; stored on the run's row.")],
    by: By,
) -> None:
    """Publish a held night after a person has looked at it.

    A night with too many bad images is held: its predictions are in the database, but no analyst sees them. If
    the quarantine is right and the other images are good, release it. If expectations were wrong, replay instead.

    Example: `cxr release 0b54... --reason 'scanner 3 sent test images; the others were checked'`
    """
    from tasks.nights.overview import require_run
    from tasks.scoring.runs import release as publish

    with connected() as (_, pool):
        require_run(pool, run)
        visible = publish(pool, run, reason, by=by)
    typer.echo(f"run {run} released: {counted(visible, 'prediction')} {'is' if visible == 1 else 'are'} visible now")


def report(
    run: Annotated[UUID | None, typer.Argument(help="A night's or a retraining's run.")] = None,
    retraining: Annotated[
        bool, typer.Option("--retraining", help="Without a run: the newest comparison instead of the newest night.")
    ] = False,
    save: Save = None,
) -> None:
    """Print a link to a run's HTML report, or save the page: a night's, or a retraining's comparison.

    If a retraining stopped between its decision and its report, its decision is printed instead.
    The link works without a login for an hour: treat it like the images themselves.

    Examples: `cxr report`, `cxr report --retraining --save comparison.html`
    """
    from infra.storage import Store
    from tasks.nights.overview import report_key

    with connected() as (settings, pool):
        key = report_key(pool, run, retraining=retraining)
    hand_over(Store(settings), key, save)


def hand_over(store: Store, key: str, save: str | None) -> None:
    """Print a link to a page in the bucket, or write the page to a file."""
    from pathlib import Path

    if not save:
        typer.echo(store.presigned_url(key))
        return
    page = store.read(key)
    try:
        Path(save).write_bytes(page)
    except OSError as error:
        raise typer.BadParameter(f"{save} cannot be written: {error.strerror}", param_hint="--save") from None
    typer.echo(f"written to {save}")
