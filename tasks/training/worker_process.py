"""Runs a worker process: started without our secrets, watched until it ends, never left behind.

A worker may run out of memory or crash. However it ends, the caller gets a `WorkerOutcome` with a message in words.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from infra.processes import environment_without
from models.training.job import OUTCOME, WorkerOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS: Final = ("CXR_", "AWS_", "PREFECT_", "PG")
"""Environment variables whose names begin like this are not passed on."""
POLL_S: Final = 0.2
GRACE_S: Final = 10.0
"""For a worker that is told to end, before it is killed."""
LOG: Final = "worker.log"


def run(
    work: Literal["train", "answer"], folder: Path, tell: Callable[[], None], timeout_s: float | None
) -> WorkerOutcome:
    """Run a worker until it ends; it does not outlive this call.

    Args:
        work: what the worker does.
        folder: of its job.
        tell: called several times a second while it runs.
        timeout_s: seconds after which it is ended.
    """
    (folder / OUTCOME).unlink(missing_ok=True)  # of an earlier process
    root = str(Path(__file__).resolve().parents[2])
    environment = environment_without(*SECRETS) | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }
    command = [
        sys.executable,
        "-m",
        "models.training.worker",
        work,
        str(folder.absolute()),
        "--parent",
        str(os.getpid()),
    ]
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,  # Ctrl-C in a terminal reaches this process only, which then ends the worker
        )  # fmt: skip
    try:
        while process.poll() is None:
            tell()
            if deadline is not None and time.monotonic() > deadline:
                return WorkerOutcome("failed", f"it did not end within {timeout_s:,.0f} s")
            time.sleep(POLL_S)
    finally:
        _end(process)
    return _outcome(folder, process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _outcome(folder: Path, code: int) -> WorkerOutcome:
    outcome = WorkerOutcome.read(folder)
    if outcome is not None and code in (0, 1):
        return outcome
    if code == -signal.SIGKILL:
        return WorkerOutcome(
            "killed", "the system killed it, most likely because memory ran out: a smaller batch_size needs less"
        )
    if code < 0:
        return WorkerOutcome("killed", f"it was ended by {signal.Signals(-code).name}")
    return WorkerOutcome("failed", f"it ended with status {code}: {_last_words(folder / LOG)}")


def _last_words(log: Path) -> str:
    """Return the last line of a log that names no path: it may be shown in a report."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "/" not in line), "no message")
