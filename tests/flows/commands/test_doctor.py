"""The doctor: what it finds wrong, and what it says to do."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.schedules import Cron, RRule
from pydantic import SecretStr

from flows.commands.doctor import PLANNING, look_at_postgres, look_at_settings, runs_are_planned
from flows.scoring import nightly_scoring
from infra.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.schedules import Schedule

    from tests.support.databases import Database

PATIENCE_S = 90


def test_a_misspelt_variable_is_a_note_with_the_name_that_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_SHARD_SIZ", "3")
    words = "CXR_SHARD_SIZ is not a setting and is ignored; did you mean CXR_SHARD_SIZE?"
    assert list(look_at_settings(Settings.model_construct())) == [(None, words)]


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [("/test_", "/no_", "refuses the connection"), ("127.0.0.1:", "127.0.0.2:1", "cannot be reached")],
)
def test_who_has_asked_the_doctor_is_not_sent_to_the_doctor(db: Database, was: str, becomes: str, said: str) -> None:
    url = db.url().replace("test_writer", "writer_").replace(was, becomes)
    ((good, words),) = look_at_postgres(Settings.model_construct(database_url=SecretStr(url)))
    assert good is False
    assert said in words
    assert "cxr doctor" not in words


@pytest.fixture
def registered(prefect: dict[str, str]) -> Iterator[Callable[[Schedule], DeploymentResponse]]:
    """Registers a deployment with a schedule, until the end of the test."""
    assert prefect
    ids: list[UUID] = []

    def register(schedule: Schedule) -> DeploymentResponse:
        deployment: Any = nightly_scoring.to_deployment(name="doctor", schedule=schedule)
        ids.append(deployment.apply())
        with get_client(sync_client=True) as client:
            return client.read_deployment(ids[-1])

    yield register
    with get_client(sync_client=True) as client:
        for one in ids:
            client.delete_deployment(one)


def planned(deployment: DeploymentResponse, later: timedelta) -> bool:
    with get_client(sync_client=True) as client:
        return runs_are_planned(client, deployment, datetime.now(UTC) + later)


def test_a_schedule_for_which_no_run_is_planned_is_found_two_minutes_after_its_registration(
    registered: Callable[[Schedule], DeploymentResponse],
) -> None:
    past = registered(RRule("DTSTART:20200101T020000Z\nFREQ=DAILY;COUNT=1"))
    assert planned(past, timedelta())
    assert not planned(past, PLANNING)


def test_a_schedule_that_the_server_plans_is_sound(registered: Callable[[Schedule], DeploymentResponse]) -> None:
    nightly = registered(Cron("0 2 * * *"))
    deadline = time.monotonic() + PATIENCE_S
    while not planned(nightly, PLANNING):
        assert time.monotonic() < deadline
        time.sleep(0.5)
