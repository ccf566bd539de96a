"""Files that commands write: looked at before the work whose outcome they hold, private where they show patients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from tasks.pages.publishing import unwritable

if TYPE_CHECKING:
    from pathlib import Path

OPTION = "--save"


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
