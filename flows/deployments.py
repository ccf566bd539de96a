"""The deployments that `cxr serve` runs; prefect.yaml holds the same ones for a work pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.scoring import nightly_scoring

if TYPE_CHECKING:
    from infra.settings import Settings


def serve_all(settings: Settings) -> None:
    """Register the deployments and run them until stopped."""
    scoring: Any = nightly_scoring.to_deployment(
        name="nightly",
        description="Scores what is new in the bucket and publishes it to analysts.",
        schedule=Cron(settings.scoring_cron, timezone=settings.timezone),
        # A night that is still running makes the next one pointless, not urgent: what it would find is found later.
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        tags=["scoring"],
        entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever the process was started
    )
    # Paused, nights would be missed without a word. So they show as late, and start when somebody serves them again.
    serve(scoring, pause_on_shutdown=False)
