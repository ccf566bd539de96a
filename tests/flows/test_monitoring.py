"""After a night: drift in the UI, a retraining asked for once, and two deployments that leave each other alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import yaml

from infra.settings import Settings
from tests.support.flow_runs import artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.site import Site

ROOT = Path(__file__).resolve().parents[2]
NEW_LABELS = """insert into cxr.labels (content_sha256, class, patient_id, source)
                select encode(sha256(gen_random_uuid()::text::bytea), 'hex'), 'NORMAL', 'patient-4711', 'sheet'
                from generate_series(1, 10)"""


@pytest.fixture
def served(prefect: dict[str, str]) -> Iterator[dict[str, UUID]]:
    """All deployments, registered as `cxr serve` does it, though nobody runs what they plan."""
    assert prefect
    from prefect.client.orchestration import get_client

    from flows.deployments import deployments

    ids: dict[str, Any] = {one.name: one.apply() for one in deployments(Settings.model_construct())}
    yield ids
    with get_client(sync_client=True) as client:
        for deployment_id in ids.values():
            client.delete_deployment(deployment_id)


def begin(deployment_id: UUID) -> str:
    """Plan a run and let it begin as a runner does; returns the state that Prefect gives it."""
    from prefect.client.orchestration import get_client
    from prefect.states import Pending

    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment_id)
        answer = client.set_flow_run_state(run.id, Pending())
        state = answer.state or client.read_flow_run(run.id).state
    assert state is not None
    return state.type.value


def test_a_night_may_begin_while_a_retraining_runs_and_no_flow_runs_twice(served: dict[str, UUID]) -> None:
    assert begin(served["weekly"]) == "PENDING"
    assert begin(served["weekly"]) == "CANCELLED"
    assert begin(served["nightly"]) == "PENDING"
    assert begin(served["nightly"]) == "CANCELLED"


def test_the_work_pool_gets_the_deployments_that_cxr_serve_serves() -> None:
    from flows.deployments import deployments

    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for one, same in zip(deployments(Settings.model_construct()), written, strict=True):
        limit = one.concurrency_options
        assert limit is not None
        assert same == {
            "name": one.name,
            "entrypoint": one.entrypoint,
            "description": one.description,
            "tags": one.tags,
            "schedules": [
                {"cron": planned.schedule.cron, "timezone": planned.schedule.timezone, "active": True}
                for planned in one.schedules or []
            ],
            "concurrency_limit": {
                "limit": one.concurrency_limit, "collision_strategy": limit.collision_strategy.value,
            },
            "work_pool": {"name": "cxr"},
        }  # fmt: skip


def drift_artifact(run_id: str) -> str | None:
    return artifacts(run_id).get("drift")


def flow_run(flow_run_id: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run_id))


@pytest.fixture
def watched(site: Site, phantoms: Path) -> Site:
    """A site whose first night is enough for a look at drift, and which has labels enough for a retraining."""
    site.environment |= {
        "CXR_DRIFT_IMAGES": "12", "CXR_DRIFT_MIN_IMAGES": "10", "CXR_RETRAIN_NEW_LABELS": "10",
        "CXR_RETRAIN_ON_DRIFT": "false", "CXR_DRIFT_THRESHOLD": "1",
    }  # fmt: skip
    site.upload(phantoms)
    site.db.rows(NEW_LABELS)
    return site


def test_a_night_shows_drift_and_asks_prefect_for_a_retraining_once(watched: Site, served: dict[str, UUID]) -> None:
    assert watched.night().is_completed()
    run_id = watched.runs()[-1]["run_id"]
    ((kind, flow_run_id),) = watched.db.rows("select kind, flow_run_id::text from cxr.triggers")
    asked = flow_run(flow_run_id)
    assert (kind, asked.deployment_id, asked.parameters["cause"]) == ("new labels", served["weekly"], "new labels")
    assert asked.parent_task_run_id is None, "cancelling the night leaves it"
    assert asked.state.is_scheduled()
    shown = str(drift_artifact(run_id))
    assert shown.startswith("No drift, the newest 12 made images beside the champion's first 12: ")
    assert f"A retraining was asked for: 10 images with new labels (flow run {flow_run_id})." in shown
    assert "| brightness | median 0." in shown
    assert "patient-4711" not in shown + str(asked.parameters)
    assert watched.db.value("select count(*) from analysis.drift") == 11

    assert watched.night().is_completed()
    assert "and has not begun: 10 images with new labels" in str(drift_artifact(watched.runs()[-1]["run_id"]))
    assert watched.db.rows("select flow_run_id::text from cxr.triggers") == [(flow_run_id,)]


def test_where_prefect_knows_no_such_deployment_the_night_says_what_is_due_and_the_next_one_asks(
    watched: Site, request: pytest.FixtureRequest
) -> None:
    state = watched.night()
    assert state.is_completed(), state.message
    assert "A retraining is due: 10 images with new labels; `cxr retrain` starts it" in str(
        drift_artifact(watched.runs()[-1]["run_id"])
    )
    assert watched.db.rows("select flow_run_id, retraining_id from cxr.triggers") == [(None, None)]
    request.getfixturevalue("served")
    assert watched.night().is_completed()
    assert "A retraining was asked for: " in str(drift_artifact(watched.runs()[-1]["run_id"]))
    assert watched.db.value("select count(*) from cxr.triggers where flow_run_id is not null") == 1


def test_a_night_ends_as_ever_where_drift_and_triggers_cannot_be_written(site: Site, phantoms: Path) -> None:
    site.upload(phantoms)
    site.db.rows("alter table cxr.drift rename to drift_away; alter table cxr.triggers rename to triggers_away")
    site.environment |= {"CXR_DRIFT_IMAGES": "12", "CXR_DRIFT_MIN_IMAGES": "10"}
    state = site.night()
    assert state.is_completed(), state.message
    assert site.db.value("select count(*) from analysis.latest_prediction") == 24
