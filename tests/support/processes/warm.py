"""Processes that begin with everything imported, which else takes most of their time; all else about them is real.

One server for all tests, `forking.py`, imports what they need and forks a child for each request. A child is a
process of its own: it can be killed, it has its own session, environment and output. It is killed when the process
that asked for it ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest
    from prefect.context import SettingsContext

ROOT = Path(__file__).resolve().parents[3]
PYTHON = sys.executable
HEAD = 8
"""Bytes that say how long a request is."""


class Server:
    """The process that forks; up as long as the context. Who asks it while it still imports, waits."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "warm")

    def __enter__(self) -> Self:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.processes.forking", str(listener.fileno())],
                cwd=ROOT, pass_fds=[listener.fileno()], stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its input ends, and so does it


class Process:
    """`python -m` with a module and arguments, forked from the server; with the part of `Popen`'s interface in use.

    Args:
        address: the server's.
        module: flows.cli, models.training.worker or models.serving.conversion.
        arguments: of its `main`.
        env: all of its environment.
        cwd: its working directory.
        stdout: file for what it writes, to stderr too.
    """

    def __init__(
        self, address: str, module: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path | str,
        stdout: IO[Any],
    ) -> None:  # fmt: skip
        self.args, self.returncode = [module, *arguments], None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        request = {"module": module, "arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        data = json.dumps(request).encode()
        socket.send_fds(self._server, [len(data).to_bytes(HEAD, "big")], [stdout.fileno()])
        self._server.sendall(data)
        self._answers = self._server.makefile("r")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._server, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._answers.readline() or -signal.SIGKILL)  # nothing: the server is gone
            self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with all that belongs to its session."""
        if self.poll() is None:
            kill(self.pid)


def kill(pid: int) -> None:
    """End a process with all that belongs to its session, if it has come so far to have one."""
    for end in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            end(pid, signal.SIGKILL)


def use(address: str, patch: pytest.MonkeyPatch, started: Callable[[Process], None] = lambda _: None) -> None:
    """Let this process start its workers and conversions from the server.

    Args:
        address: the server's.
        patch: undoes it.
        started: called with each process.
    """
    from models.serving import conversion
    from tasks.training import worker_process

    for module in (conversion, worker_process):
        patch.setattr(module, "subprocess", _Subprocess(address, started))


def seen_by_prefect() -> SettingsContext:
    """Read the environment as Prefect does, which reads it but once, when it is imported."""
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    return SettingsContext(profile=get_settings_context().profile, settings=Settings())


class _Subprocess:
    """The part of the module `subprocess` that our modules use, for processes from the server."""

    CompletedProcess, TimeoutExpired, DEVNULL = (
        subprocess.CompletedProcess,
        subprocess.TimeoutExpired,
        subprocess.DEVNULL,
    )

    def __init__(self, address: str, started: Callable[[Process], None]) -> None:
        self._address, self._started = address, started

    def Popen(  # noqa: N802 - its name there
        self, command: list[str], *, env: Mapping[str, str], cwd: Path | str, stdout: IO[Any], **_: Any
    ) -> Process:
        assert command[:2] == [PYTHON, "-m"], command
        process = Process(self._address, command[2], command[3:], env=env, cwd=cwd, stdout=stdout)
        self._started(process)
        return process

    def run(
        self, command: list[str], *, env: Mapping[str, str], timeout: float, **_: Any
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as output:
            process = self.Popen(command, env=env, cwd=Path.cwd(), stdout=output)
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
            output.seek(0)
            return subprocess.CompletedProcess(command, code, "", output.read())
