"""A person's word on a promotion that waits for it, given in the Prefect UI."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 5
SPARE_S = 600
NAMELESS = "somebody who gave no name"


class Approval(RunInput):
    """The form that the Prefect UI shows beside "Resume"."""

    approve: bool = Field(default=False, title="Promote the challenger?")
    name: str = Field(default="", title="Your name", description="Kept in the history of promotions.")
    reason: str = Field(default="", title="Why", description="Kept in the history of promotions.")


def ask(question: str, hours: float, say: Callable[[str], None]) -> Approval:
    """Pause the flow run until a person resumes it with an answer, or the time is over.

    Args:
        question: in Markdown: what would be promoted, and why a person is asked.
        hours: how long to wait.
        say: logs a line.

    Returns:
        The answer; not approved, with the reason, where nobody answered or an approval has no name. Only silence and
        an approval without a name are without a name.
    """
    say(f"waiting up to {hours:g} hours for a person's word: open this run in the Prefect UI and resume it")
    silence = Approval(reason=f"nobody answered within {hours:g} hours")
    # A run whose pause has run out can only fail in Prefect's eyes; so it is resumed in time, with nobody's answer.
    answered = threading.Event()
    threading.Thread(
        target=_speak_for_nobody, args=(UUID(str(flow_run.id)), silence, hours * 3600, answered), daemon=True
    ).start()
    try:
        answer = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=question),
            timeout=round(hours * 3600) + SPARE_S,
            poll_interval=POLL_S,
        )
    except FlowPauseTimeout:
        return silence
    finally:
        answered.set()
    if answer == silence or answer.name.strip():
        return answer
    if answer.approve:
        return Approval(reason="it was approved without a name")
    return Approval(name=NAMELESS, reason=answer.reason)  # a refusal counts, whoever it was


def _speak_for_nobody(flow_run_id: UUID, answer: Approval, seconds: float, answered: threading.Event) -> None:
    """Resume the run when its time is over; again where it could not be, for it may not even be paused yet."""
    if answered.wait(seconds):
        return
    with get_client(sync_client=True) as client:
        while True:
            with suppress(Exception):  # Prefect may be away for a moment
                client.resume_flow_run(flow_run_id, run_input=answer.model_dump())
            if answered.wait(POLL_S):
                return
