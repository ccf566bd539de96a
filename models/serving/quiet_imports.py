"""Imports of Keras and OpenVINO without side effects: no unused optional packages, no telemetry.

Importing matplotlib, pandas and scikit-learn takes a third of Keras's import time, too much for a process that runs a
single job. Keras treats them as optional, and a later import of them works.
"""

from __future__ import annotations

import sys
from typing import Any, Final

OPTIONAL_PACKAGES: Final = ("matplotlib", "pandas", "sklearn")


def import_keras() -> None:
    """Import Keras without its optional packages; call this before anything else imports Keras."""
    modules: dict[str, Any] = sys.modules
    hidden = [name for name in OPTIONAL_PACKAGES if name not in modules]
    modules.update(dict.fromkeys(hidden))  # None makes an import fail as if the package were not installed
    try:
        import keras  # noqa: F401 - only its import matters
    finally:
        for name in hidden:
            modules.pop(name, None)


def silence_telemetry() -> None:
    """Keep OpenVINO from reporting usage: it does so on import unless its telemetry package is missing."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # None makes an import fail as if the package were not installed
