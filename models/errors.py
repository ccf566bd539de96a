"""Which errors explain themselves, and what people may see of the others."""

from __future__ import annotations

from typing import Final

ROOMS: Final = frozenset({"flows", "tasks", "models", "sql", "infra"})


def is_explained(error: BaseException) -> bool:
    """Tell whether an error's message is written for people, that is, whether one of our packages defines its class.

    Such a message says what happened and what to do, and it names no object and no patient. The message of any other
    error may quote a key, an address or a row's values.
    """
    return type(error).__module__.partition(".")[0] in ROOMS


def in_words(error: BaseException) -> str:
    """Return what people may see of an error: its message if it is written for people, otherwise its type's name."""
    return str(error) if is_explained(error) else type(error).__name__
