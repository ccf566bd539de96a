"""The version of the running code, as stored with each prediction."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@cache
def code_version() -> str:
    """Return ``CXR_CODE_VERSION`` (set in container images), or the release with git commit and "-dirty" if edited."""
    if named := os.environ.get("CXR_CODE_VERSION"):
        return named
    release = version("cxr-nightly")
    if not (REPOSITORY / ".git").exists():
        return release
    try:
        described = subprocess.run(
            ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude", "*"],  # noqa: S607 - git of PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return release
    return f"{release}+{described}"
