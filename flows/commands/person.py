"""The person at the terminal, whose name goes into the histories."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer


def login() -> str | None:
    """Return the login of the current user; None if the machine has no name for them, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return None


By = Annotated[
    str | None,
    typer.Option(
        "--by", default_factory=login, show_default="your login", help="Your name; stored with the database user's."
    ),
]
