"""The deployments that `cxr serve` serves. prefect.yaml holds the same deployments for a work pool."""

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
    """Return the deployments, each with its own concurrency limit: a night may start while a retraining runs."""
    scoring: Any = nightly_scoring.to_deployment(
        name="nightly",
        description="Scores what is new in the bucket and publishes it to analysts.",
        schedule=Cron(settings.scoring_cron, timezone=settings.timezone),
        # While one night is running, a second one is pointless: a later night finds what it would have found.
        concurrency_limit=_one_at_a_time(),
        tags=["scoring"],
        entrypoint_type=EntrypointType.MODULE_PATH,  # works from any working directory
    )
    retraining: Any = retrain_and_compare.to_deployment(
        name="weekly",
        description="Trains challengers and promotes one only if its test metrics win.",
        schedule=Cron(settings.retraining_cron, timezone=settings.timezone),
        # Two retrainings at once would learn from the same labels. Newer labels wait for the next retraining.
        concurrency_limit=_one_at_a_time(),
        tags=["retraining"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    contest: Any = tournament.to_deployment(
        name="tournament",
        description="Trains recipes on the same labelled images and ranks them, when somebody asks for it.",
        # Two tournaments at once would remove each other's images.
        concurrency_limit=_one_at_a_time(),
        tags=["tournament"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return [scoring, retraining, contest]


def _one_at_a_time() -> ConcurrencyLimitConfig:
    return ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def serve_all(settings: Settings) -> None:
    """Register the deployments and run them until stopped."""
    # Paused schedules would skip nights silently. Unpaused ones show as late and start when they are served again.
    serve(*deployments(settings), pause_on_shutdown=False)
