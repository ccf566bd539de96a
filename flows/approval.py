"""A promotion that needs approval: a person decides in the Prefect UI."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout, TerminationSignal
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from flows.work import RunCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 5
SPARE_S = 600
CANCELLED_S = 60
"""Seconds that a cancelled run leaves to Prefect's runner to end it. A run started in a terminal has no runner."""
NAMELESS = "somebody who gave no name"


class Approval(RunInput):
    """The form that the Prefect UI shows when a person clicks "Resume"."""

    approve: bool = Field(default=False, title="Promote the challenger?")
    name: str = Field(default="", title="Your name", description="Kept in the history of promotions.")
    reason: str = Field(default="", title="Why", description="Kept in the history of promotions.")


@dataclass(slots=True)
class Wait:
    """A wait for a person: when it ends, and how it ended."""

    deadline: float
    answered: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


def ask(question: str, hours: float, say: Callable[[str], None]) -> Approval:
    """Pause the flow run until a person resumes it with an answer, or the time runs out.

    Args:
        question: Markdown that says what would be promoted, and why a person is asked.
        hours: how long to wait.
        say: logs one line.

    Returns:
        The answer. If nobody answered, or an approval carries no name, it is not approved, has an empty name, and its
        reason says which. In all other cases it has a name.

    Raises:
        RunCancelledError: somebody cancelled the run instead.
    """
    say(f"waiting up to {hours:g} hours for a person to decide: open this run in the Prefect UI and resume it")
    silence = Approval(reason=f"nobody answered within {hours:g} hours")
    # Prefect fails a run whose pause times out, so the watcher resumes it before that with an answer of its own.
    wait = Wait(time.monotonic() + hours * 3600)
    threading.Thread(target=_watch, args=(UUID(str(flow_run.id)), silence, wait), daemon=True).start()
    try:
        answer = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=question),
            timeout=round(hours * 3600) + SPARE_S,
            poll_interval=POLL_S,
        )
    except FlowPauseTimeout:
        return silence
    except TerminationSignal:
        if wait.cancelled.is_set():
            raise RunCancelledError(
                "it was cancelled while it waited for a person to decide: nothing was decided"
            ) from None
        raise
    finally:
        wait.answered.set()
    if answer == silence or answer.name.strip():
        return answer
    if answer.approve:
        return Approval(reason="it was approved without a name")
    return Approval(name=NAMELESS, reason=answer.reason)  # a refusal needs no name


def _watch(flow_run_id: UUID, answer: Approval, wait: Wait) -> None:
    """Resume the run at the deadline, and end its wait if it is cancelled.

    Prefect's own wait checks only for an answer, so a cancelled run would hold its lock until the deadline.
    """
    cancelled_at: float | None = None
    with get_client(sync_client=True) as client:
        while not wait.answered.wait(min(POLL_S, max(wait.deadline - time.monotonic(), 0)) or POLL_S):
            with suppress(Exception):  # Prefect may be unreachable for a moment
                state = client.read_flow_run(flow_run_id).state
                if state and (state.is_cancelling() or state.is_final()):
                    cancelled_at = cancelled_at or time.monotonic()
                elif time.monotonic() >= wait.deadline:  # retried each round: the run may not be paused yet
                    client.resume_flow_run(flow_run_id, run_input=answer.model_dump())
            if cancelled_at is not None and time.monotonic() >= cancelled_at + CANCELLED_S:
                wait.cancelled.set()
                os.kill(os.getpid(), signal.SIGTERM)  # Prefect's handler raises TerminationSignal in the waiting thread
                return
