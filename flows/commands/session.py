"""What commands need before they start: settings, a database connection, and Prefect with its server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra import database
from infra.settings import Settings, SettingsError, named_services, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

PREFECT_DEFAULTS = {
    # Prefect's server answers 500 while its database is down; the client then retries as it does after a 503.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    # For the server that Prefect starts by itself if none is set, as in a tournament on folders.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def prepare_prefect(settings: Settings) -> None:
    """Point Prefect at its server. Call this before Prefect is imported: it reads its settings on import."""
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if settings.prefect_api_url:
        os.environ["PREFECT_API_URL"] = settings.prefect_api_url


def require_services(settings: Settings) -> None:
    """Check that database and bucket are set, point Prefect at its server, and check that it answers.

    Raises:
        SettingsError: one of them is not set, or Prefect does not answer (it would start a server of its own).
    """
    _ = settings.database, settings.bucket
    if not settings.prefect_api_url:
        named = named_services()
        if named:  # then the settings ignore the local stack
            raise SettingsError(f"PREFECT_API_URL is not set, and {' and '.join(named)} are: set it too")
        raise SettingsError(
            f"PREFECT_API_URL is not set and no local stack is running in {state_folder()}: set it, or start one with "
            "`cxr up`"
        )
    prepare_prefect(settings)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise SettingsError(
                f"Prefect does not answer at {settings.prefect_api_url} ({why}): check PREFECT_API_URL and the server"
            )


@contextmanager
def connected() -> Iterator[tuple[Settings, sa.Engine]]:
    """Yield the settings and a connection pool, which is closed at the end."""
    settings = Settings.load()
    pool = database.engine(settings.database)
    try:
        yield settings, pool
    finally:
        pool.dispose()
