"""Child processes of the local stack: start with a log file, watch, stop, and find those that were left behind.

A child's environment contains the stack's folder. This tells processes that a killed stack left behind from all other
processes on the machine, without relying on process ids.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

STACK_VARIABLE = "CXR_STACK_HOME"
"""Environment variable that names the stack's folder in each of its processes."""
POLL_INTERVAL_S = 0.05
MAX_LOG_BYTES = 10 * 1024**2
"""A larger log file is renamed to `.1` at the next start."""
_PR_SET_PDEATHSIG = 1


class StackError(RuntimeError):
    """A part of the local stack cannot start or has died; the message says what happened and what to do."""


@dataclass(frozen=True)
class Account:
    """The operating system account that a child runs under."""

    uid: int
    gid: int


@dataclass
class Child:
    """A process with a log file.

    On Linux it receives `death_signal` when the thread that started it ends, so start it from the main thread. It has
    its own session: Ctrl-C in the terminal reaches only the parent, which then stops its children in order.

    Args:
        name: its name in messages.
        argv: the command.
        log: file that its output is appended to.
        env: its whole environment; None for the parent's.
        stop_signal: sent by `stop`.
        identity: account to run under; None for the parent's.
        death_signal: sent when its parent dies; None lets it live on.
    """

    name: str
    argv: list[str]
    log: Path
    env: Mapping[str, str] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    death_signal: signal.Signals | None = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    def start(self) -> Self:
        """Start the process without waiting for it to be ready; raises `StackError` if it cannot be started."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        account = self.account
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=None if self.env is None else dict(self.env),
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    # It runs after the change of account, which would clear the parent-death signal.
                    preexec_fn=_die_with_parent(self.death_signal),  # noqa: PLW1509 - two system calls, no Python locks
                )
            except OSError as error:
                raise StackError(f"{self.name} cannot be started: {error}") from error
        return self

    @property
    def pid(self) -> int | None:
        """Process id; None before the start and after the stop."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for the signal that killed it; None while it runs or if it was never started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def output(self, lines: int = 15) -> str:
        """Return the last lines of its output since its start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 64 * 1024))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise `StackError` with the exit code and the last lines of the log if the process has died."""
        if self._process is None or self._process.poll() is None:
            return
        code = self._process.returncode
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        raise StackError(f"{self.name} {how}. The end of {self.log}:\n{_indent(self.output()) or '  (empty)'}")

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready()` is true; raises `StackError` if the process dies first or after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                end = f"The end of {self.log}:\n{_indent(self.output()) or '  (empty)'}"
                raise StackError(f"{self.name} is not ready after {timeout_s:.0f} s. {end}")
            time.sleep(POLL_INTERVAL_S)

    def stop(self, grace_s: float = 15.0) -> None:
        """Send the stop signal; kill the process and its descendants if it still runs after `grace_s` seconds."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill the process and its descendants with SIGKILL, as a power cut would, and wait until all are gone."""
        if self._process is None:
            return
        try:
            root = psutil.Process(self._process.pid)
            tree = [*root.children(recursive=True), root]
        except psutil.NoSuchProcess:
            tree = []
        for process in reversed(tree):
            _signal(process, signal.SIGKILL)
        self._process.wait()
        psutil.wait_procs(tree, timeout=10)
        self._process = None


def leftover_processes(folder: Path) -> list[psutil.Process]:
    """Return the processes of the stack in `folder`, except this process and its ancestors."""
    excluded = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    processes = []
    for process in psutil.process_iter():
        try:
            if process.pid not in excluded and process.environ().get(STACK_VARIABLE) == str(folder):
                processes.append(process)
        except (psutil.Error, OSError):  # the process has ended or belongs to another user
            continue
    return processes


def end_processes(processes: list[psutil.Process], grace_s: float = 15.0) -> None:
    """Ask the processes to end, and kill those that still run after `grace_s` seconds."""
    for process in processes:
        # On SIGTERM Postgres waits for its clients to disconnect; SIGINT is its 'fast' shutdown.
        _signal(process, signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=grace_s)[1]:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def free_port() -> int:
    """Return a free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_ports(wanted: Iterable[tuple[str, str, str, int]]) -> None:
    """Raise one `StackError` that names every port that is taken and the variable that changes it.

    Args:
        wanted: (server, variable, host, port) each.
    """
    problems = []
    variables: dict[int, str] = {}
    for name, variable, host, port in wanted:
        if port in variables:
            problems.append(f"port {port} is set by both {variables[port]} and {variable}; set one to another port")
        elif not _can_bind(host, port):
            problems.append(f"port {port} ({name}) is taken{_by_process(port)}; set {variable} to another port")
        variables[port] = variable
    if problems:
        raise StackError("The local stack cannot start: " + ".\n".join(problems) + ".")


def accepts_connections(host: str, port: int) -> bool:
    """Return whether a server accepts connections on the port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def environment_without(*prefixes: str) -> dict[str, str]:
    """Return this process's environment without the variables that start with one of the prefixes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def random_secret() -> str:
    """Return a random secret of 32 hexadecimal digits, which needs no quoting in a URL, a shell or an env file."""
    return secrets.token_hex(16)


def _die_with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if number is None or sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # the parent died between the fork and the line above
            os._exit(1)

    return set_death_signal


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise StackError(
            f"Process {process.pid} of this stack belongs to another user: stop it as that user, or as root."
        ) from error


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def _can_bind(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _by_process(port: int) -> str:
    """Name the process that listens on the port, if it can be found out."""
    try:
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            if is_listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):  # not permitted, or the process has just ended
        pass
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
