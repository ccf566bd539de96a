"""Files that commands write: checked before the work starts, and private if they show patients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from tasks.pages.publishing import unwritable

if TYPE_CHECKING:
    from pathlib import Path

OPTION = "--save"


def require_writable(file: Path) -> None:
    """Raise `BadParameter` if the file of --save cannot be written."""
    if why := unwritable(file):
        raise typer.BadParameter(why, param_hint=OPTION)


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner can open: it shows a radiograph."""
    require_writable(file)
    try:
        file.unlink(missing_ok=True)  # an existing file would keep its permissions
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint=OPTION) from None
