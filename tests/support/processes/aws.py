"""AWS's descriptions of its services: megabytes of JSON, which botocore reads anew for each session."""

from __future__ import annotations

from functools import cache

import botocore.session
from botocore.loaders import create_loader


def read_descriptions_once() -> None:
    """Let all sessions of this process share what the first one reads: each test has a store of its own."""
    botocore.session.create_loader = cache(create_loader)


def read_descriptions_now() -> None:
    """Read them before they are needed."""
    import boto3

    boto3.Session("x", "x").client("s3", region_name="eu-central-1")
