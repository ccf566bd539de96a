"""Nights in a process of their own, watched from here; `python -m tests.bench.night PREFIX...` is that process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.site import Site

ROOT = Path(__file__).resolve().parents[2]
KIB_A_MIB = 1024


@dataclass(frozen=True)
class Night:
    """One flow run: its time from Prefect's start to Prefect's end, its process's processor time and peak memory."""

    seconds: float
    cpu_s: float
    images: int
    peak_mib: float


@dataclass(frozen=True)
class Watched:
    """A process that has ended: its whole time, and what it printed last."""

    seconds: float
    answer: Any


def nights(site: Site, prefixes: list[str]) -> tuple[list[Night], Watched]:
    """Run one night for each prefix, in one new process with a database of its own."""
    with site.database() as url:
        watched = watch([sys.executable, "-m", "tests.bench.night", *prefixes], {"CXR_DATABASE_URL": url})
    return [Night(**one) for one in watched.answer], watched


def watch(command: list[str], environment: dict[str, str]) -> Watched:
    """Run a command to its end; its last line of output is JSON."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command, env=os.environ | environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = child.communicate()
    seconds = time.perf_counter() - began
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} ended with status {child.returncode}:\n{err[-3000:]}")
    return Watched(seconds, json.loads(out.splitlines()[-1]))


def main(prefixes: list[str]) -> None:
    """Run the nights in this process and print what Prefect says of them."""
    from flows.commands.session import prepare_prefect
    from infra.settings import Settings

    prepare_prefect(Settings.load())
    from prefect.client.orchestration import get_client

    from flows.scoring import nightly_scoring

    told = []
    for prefix in prefixes:
        before = _cpu_s()
        state = nightly_scoring(prefixes=[prefix], return_state=True)
        spent = _cpu_s() - before
        if not state.is_completed():
            raise SystemExit(f"the night of {prefix} ended {state.name}: {state.message}")
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(state.state_details.flow_run_id)
        seconds = (run.end_time - run.start_time).total_seconds()
        told.append(Night(seconds, spent, _scored(), _peak_mib()))
    print(json.dumps([asdict(one) for one in told]))  # noqa: T201 - how the parent process learns of it


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    """Largest resident memory so far; not getrusage's, which begins with that of the process that started this one."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / KIB_A_MIB


def _scored() -> int:
    """Images that the newest run scored."""
    from flows.commands.session import connected
    from infra import database

    with connected() as (_, pool), database.transaction(pool) as cursor:
        cursor.execute("select scored from cxr.runs order by started_at desc limit 1")
        return int(cursor.fetchall()[0][0])


if __name__ == "__main__":
    main(sys.argv[1:])
