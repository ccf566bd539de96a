"""A Prefect server for tests, and what points a process at it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from infra import servers
from infra.postgres import EmbeddedPostgres
from tests.support.databases import PASSWORD
from tests.support.memory import folder_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def prefect_server(folder: Path) -> Iterator[servers.PrefectServer]:
    """A Prefect server, which may not be ready, on a database cluster of its own: the tests may stop the other one."""
    folder.mkdir(exist_ok=True)
    with folder_in_memory() as memory, EmbeddedPostgres(memory / "postgres", durable=False) as server:
        prefect = servers.PrefectServer(folder / "home", server.ensure_database("prefect", PASSWORD))
        try:
            yield prefect.start()
        finally:
            prefect.stop()


def variables(api_url: str, home: Path) -> dict[str, str]:
    """The environment of Prefect's clients, whose home is made."""
    from flows.commands.session import PREFECT_DEFAULTS

    home.mkdir(exist_ok=True)
    certificate = home / "certificate.pem"  # nobody is asked for one; each client reads all, which takes its time
    one, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    certificate.write_text(one + end)
    return PREFECT_DEFAULTS | {
        "PREFECT_API_URL": api_url, "PREFECT_HOME": str(home), "PREFECT_API_SSL_CERT_FILE": str(certificate)
    }  # fmt: skip
