"""The command `cxr doctor`: checks every service and says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

from flows.commands.session import prepare_prefect
from infra import database
from infra.settings import Settings, SettingsError, state_folder, unknown_variables
from infra.storage import StorageError, Store
from sql.library import query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

Finding = tuple[bool | None, str]
"""True for good, False for bad, None for a note; and the words."""

OLDEST_POSTGRES = 140000
PATIENCE_S = 10
PLANNING = timedelta(minutes=2)
"""Time that Prefect gets to schedule runs after a deployment was registered or resumed."""
DEPLOYMENTS = {"nightly_scoring/nightly": "night", "retrain_and_compare/weekly": "retraining"}
WRITER_NEEDS = {
    "cxr.images": ("select", "insert", "update"),
    "cxr.runs": ("select", "insert", "update"),
    "cxr.labels": ("select", "insert", "update"),
    "cxr.predictions": ("select", "insert"),
    "cxr.prediction_keys": ("select", "insert"),
    "cxr.model_versions": ("select", "insert"),
    "cxr.promotions": ("select", "insert"),
    "cxr.champion": ("select",),
    "cxr.published_predictions": ("select",),
}
MARKS = {True: ("ok  ", typer.colors.GREEN), False: ("BAD ", typer.colors.RED), None: ("note", typer.colors.YELLOW)}


def doctor() -> None:
    """Check Postgres, the object store, Prefect and the processor; say what is wrong and what to do.

    Exits with 1 if something is wrong.
    """
    settings = Settings.load(warn=False)
    parts: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("settings", look_at_settings),
        ("Postgres", look_at_postgres),
        ("object store", look_at_store),
        ("Prefect", look_at_prefect),
        ("compute", look_at_compute),
    ]
    sound = True
    for part, look in parts:
        for good, words in look(settings):
            mark, colour = MARKS[good]
            typer.secho(f"{mark} {part}: {words}", fg=colour)
            sound &= good is not False
    if not sound:
        raise typer.Exit(1)


def look_at_settings(settings: Settings) -> Iterator[Finding]:
    """Check for unknown CXR_ variables, and for errors that only a retraining would find."""
    from models.gate.rules import GateError, read
    from models.recipes.catalogue import RecipeError, recipe_named

    yield from ((None, words) for words in unknown_variables())
    try:
        for name in settings.recipes:
            recipe_named(name)
        if settings.gate_file:
            yield True, f"the gate's rules in {settings.gate_file}: {read(settings.gate_file).name}"
    except (RecipeError, GateError) as error:
        yield False, str(error)


def look_at_postgres(settings: Settings) -> Iterator[Finding]:
    """Check the connection, version, schema revision, rights and champion."""
    from sql import schema

    try:
        pool = database.engine(settings.database)
        with database.connection(pool) as connection:
            server = connection.exec_driver_sql(query("server_and_login")).one()
            version, user = server.server_version, server.login
            recent = version >= OLDEST_POSTGRES
            number = f"{version // 10000}.{version % 10000}"
            yield recent, f"version {number} answers as {user}" + ("" if recent else "; 14 or newer is needed")
            found, wanted = schema.current(connection), schema.head()
            if found != wanted:
                yield False, f"the schema is at revision {found or 'none'}, this code needs {wanted}: run `cxr migrate`"
                return
            yield True, f"schema at revision {found}"
            needs = [(table, right) for table, rights in WRITER_NEEDS.items() for right in rights]
            asked = {"relations": [table for table, _ in needs], "privileges": [right for _, right in needs]}
            missing = ", ".join(connection.exec_driver_sql(query("missing_rights"), asked).scalars())
            yield not missing, f"{user} lacks {missing}: grant cxr_writer to {user}" if missing else "rights to write"
            champion = connection.exec_driver_sql(query("champion")).first()
            if champion is None:
                yield None, "no champion yet: `cxr labels import`, then `cxr retrain`"
            elif champion.made_data:
                yield None, f"champion {champion.model_version} was trained on made data: no use on real radiographs"
            else:
                yield True, f"champion {champion.model_version}"
    except (SettingsError, database.DatabaseError) as error:
        yield False, str(error).replace(database.DOCTOR, "")


def look_at_store(settings: Settings) -> Iterator[Finding]:
    """Check the connection and the rights to list, write and read."""
    from tasks.scoring.discovery import expand

    probe = "reports/.doctor"
    today = datetime.now(ZoneInfo(settings.timezone)).date()
    try:
        store = Store(settings)
        prefixes = [*expand(settings.prefixes, today, 0), "models/"]
        for prefix in prefixes:
            try:
                next(iter(store.list(prefix)), None)
            except StorageError as error:
                yield False, f"{prefix} cannot be listed: {error}"
                return
        place = settings.s3_endpoint_url or "AWS"
        yield True, f"bucket {store.bucket} at {place}: {', '.join(prefixes)} can be listed"
        store.write(probe, b"written by cxr doctor", "text/plain")
        store.read(probe)
        yield True, "rights to write and read in reports/"
    except (SettingsError, StorageError) as error:
        yield False, str(error)
    except RuntimeError as error:
        yield False, f"what was written to reports/ cannot be read: {error}"


def look_at_prefect(settings: Settings) -> Iterator[Finding]:
    """Check the connection, the versions of server and client, and whether something runs the deployments."""
    url = settings.prefect_api_url
    if not url:
        where = f"no local stack is running in {state_folder()}"
        yield False, f"PREFECT_API_URL is not set and {where}: set it, or start one with `cxr up`"
        return
    prepare_prefect(settings)
    import prefect
    from prefect.client.orchestration import get_client

    with get_client(httpx_settings={"timeout": PATIENCE_S}, sync_client=True) as client:
        if error := client.api_healthcheck():
            hint = "" if url.rstrip("/").endswith("/api") or "/accounts/" in url else "; it should end in /api"
            why = next(iter(str(error).splitlines()), type(error).__name__)
            yield False, f"{url} does not answer ({why}): check PREFECT_API_URL and that the server runs{hint}"
            return
        server = client.api_version()
        same = server == prefect.__version__
        yield True if same else None, f"server {server} at {url}" + ("" if same else f", client {prefect.__version__}")
        for name, what in DEPLOYMENTS.items():
            yield look_at_deployment(client, name, what)


def look_at_deployment(client: SyncPrefectClient, name: str, what: str) -> Finding:
    """Check that the runs of a deployment start by themselves."""
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None, f"no deployment {name}, so no {what} starts by itself: `cxr serve`, or see prefect.yaml"
    if found.paused or not any(schedule.active for schedule in found.schedules):
        return None, f"deployment {name} is paused: no {what} starts until somebody resumes it in the UI"
    if not runs_are_planned(client, found, datetime.now(UTC)):
        return False, (
            f"deployment {name} has a schedule but no scheduled runs: the Prefect server's "
            "scheduler is not working. Look at the server's log and restart it"
        )
    if found.status is None or found.status.value != "READY":
        return None, f"nobody serves deployment {name}: start `cxr serve`, or a worker for its work pool"
    return True, f"deployment {name} is served"


def runs_are_planned(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime) -> bool:
    """Tell whether Prefect has scheduled runs of this deployment, or has had no time yet to do so."""
    from prefect.client.schemas import filters

    changed = [deployment.updated, *(schedule.updated for schedule in deployment.schedules)]
    if any(moment and now - moment < PLANNING for moment in changed):
        return True
    ahead = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment.id]),
        next_scheduled_start_time=filters.FlowRunFilterNextScheduledStartTime(after_=now),
    )
    return bool(client.read_flow_runs(flow_run_filter=ahead, limit=1))


def look_at_compute(settings: Settings) -> Iterator[Finding]:
    """Report which processor would score."""
    from models.serving.runtime import cpu_precisions, gpu_names

    names = gpu_names()
    if names:
        yield True, f"GPU: {', '.join(names)}; Keras scores on it"
        return
    precisions = ", ".join(cpu_precisions())
    yield None, f"no GPU seen; OpenVINO scores on the processor ({precisions}), CXR_RUNTIME={settings.runtime}"
