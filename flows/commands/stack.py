"""Commands about the services: the local stack, the schema, the deployments."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import sqlalchemy as sa
import typer
from dotenv import dotenv_values

from flows.commands.session import PREFECT_DEFAULTS, connected, require_services
from infra import database, local, statefolder
from infra.postgres import bin_folder
from infra.settings import LOCAL_STACK_FILE, Settings, SettingsError, state_folder
from sql.library import query

CXR = [sys.executable, "-m", "flows.cli"]
ANALYST = "analyst"


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Start it in the background and return when it is ready.")
    ] = False,
) -> None:
    """Start the local stack: Postgres, an S3 store, Prefect with its UI, and the scheduled deployments.

    Its state is stored in CXR_HOME (.cxr by default). Ctrl-C or `cxr down` stops everything. Ports are taken from
    CXR_POSTGRES_PORT, CXR_S3_PORT, CXR_PREFECT_PORT and CXR_REPORTS_PORT.
    """
    if detach:
        started = local.start_detached([*CXR, "up"], state_folder())
        typer.echo(started.startup_output)
        typer.echo(f"Running in the background (process {started.pid}).")
        return
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    local.run_stack(Settings.load(), [*CXR, "serve"], after_start=_prepare_database)


def down() -> None:
    """Stop the local stack in CXR_HOME."""
    typer.echo("stopped" if local.stop_stack(state_folder()) else f"no stack runs in {state_folder()}")


def _prepare_database(environment: dict[str, str]) -> None:
    """Migrate the local database and create an analyst's login."""
    from sql import schema

    pool = database.engine(environment["CXR_DATABASE_URL"])
    password = statefolder.stack_credentials(state_folder())[ANALYST]
    with database.connection(pool) as connection:
        revision = schema.migrate(connection)
        connection.exec_driver_sql(query("analyst_login"), {"password": password})
    pool.dispose()
    typer.echo(f"Schema at revision {revision}.")


def migrate() -> None:
    """Migrate the database's schema, views and roles to the revision of this code; safe to run at any time.

    Needs a login that owns the database (or may create schemas and roles). The flows need only a login in the role
    cxr_writer, and analysts one in cxr_analyst.
    """
    from sql import schema

    with connected() as (_, pool), database.connection(pool) as connection:
        typer.echo(f"schema at revision {schema.migrate(connection)}")


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql, such as -c 'select ...'.")] = None,
) -> None:
    """Open psql on the local stack as an analyst, who sees the views in schema analysis and nothing else.

    Example: `cxr psql -- -c 'select * from analysis.night_summary'`
    """
    if not statefolder.is_ready(state_folder()):
        raise SettingsError(
            f"no local stack is running in {state_folder()}: start one with `cxr up`; for another database use your "
            "own psql"
        )
    if os.environ.get("CXR_DATABASE_URL"):
        typer.echo("(the local stack's database; for the one in CXR_DATABASE_URL use your own psql)", err=True)
    # The address of the running stack: the settings of this shell may differ.
    address = sa.make_url(dotenv_values(state_folder() / LOCAL_STACK_FILE)["CXR_DATABASE_URL"] or "")
    environment = {
        **os.environ,
        "PGHOST": str(address.host),
        "PGPORT": str(address.port),
        "PGDATABASE": str(address.database),
        "PGUSER": ANALYST,
        "PGPASSWORD": statefolder.stack_credentials(state_folder())[ANALYST],
        "PGOPTIONS": "-c search_path=analysis",
        "PAGER": os.environ.get("PAGER", ""),
    }
    program = str(bin_folder() / "psql")
    os.execve(program, [program, *(arguments or [])], environment)  # noqa: S606 - no shell: psql takes over this process


def serve() -> None:
    """Serve the deployments: run nightly scoring on its schedule, from this process.

    `cxr up` already does this; use it alone with a Prefect server elsewhere. To run in a work pool instead, see
    prefect.yaml.
    """
    settings = Settings.load()
    require_services(settings)
    from flows.deployments import serve_all

    serve_all(settings)
