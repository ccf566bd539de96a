"""Child processes of the local stack: started with a log of their own, watched, stopped, and found again.

A child is marked in its environment with the stack's folder, so that what a killed stack left behind can be told from
anything else on the machine, whatever its process id is now.
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

MARK = "CXR_STACK_HOME"
"""Environment variable that names the stack's folder in each of its processes."""
POLL_S = 0.05
LOG_BYTES = 10 * 1024**2
_PR_SET_PDEATHSIG = 1


class StackError(RuntimeError):
    """A part of the local stack cannot start or has died; the message says what happened and what to do."""


@dataclass(frozen=True)
class Identity:
    """The operating-system account a child runs under."""

    uid: int
    gid: int


@dataclass
class Child:
    """A process with a log file.

    On Linux it gets `death_signal` when the thread that started it ends, so start it from the main thread. It has a
    session of its own: Ctrl-C in the terminal reaches the parent alone, which then stops its children in order.

    Args:
        name: what messages call it.
        argv: the command.
        log: file that takes its output, appended to.
        env: its whole environment; None for the parent's.
        stop_signal: asks it to end.
        identity: account to run under; None for the parent's.
        death_signal: what it gets when its parent dies; None lets it live on.
    """

    name: str
    argv: list[str]
    log: Path
    env: Mapping[str, str] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    identity: Identity | None = None
    death_signal: signal.Signals | None = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    def start(self) -> Self:
        """Start the process without waiting for it to be ready; raises `StackError` where it cannot be run."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        who = self.identity
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
                    user=who.uid if who else None,
                    group=who.gid if who else None,
                    extra_groups=[] if who else None,
                    # Runs after the change of account, which would clear what it sets.
                    preexec_fn=_die_with_parent(self.death_signal),  # noqa: PLW1509 - two system calls, no Python locks
                )
            except OSError as error:
                raise StackError(f"{self.name} cannot be started: {error}") from error
        return self

    @property
    def pid(self) -> int | None:
        """Process id, None before the start and after the stop."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """Exit code (negative: the signal that killed it), None while it runs or where it never started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def output(self, lines: int = 15) -> str:
        """Return the last lines it wrote since its start."""
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
        """Wait until `ready()`; raises `StackError` if the process dies first or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                end = f"The end of {self.log}:\n{_indent(self.output()) or '  (empty)'}"
                raise StackError(f"{self.name} is not ready after {timeout_s:.0f} s. {end}")
            time.sleep(POLL_S)

    def stop(self, grace_s: float = 15.0) -> None:
        """Ask the process to end, wait, and kill it with its descendants where it does not in `grace_s` seconds."""
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


def leftovers(folder: Path) -> list[psutil.Process]:
    """Return the processes marked with `folder`, without the calling one and its ancestors."""
    own = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(MARK) == str(folder):
                found.append(process)
        except (psutil.Error, OSError):  # gone, or another user's
            continue
    return found


def end_all(processes: list[psutil.Process], grace_s: float = 15.0) -> None:
    """Ask the processes to end, and kill those that have not in `grace_s` seconds."""
    for process in processes:
        # SIGTERM lets Postgres wait for its clients; SIGINT is its 'fast' shutdown.
        _signal(process, signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=grace_s)[1]:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_ports(wanted: Iterable[tuple[str, str, str, int]]) -> None:
    """Raise one `StackError` that names every port that is taken and the variable that changes it.

    Args:
        wanted: (what needs the port, variable, host, port) each.
    """
    problems = []
    seen: dict[int, str] = {}
    for name, variable, host, port in wanted:
        if port in seen:
            problems.append(f"port {port} is asked for by both {seen[port]} and {variable}; set one to another port")
        elif not _can_bind(host, port):
            problems.append(f"port {port} ({name}) is taken{_holder(port)}; set {variable} to another port")
        seen[port] = variable
    if problems:
        raise StackError("The local stack cannot start: " + ".\n".join(problems) + ".")


def listens(host: str, port: int) -> bool:
    """Tell whether a connection to the port is accepted."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def clean_environment(*prefixes: str) -> dict[str, str]:
    """Return this process's environment without the variables that start with one of the prefixes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def secret() -> str:
    """Return a random secret of 32 letters and digits, which needs no quoting in a URL, a shell or an env file."""
    return secrets.token_hex(16)


def _die_with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    if number is None or sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # the parent died between the fork and the line above
            os._exit(1)

    return arrange


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise StackError(
            f"Process {process.pid} of this stack belongs to another user: stop it as that user or as root."
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


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):  # not allowed to look; the port is taken all the same
        pass
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
