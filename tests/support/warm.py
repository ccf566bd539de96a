"""Processes of `cxr` that begin with everything imported, which else takes most of their time; all else is real."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

    from prefect.context import SettingsContext

IMPORTED = (
    "flows.cli",
    "flows.scoring",
    "flows.retraining",
    "tasks.validation.data_docs",
    "pandas",
    "great_expectations",
)
"""Nothing that starts a thread, which would be missing after a fork: not OpenVINO, not TensorFlow."""


class Process:
    """`cxr` with arguments, the leader of its own session, with a part of the interface of `subprocess.Popen`.

    Args:
        arguments: of `cxr`.
        environment: all of it.
        folder: its working directory.
        log: file for stdout and stderr.
    """

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, log: Path) -> None:
        log.touch()
        self._process = _context().Process(target=_run, args=(arguments, dict(environment), str(folder), str(log)))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("cxr", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with all that belongs to its session."""
        os.killpg(self.pid, signal.SIGKILL)


def seen_by_prefect() -> SettingsContext:
    """Read the environment as Prefect does, which reads it but once, when it is imported."""
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    return SettingsContext(profile=get_settings_context().profile, settings=Settings())


@cache
def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _run(arguments: tuple[str, ...], environment: dict[str, str], folder: str, log: str) -> None:
    os.setsid()
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cxr", *arguments]

    from prefect import context

    from flows.cli import main

    context.GLOBAL_SETTINGS_CONTEXT = seen_by_prefect()
    try:
        main()
    finally:  # as when Python ends; multiprocessing leaves it out
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
