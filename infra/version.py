"""The version of the code that runs, as written on each row."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


@cache
def code_version() -> str:
    """Return ``CXR_CODE_VERSION`` (set when an image is built), else version and git commit, marked if edited."""
    if named := os.environ.get("CXR_CODE_VERSION"):
        return named
    release = version("cxr-nightly")
    if not (HERE / ".git").exists():
        return release
    try:
        described = subprocess.run(
            ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude", "*"],  # noqa: S607 - git of PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return release
    return f"{release}+{described}"
