"""Files that commands write: looked at before the work whose outcome they hold, private where they show patients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

OPTION = "--save"


def unwritable(file: Path) -> str | None:
    """Say why a file cannot be written; None where nothing speaks against it."""
    if file.exists() and not file.is_file():  # `write_private` would remove a device, too
        return f"{file} cannot be written: it is no plain file"
    if not file.parent.is_dir():
        return f"{file} cannot be written: there is no folder {file.parent}; make it first"
    if not os.access(file.parent, os.W_OK):
        return f"{file} cannot be written: nothing may be written into {file.parent}; choose another folder"
    return None


def require_writable(file: Path) -> None:
    """Refuse an option whose file cannot be written."""
    if why := unwritable(file):
        raise typer.BadParameter(why, param_hint=OPTION)


def write_private(file: Path, data: bytes) -> None:
    """Write a file that opens for its owner only: it shows a radiograph."""
    require_writable(file)
    try:
        file.unlink(missing_ok=True)  # else it would keep the rights that it had
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint=OPTION) from None
