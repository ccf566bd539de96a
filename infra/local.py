"""The local stack: Postgres, an object store, a report server and Prefect, started and stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.postgres import EmbeddedPostgres
from infra.processes import (
    STACK_VARIABLE,
    Child,
    StackError,
    check_ports,
    end_processes,
    environment_without,
    leftover_processes,
)
from infra.servers import LOOPBACK, ObjectStore, PrefectServer, ReportsServer
from infra.settings import LOCAL_STACK_FILE, state_folder
from infra.statefolder import (
    already_running_message,
    is_ready,
    lock_state_folder,
    running_pid,
    stack_credentials,
    write_private_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from infra.settings import Settings

LOCAL_BUCKET = "cxr"
REPORTS_FOLDER = "reports"
_WATCH_INTERVAL_S = 0.5
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopRequestedError(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal. Not an `Exception`, so no handler of failures catches it."""


def run_stack(
    settings: Settings,
    serve: list[str] | None = None,
    *,
    after_start: Callable[[dict[str, str]], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run the local stack in the foreground, in the main thread, until Ctrl-C, SIGTERM or the death of a part.

    Its state is in `infra.settings.state_folder()`. While the stack is ready, the file `local.env` there contains the
    addresses and secrets.

    Args:
        settings: ports, and the host that Prefect binds; the other servers bind the loopback interface.
        serve: command to run once Prefect is healthy, with the addresses in its environment.
        after_start: called with the addresses once Postgres and the object store are up, before Prefect is.
        say: receives the messages; standard output if None.

    Raises:
        StackError: a stack is already running in this folder, a port is taken, or a part cannot start or has died.
    """
    say = say or _print
    home = state_folder().resolve()
    local_file = home / LOCAL_STACK_FILE
    with lock_state_folder(home), _until_asked_to_stop():
        stack = _Stack(home, settings, stack_credentials(home))
        started = time.monotonic()
        try:
            local_file.unlink(missing_ok=True)
            if orphans := leftover_processes(home):
                say(f"Stopping {len(orphans)} processes that an earlier stack left behind.")
                end_processes(orphans)
            stack.check_ports()
            stack.start(serve, after_start, say)
            write_private_file(local_file, stack.local_env())
            say(stack.summary(time.monotonic() - started))
            stack.watch()
        finally:
            # A second Ctrl-C during the shutdown would leave parts running.
            _ignore_signals()
            if stack.children:
                say("Stopping the local stack.")
            local_file.unlink(missing_ok=True)
            stack.stop()
            if stack.children:
                say("The local stack is down.")


@dataclass(frozen=True, slots=True)
class DetachedStack:
    """A stack in the background."""

    pid: int
    startup_output: str
    """Its output during the start."""


def start_detached(argv: list[str], home: Path, *, timeout_s: float = 300.0) -> DetachedStack:
    """Start a command that runs the stack in the background; return once the stack is up.

    Args:
        argv: the command; it gets its own session and writes to `logs/up.log`.
        home: the stack's state folder, passed to the command as CXR_HOME.
        timeout_s: maximum time to wait for the stack.

    Raises:
        StackError: a stack is already running, or this one did not start; the message includes its output.
    """
    if running_pid(home) is not None:
        raise StackError(already_running_message(home))
    env = {**os.environ, "CXR_HOME": str(home)}
    child = Child("The local stack", argv, home / "logs" / "up.log", env, death_signal=None)
    child.start()
    try:
        child.wait_until(lambda: is_ready(home), timeout_s)
    except BaseException:
        child.stop(grace_s=60)
        raise
    pid = running_pid(home)
    if pid is None:
        raise StackError(f"The local stack started and stopped again; see {child.log}.")
    return DetachedStack(pid, child.output(lines=100))


def stop_stack(home: Path, *, timeout_s: float = 120.0) -> bool:
    """Stop the stack of the folder, or processes that a killed stack left behind; return whether there were any.

    Raises:
        StackError: the stack belongs to another user, or has not stopped after `timeout_s` seconds.
    """
    pid = running_pid(home)
    if pid is None:
        orphans = leftover_processes(home.resolve())
        end_processes(orphans)
        return bool(orphans)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise StackError(f"The local stack (process {pid}) belongs to another user: stop it as that user.") from error
    deadline = time.monotonic() + timeout_s
    while running_pid(home) == pid:
        if time.monotonic() > deadline:
            raise StackError(
                f"The local stack (process {pid}) has not stopped after {timeout_s:.0f} s; see {home}/logs."
            )
        time.sleep(0.1)
    return True


@dataclass
class _Stack:
    """The parts of one stack, in the order in which they are started."""

    home: Path
    settings: Settings
    credentials: dict[str, str]
    children: list[Child] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def check_ports(self) -> None:
        """Raise `StackError` if a port is taken."""
        settings = self.settings
        check_ports(
            [
                ("Postgres", "CXR_POSTGRES_PORT", LOOPBACK, settings.postgres_port),
                ("the object store", "CXR_S3_PORT", LOOPBACK, settings.s3_port),
                ("the Prefect server", "CXR_PREFECT_PORT", settings.host, settings.prefect_port),
                ("the report server", "CXR_REPORTS_PORT", LOOPBACK, settings.reports_port),
            ]
        )

    def start(
        self, serve: list[str] | None, after_start: Callable[[dict[str, str]], None] | None, say: Callable[[str], None]
    ) -> None:
        """Start all parts. Prefect takes longest, so the others are set up while it starts."""
        home, settings, secrets = self.home, self.settings, self.credentials
        logs = home / "logs"
        keys = {name: secrets[name] for name in ("access_key_id", "secret_access_key")}
        store = ObjectStore(home / "objects", settings.s3_port, log=logs / "objects.log", home=home, **keys)
        reports = ReportsServer(
            home / "objects" / LOCAL_BUCKET / REPORTS_FOLDER, settings.reports_port, log=logs / "reports.log", home=home
        )
        postgres = EmbeddedPostgres(
            home / "postgres",
            settings.postgres_port,
            password=secrets["postgres"],
            log=logs / "postgres.log",
            home=home,
        )
        self._add(store.start().child)
        self._add(reports.start().child)
        self._add(postgres.start().child)
        postgres.wait_ready()
        database = postgres.ensure_database("cxr", secrets["cxr"])
        prefect = PrefectServer(
            home / "prefect",
            postgres.ensure_database("prefect", secrets["prefect"]),
            settings.prefect_port,
            host=settings.host,
            log=logs / "prefect.log",
            home=home,
        )
        self._add(prefect.start().child)
        say(f"Starting Prefect, which takes a while ({logs}/prefect.log).")
        store.wait_ready().create_bucket(LOCAL_BUCKET)
        reports.wait_ready()
        self.environment = {
            "CXR_DATABASE_URL": database.replace("postgresql://", "postgresql+psycopg2://", 1),
            **store.environment(LOCAL_BUCKET),
            "CXR_REPORTS_URL": reports.url,
            "PREFECT_API_URL": prefect.api_url,
        }
        if after_start:
            after_start(dict(self.environment))
        prefect.wait_ready()
        if serve:
            # With its own Prefect home, because the user's profile may contain another server's key.
            env = environment_without("PREFECT_", "CXR_S3_", "AWS_") | self.environment
            env |= {"CXR_HOME": str(home), "PREFECT_HOME": str(home / "prefect"), STACK_VARIABLE: str(home)}
            self._add(Child("The process that serves the deployments", serve, logs / "serve.log", env).start())

    def watch(self) -> None:
        """Wait until a part dies, then raise `StackError`."""
        while True:
            for child in self.children:
                child.check()
            time.sleep(_WATCH_INTERVAL_S)

    def stop(self) -> None:
        """Stop all parts, the last one started first and Postgres last, so that flow runs end before their database."""
        databases = [child for child in self.children if child.name == "Postgres"]
        for child in [*(one for one in reversed(self.children) if one not in databases), *databases]:
            child.stop(grace_s=60 if child in databases else 20)
        end_processes(leftover_processes(self.home))

    def local_env(self) -> str:
        """Return the text of `local.env`."""
        head = "# Written by `cxr up` and removed when it stops: the running local stack's addresses and secrets."
        return "\n".join([head, *(f"{name}={value}" for name, value in self.environment.items()), ""])

    def summary(self, took_s: float) -> str:
        """Return the message for the user once the stack is up."""
        addresses = self.environment
        return "\n".join(
            [
                f"The local stack is up after {took_s:.0f} s; Ctrl-C or `cxr down` stops it.",
                f"  Prefect UI    {addresses['PREFECT_API_URL'].removesuffix('/api')}",
                f"  Reports       {addresses['CXR_REPORTS_URL']}",
                f"  Postgres      {LOOPBACK}:{self.settings.postgres_port}, database cxr",
                f"  Object store  {addresses['CXR_S3_ENDPOINT_URL']}, bucket {LOCAL_BUCKET}",
                f"  State         {self.home} (addresses and secrets: {LOCAL_STACK_FILE}; logs: logs/)",
            ]
        )

    def _add(self, child: Child | None) -> None:
        if child is not None:
            self.children.append(child)


@contextlib.contextmanager
def _until_asked_to_stop() -> Iterator[None]:
    """Leave the block without an error on a stop signal, and restore the signal handlers afterwards."""

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise _StopRequestedError

    original = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    for number, handler in original.items():
        # nohup ignores SIGHUP, and a stack started with it outlives its terminal.
        if number is not signal.SIGHUP or handler is not signal.SIG_IGN:
            signal.signal(number, request_stop)
    try:
        yield
    except _StopRequestedError:
        pass
    finally:
        for number, handler in original.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _print(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()
