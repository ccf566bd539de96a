"""Fast reads: objects through obstore, which needs less of the processor than boto3 and not Python's lock.

Only reads that succeed go this way. After any other the caller asks boto3, which knows what each refusal means and
what to try again; so an object costs at most one request more.
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
"""In a row. After so many, obstore is not asked any more: it cannot use this store."""


class FastReader:
    """Reads objects of one bucket with obstore, or says that it cannot. Safe to share between threads.

    Args:
        session: whose credentials sign the requests.
        client: the S3 client whose region and endpoint are used.
        bucket: its name.
        connect_timeout_s: seconds after which an attempt to connect is given up.
        read_timeout_s: seconds of silence after which reading is given up.
    """

    def __init__(
        self, session: boto3.Session, client: Any, bucket: str, connect_timeout_s: float, read_timeout_s: float
    ) -> None:
        self._failures = 0
        self._patience_s = min(connect_timeout_s, read_timeout_s)
        self._store: S3Store | None = None
        # Without credentials, or with a name that is none to obstore, boto3 is asked, and says it in words.
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
        """Return an object's bytes and etag, or None where boto3 must be asked."""
        if self._store is None or self._failures >= MAX_FAILURES:
            return None
        began = time.monotonic()
        try:
            answer = obstore.get(self._store, key)
            data, etag = answer.bytes().to_bytes(), answer.meta["e_tag"]
        except FileNotFoundError:  # deleted since it was listed
            return None
        except Exception:  # noqa: BLE001 - also what credential providers raise; boto3 meets it again and explains it
            # After a silence each later try would wait as long, before boto3's own.
            silent = time.monotonic() - began >= self._patience_s
            self._failures = MAX_FAILURES if silent else self._failures + 1
            return None
        if etag is None:
            return None
        self._failures = 0
        return data, etag.strip('"')
