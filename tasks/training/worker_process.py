"""A worker's process: started without this one's secrets, watched until it ends, and never left behind.

What a worker does to memory, to a GPU or to itself concerns nobody else: however it dies, what comes back is an
`Outcome` in words.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from infra.processes import clean_environment
from models.files import read_json
from models.training import worker

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS: Final = ("CXR_", "AWS_", "PREFECT_", "PG")
POLL_S: Final = 0.2
GRACE_S: Final = 10.0
LOG: Final = "worker.log"

State = Literal["trained", "answered", "diverged", "out of memory", "killed", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended."""

    state: State
    message: str
    """In words, for a person; names no path and no patient."""
    model_version: str | None = None
    model_sha256: str | None = None
    notes: tuple[str, ...] = ()
    """What else should be known, such as a checkpoint that could not be used."""


def run(work: Literal["train", "answer"], folder: Path, tell: Callable[[], None], timeout_s: float | None) -> Outcome:
    """Run the worker to its end, however that comes about; it does not outlive this call.

    Args:
        work: what is to be done.
        folder: with the job.
        tell: called now and then while it runs.
        timeout_s: after which it is ended.
    """
    if read_json(folder / worker.OUTCOME, {}).get("state") != "trained":
        (folder / worker.OUTCOME).unlink(missing_ok=True)  # an earlier attempt's
    root = str(Path(__file__).resolve().parents[2])
    environment = clean_environment(*SECRETS) | {
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
            start_new_session=True,  # Ctrl-C in the terminal reaches this process, which then ends the worker
        )  # fmt: skip
    try:
        while process.poll() is None:
            tell()
            if deadline is not None and time.monotonic() > deadline:
                return Outcome("failed", f"it did not end within {timeout_s:,.0f} s")
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


def _outcome(folder: Path, code: int) -> Outcome:
    told = read_json(folder / worker.OUTCOME, {})
    if told and code in (0, 1):
        return outcome_of(told)
    if code == -signal.SIGKILL:
        return Outcome(
            "killed", "the system killed it, most likely for want of memory: a smaller batch_size needs less"
        )
    if code < 0:
        return Outcome("killed", f"it was ended by {signal.Signals(-code).name}")
    return Outcome("failed", f"it ended with status {code}: {_last_words(folder / LOG)}")


def _last_words(log: Path) -> str:
    """Return the last line of a log that names no path: what it says may end up in a report."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "/" not in line), "no message")


def outcome_of(told: dict[str, Any]) -> Outcome:
    """Read what a worker wrote into outcome.json."""
    state: State = told["state"] if told["state"] in get_args(State) else "failed"
    return Outcome(
        state, told["message"], told.get("model_version"), told.get("model_sha256"), tuple(told.get("notes", ()))
    )
