"""What Prefect keeps of a flow run."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId


def artifacts(run_id: str) -> dict[str, Any]:
    """The data of a run's artifacts, by their keys."""
    chosen = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
    with get_client(sync_client=True) as client:
        return {one["key"]: one["data"] for one in client.request("POST", "/artifacts/filter", json=chosen).json()}


def logs(run_id: str) -> list[str]:
    """All log lines of a run, its tasks' included; Prefect's client sends them in batches."""
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))
    with get_client(sync_client=True) as client:
        for _ in range(50):
            lines = [log.message for log in client.read_logs(chosen, limit=200, offset=0)]
            if any("Finished in state" in line for line in lines):
                break
            time.sleep(0.1)
    return lines
