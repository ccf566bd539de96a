"""Great Expectations without its telemetry, progress bars and chatter."""

from __future__ import annotations

import logging
import os
from typing import Any


def quiet_great_expectations() -> Any:
    """Import Great Expectations with its telemetry, progress bars and chatter off."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    for chatty in ("great_expectations", "great_expectations.data_context.types.base"):  # the second sets its own level
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return gx


def new_context() -> Any:
    """Return a Great Expectations context that stores nothing, sends nothing and draws no progress bars."""
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = quiet_great_expectations().get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context
