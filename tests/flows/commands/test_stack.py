"""The local stack as a user has it: up, a night on its schedule, down, and up again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from dotenv import dotenv_values

from infra.local import stop_stack
from infra.processes import free_port, leftover_processes
from infra.settings import LOCAL_STACK_FILE
from infra.statefolder import running_pid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 400
"""On a quiet machine two minutes pass at most: a night each minute, a server that plans it, a process that looks."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "state"
    for name in [name for name in os.environ if name.startswith(("CXR_", "AWS_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    for name in ("POSTGRES", "S3", "PREFECT", "REPORTS"):
        monkeypatch.setenv(f"CXR_{name}_PORT", str(free_port()))
    monkeypatch.setenv("CXR_HOME", str(folder))
    monkeypatch.setenv("CXR_SCORING_CRON", "* * * * *")
    yield folder
    stop_stack(folder)


def cxr(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def planned_and_ended(home: Path) -> tuple[list[Any], list[Any]]:
    api = dotenv_values(home / LOCAL_STACK_FILE)["PREFECT_API_URL"]
    runs = httpx.post(f"{api}/flow_runs/filter", json={}).raise_for_status().json()
    scheduled = [run for run in runs if run["auto_scheduled"]]
    return scheduled, [run for run in scheduled if run["state_type"] in ("COMPLETED", "FAILED")]


def test_a_night_starts_on_its_schedule_and_the_stack_comes_up_again_with_its_rows(home: Path) -> None:
    cxr("up", "--detach")
    deadline = time.monotonic() + PATIENCE_S
    planned, ended = planned_and_ended(home)
    while not ended:
        assert time.monotonic() < deadline, f"{len(planned)} nights planned, none was run"
        time.sleep(1)
        planned, ended = planned_and_ended(home)
    # There is no model yet: the night says so instead of ending green.
    assert "cxr retrain" in ended[0]["state"]["message"]
    assert " ERROR " not in (home / "logs" / "prefect.log").read_text()
    cxr("down")
    assert running_pid(home) is None
    assert leftover_processes(home) == []
    assert not (home / LOCAL_STACK_FILE).exists()
    assert cxr("down") == f"no stack runs in {home}\n"
    again = cxr("up", "--detach")
    assert again.count("The local stack is up after") == 1, "it tells of this start only"
    told = cxr("psql", "--", "-tAc", "select count(*), current_user from analysis.runs")
    nights, user = told.strip().split("|")
    assert int(nights) >= 1
    assert user == "analyst"
    cxr("down")
