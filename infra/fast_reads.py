"""Fast reads: read objects with obstore, which uses less CPU than boto3 and releases the GIL.

obstore handles only successful reads. After any other result the caller falls back to boto3, which explains and retries
errors. So a failed fast read costs one extra request.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import obstore
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

if TYPE_CHECKING:
    import boto3

MAX_FAILURES: Final = 5
"""After this many failures in a row, obstore is not used any more: it probably cannot use this store."""


class FastReader:
    """Reads objects of one bucket with obstore where possible. Thread-safe.

    Args:
        session: provides the credentials.
        client: provides the region and the endpoint.
        bucket: the bucket's name.
        connect_timeout_s: seconds before a connection attempt is abandoned.
        read_timeout_s: seconds without data before a read is abandoned.
    """

    def __init__(
        self, session: boto3.Session, client: Any, bucket: str, connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self._failures = 0
        self._timeout_s = min(connect_timeout_s, read_timeout_s)
        self._store: S3Store | None = None
        # Without credentials, or with a bucket name that obstore rejects, boto3 reads and gives a clear error.
        with suppress(BaseError, BotoCoreError, ValueError):
            self._store = S3Store(
                bucket,
                endpoint=client.meta.endpoint_url,
                region=client.meta.region_name,
                virtual_hosted_style_request=False,
                credential_provider=Boto3CredentialProvider(session),
                client_options={
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=connect_timeout_s),
                    "read_timeout": timedelta(seconds=read_timeout_s),
                },
                retry_config={"max_retries": 0},
            )

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and etag, or None if boto3 must read it."""
        if self._store is None or self._failures >= MAX_FAILURES:
            return None
        began = time.monotonic()
        try:
            answer = obstore.get(self._store, key)
            data, etag = answer.bytes().to_bytes(), answer.meta["e_tag"]
        except FileNotFoundError:  # deleted after it was listed
            return None
        except Exception:  # noqa: BLE001 - credential providers raise anything; boto3 repeats and explains the error
            # After a timeout, give up at once: every later read would wait as long again, before boto3's own timeout.
            timed_out = time.monotonic() - began >= self._timeout_s
            self._failures = MAX_FAILURES if timed_out else self._failures + 1
            return None
        if etag is None:
            return None
        self._failures = 0
        return data, etag.strip('"')
