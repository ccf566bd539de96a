"""The local stack's state folder: its lock, its secrets, and whether a stack is running in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.processes import StackError, random_secret
from infra.settings import LOCAL_STACK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECRETS = ("postgres", "cxr", "prefect", "analyst", "access_key_id", "secret_access_key")
_LOCK_TRIES = 10


def running_pid(home: Path) -> int | None:
    """Return the process id of the folder's running stack, or None; raises `StackError` for another user's folder."""
    try:
        lock = (home / "lock").open("r")
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(_not_usable(home)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            content = lock.read().split()
            return int(content[0]) if content else None
    return None


def is_ready(home: Path) -> bool:
    """Return whether a stack is running in the folder and is ready."""
    return running_pid(home) is not None and (home / LOCAL_STACK_FILE).exists()


def already_running_message(home: Path) -> str:
    """Return the message that a stack is already running in the folder, since when, and what to do."""
    content = (home / "lock").read_text().splitlines()
    details = f" (process {content[0]}, since {content[1]})" if len(content) > 1 else ""
    return (
        f"A local stack is already running in {home}{details}. Stop it with `cxr down`, or set CXR_HOME to another "
        "folder."
    )


@contextlib.contextmanager
def lock_state_folder(home: Path) -> Iterator[None]:
    """Create the folder and hold its lock; the operating system releases the lock when this process ends.

    Raises:
        StackError: a stack is running in the folder, or the folder belongs to another user.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        # It contains secrets and radiographs, so others get no access; as root, Postgres's account must pass through.
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for name in ("objects", "prefect", "logs"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise StackError(f"{_not_usable(home)} ({error})") from error
    with lock:
        _acquire(lock.fileno(), home)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        lock.flush()
        yield
        lock.truncate(0)


def stack_credentials(home: Path) -> dict[str, str]:
    """Return the stack's secrets, created once: a password for each database login, and the S3 key pair."""
    file = home / "credentials.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    complete = {name: known.get(name) or random_secret() for name in _SECRETS}
    if complete != known:
        write_private_file(file, json.dumps(complete, indent=1))
    return complete


def write_private_file(file: Path, text: str) -> None:
    """Write a file atomically that only its owner can read."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)


def _acquire(lock: int, home: Path) -> None:
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)  # `running_pid` holds the lock for some microseconds too
    raise StackError(already_running_message(home))


def _not_usable(home: Path) -> str:
    return f"This user cannot use the state folder {home}: set CXR_HOME to a folder of your own."
