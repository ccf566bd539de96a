"""Approval by a person: requested if the settings or a result too good to be true require it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling

from flows import approval
from flows.approval import Approval, ask
from flows.work import RunCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 30


@pytest.fixture
def asking(prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., State[Any]]:
    """Runs a flow that asks, while somebody may answer."""
    assert prefect
    monkeypatch.setattr(approval, "POLL_S", 0.2)

    def run(answer: dict[str, Any] | State[Any] | None, hours: float = PATIENCE_S / 3600) -> State[Any]:
        seen: list[str] = []

        @flow(persist_result=False)
        def asks() -> Approval | State[Any]:
            seen.append(str(flow_run.id))
            try:
                return ask("May X be champion?", hours, print)
            except RunCancelledError as error:
                return Cancelled(message=str(error))

        def reply() -> None:
            with get_client(sync_client=True) as client:
                deadline = time.monotonic() + PATIENCE_S
                while time.monotonic() < deadline:
                    state = client.read_flow_run(seen[0]).state if seen else None  # type: ignore[arg-type]
                    if state and state.is_paused() and isinstance(answer, State):
                        client.set_flow_run_state(seen[0], answer)  # type: ignore[arg-type]
                        return
                    if state and state.is_paused():
                        client.resume_flow_run(seen[0], run_input=answer)  # type: ignore[arg-type]
                        return
                    time.sleep(0.1)

        person = threading.Thread(target=reply)
        if answer is not None:
            person.start()
        state = asks(return_state=True)
        if answer is not None:
            person.join()
        return state

    return run


def test_a_run_that_is_cancelled_while_it_waits_stops_without_an_answer(
    asking: Callable[..., State[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "CANCELLED_S", 0.1)
    state = asking(Cancelling())
    assert state.is_cancelled()
    assert "cancelled while it waited" in str(state.message), "an answer would have come at the end of the wait"


def test_a_person_approves_with_a_name_and_a_reason(asking: Callable[..., State[Any]]) -> None:
    said = asking({"approve": True, "name": "Dr. A", "reason": "looked at 40 images"}).result()
    assert (said.approve, said.name, said.reason) == (True, "Dr. A", "looked at 40 images")


def test_an_approval_without_a_name_is_none(asking: Callable[..., State[Any]]) -> None:
    said = asking({"approve": True, "name": " ", "reason": ""}).result()
    assert not said.approve
    assert "without a name" in said.reason


def test_nobody_answers_in_time_and_the_flow_goes_on_to_its_end(asking: Callable[..., State[Any]]) -> None:
    state = asking(None, hours=2 / 3600)
    assert state.is_completed()
    assert not state.result().approve
    assert "nobody answered" in state.result().reason
