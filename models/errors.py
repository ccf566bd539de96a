"""What people may be shown of an error."""

from __future__ import annotations

from typing import Final

ROOMS: Final = frozenset({"flows", "tasks", "models", "sql", "infra"})


def is_explained(error: BaseException) -> bool:
    """Tell whether an error's message is written for people: whether one of our rooms defines its class.

    Such a message says what happened and what to do, and names no object and no patient. The message of any other
    error may quote a key, an address or a row's values.
    """
    return type(error).__module__.partition(".")[0] in ROOMS


def in_words(error: BaseException) -> str:
    """Return what may be shown of an error: its message where it is written for people, else the name of its type."""
    return str(error) if is_explained(error) else type(error).__name__
