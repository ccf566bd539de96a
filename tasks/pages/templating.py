"""Templating: the Jinja environment of every page, with filters for pictures, numbers and times."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.pages.wording import counted

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo


def environment() -> Environment:
    """Return a new environment that fails on undefined names. Each kind of page adds its own filters."""
    made = Environment(
        loader=PackageLoader("tasks", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {
        "data_url": lambda jpeg: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
        "counted": counted,
        "number": lambda value: f"{value:,}",
        "moment": _moment,
    }
    return made


def _moment(when: datetime, zone: ZoneInfo) -> str:
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S}"
