"""The local stack's state folder: its lock, its secrets, and whether a stack runs in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.processes import StackError, secret
from infra.settings import LOCAL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECRETS = ("postgres", "cxr", "prefect", "analyst", "access_key_id", "secret_access_key")
_LOCK_TRIES = 10


def running(home: Path) -> int | None:
    """Return the process id of the stack that runs in the folder, or None; raises `StackError` for another user's."""
    try:
        lock = (home / "lock").open("r")
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(_foreign(home)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            content = lock.read().split()
            return int(content[0]) if content else None
    return None


def ready(home: Path) -> bool:
    """Tell whether a stack runs in the folder and is up."""
    return running(home) is not None and (home / LOCAL_FILE).exists()


def already_runs(home: Path) -> str:
    """Return the message that a stack runs in the folder, since when, and what to do."""
    content = (home / "lock").read_text().splitlines()
    who = f" (process {content[0]}, since {content[1]})" if len(content) > 1 else ""
    return f"A local stack runs already in {home}{who}. Stop it with `cxr down`, or set CXR_HOME to another folder."


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Make the folder and hold its lock, which the system lets go of when this process ends, however it ends.

    Raises:
        StackError: a stack runs in the folder, or the folder is another user's.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Secrets and radiographs, for nobody else; but as root, Postgres's own account must pass through.
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in ("objects", "prefect", "logs"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise StackError(f"{_foreign(home)} ({error})") from error
    with lock:
        _take(lock.fileno(), home)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        lock.flush()
        yield
        lock.truncate(0)


def credentials(home: Path) -> dict[str, str]:
    """Return the stack's secrets, made once: a password for each database login, and the S3 key pair."""
    file = home / "credentials.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    complete = {name: known.get(name) or secret() for name in _SECRETS}
    if complete != known:
        write_private(file, json.dumps(complete, indent=1))
    return complete


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)


def _take(lock: int, home: Path) -> None:
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)  # a look by `running` holds the lock too, for microseconds
    raise StackError(already_runs(home))


def _foreign(home: Path) -> str:
    return f"The state folder {home} cannot be used by this user: set CXR_HOME to a folder of your own."
