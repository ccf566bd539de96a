"""What a command needs before it can work: settings, database, store, and Prefect pointed at its server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra import database
from infra.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

PREFECT_DEFAULTS = {
    # A flow run outlives a restart of the database that Prefect's server shares with us.
    "PREFECT_CLIENT_MAX_RETRIES": "12",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def prepare_prefect(settings: Settings) -> None:
    """Point Prefect at its server; must come before Prefect is imported, which reads its settings then."""
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if settings.prefect_api_url:
        os.environ["PREFECT_API_URL"] = settings.prefect_api_url


@contextmanager
def connected() -> Iterator[tuple[Settings, sa.Engine]]:
    """Give settings and a pool of connections; what Postgres refuses becomes a `DatabaseError` in words."""
    settings = Settings.load()
    pool = database.engine(settings.database)
    try:
        with database.explained():
            yield settings, pool
    finally:
        pool.dispose()
