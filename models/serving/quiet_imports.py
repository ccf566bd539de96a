"""Keras without its galleries, data frames and scikit-learn wrappers, which take a third of the time to import it.

For processes that live for one job. Keras takes these packages for optional; whoever imports them later gets them.
"""

from __future__ import annotations

import sys
from typing import Any, Final

UNUSED: Final = ("matplotlib", "pandas", "sklearn")


def import_keras() -> None:
    """Import Keras where it is not imported yet; must come before anything else imports it."""
    modules: dict[str, Any] = sys.modules
    absent = [name for name in UNUSED if name not in modules]
    modules.update(dict.fromkeys(absent))  # None is how Python marks a module that is not there
    try:
        import keras  # noqa: F401 - that it is there is all that is wanted
    finally:
        for name in absent:
            modules.pop(name, None)


def silence_telemetry() -> None:
    """Keep OpenVINO from reporting its use: its Python package does so when imported, unless this one is missing."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # None is how Python marks a module that is not there
