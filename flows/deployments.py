"""The deployments that `cxr serve` runs; prefect.yaml holds the same ones for a work pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.retraining import retrain_and_compare
from flows.scoring import nightly_scoring
from flows.tournament import tournament

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

    from infra.settings import Settings


def deployments(settings: Settings) -> list[RunnerDeployment]:
    """Return the deployments, each with a limit of its own: a night may start while a retraining runs."""
    scoring: Any = nightly_scoring.to_deployment(
        name="nightly",
        description="Scores what is new in the bucket and publishes it to analysts.",
        schedule=Cron(settings.scoring_cron, timezone=settings.timezone),
        # A night that is still running makes the next one pointless, not urgent: what it would find is found later.
        concurrency_limit=_one_at_a_time(),
        tags=["scoring"],
        entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever the process was started
    )
    retraining: Any = retrain_and_compare.to_deployment(
        name="weekly",
        description="Trains challengers and promotes one only if its test metrics win.",
        schedule=Cron(settings.retraining_cron, timezone=settings.timezone),
        # Two at once would learn from the same labels; what is newer waits for the next one.
        concurrency_limit=_one_at_a_time(),
        tags=["retraining"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    contest: Any = tournament.to_deployment(
        name="tournament",
        description="Trains recipes on the same labelled images and ranks them, when somebody asks for it.",
        # Two at once would remove each other's images.
        concurrency_limit=_one_at_a_time(),
        tags=["tournament"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return [scoring, retraining, contest]


def _one_at_a_time() -> ConcurrencyLimitConfig:
    return ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def serve_all(settings: Settings) -> None:
    """Register the deployments and run them until stopped."""
    # Paused, nights would be missed without a word. So they show as late, and start when somebody serves them again.
    serve(*deployments(settings), pause_on_shutdown=False)
