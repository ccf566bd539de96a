"""The person at the terminal, for histories that are read years later."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer


def login() -> str | None:
    """Return the login of whoever runs this; None where the machine has no name for them, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return None


By = Annotated[
    str | None,
    typer.Option(
        "--by", default_factory=login, show_default="your login", help="Your name; kept beside the database user's."
    ),
]
