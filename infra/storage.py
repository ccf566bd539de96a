"""The object store: list, read and write the objects of one bucket through boto3.

botocore retries transient errors in its "standard" mode: throttling, 5xx and broken connections, with exponential
back-off and jitter. It does not retry errors while a body is being read, so these, and only these, are retried here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from infra.fast_reads import FastReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from infra.settings import Settings

MAX_ATTEMPTS = 5
MISSING_CODES = {"NoSuchKey", "404", "NotFound"}
DENIED_CODES = {"AccessDenied", "403", "Forbidden"}
BROKEN_BODY_ERRORS = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError)
"""Errors while a body is being read. A request that gets no response raises the last of them too."""
CREDENTIAL_ERRORS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)


class StorageError(RuntimeError):
    """The store as a whole cannot be used: it is unreachable, refuses the credentials or has no such bucket.

    It is raised from None, because botocore's messages contain URLs and thereby keys of objects.
    """


class BrokenBodyError(RuntimeError):
    """A response started normally and its body broke off; the message is the name of botocore's error."""


class ObjectError(RuntimeError):
    """One object cannot be read; the message says why in words and does not name the object."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    key: str = field(repr=False)
    etag: str
    size: int
    last_modified: datetime


class Store:
    """One bucket of an object store; thread-safe, as boto3 clients are.

    Args:
        settings: the store's address, the bucket and the credentials.
        connections: maximum number of open connections.
        connect_timeout_s: timeout of one attempt to connect.
        read_timeout_s: seconds without data after which one attempt to read fails.

    Raises:
        StorageError: there are no usable credentials.
    """

    def __init__(
        self,
        settings: Settings,
        connections: int = 16,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
    ) -> None:
        def secret(value: Any) -> str | None:
            return value.get_secret_value() if value is not None else None

        self.bucket = settings.bucket
        try:
            session = boto3.Session(
                aws_access_key_id=secret(settings.aws_access_key_id),
                aws_secret_access_key=secret(settings.aws_secret_access_key),
                aws_session_token=secret(settings.aws_session_token),
                region_name=settings.aws_region,
            )
            self.client = session.client(
                "s3",
                endpoint_url=settings.s3_endpoint_url,
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                    max_pool_connections=connections,
                    signature_version="s3v4",  # for signed links too: few stores accept their default, version 2
                    connect_timeout=connect_timeout_s,
                    read_timeout=read_timeout_s,
                    s3={"addressing_style": "path"} if settings.s3_endpoint_url else {},
                ),
            )
        except CREDENTIAL_ERRORS as error:
            raise StorageError(self._explain(error)) from None
        self._fast_reader = FastReader(session, self.client, self.bucket, connect_timeout_s, read_timeout_s)

    def list(self, prefix: str) -> Iterator[list[ListedObject]]:
        """Yield the objects under a prefix, in pages of up to 1,000.

        Raises:
            StorageError: the bucket cannot be listed.
        """
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                yield [
                    ListedObject(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
                    for item in page.get("Contents", [])
                ]
        except (ClientError, BotoCoreError) as error:
            raise StorageError(self._explain(error)) from None

    @retry(
        retry=retry_if_exception_type(BrokenBodyError),
        stop=stop_after_attempt(MAX_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )
    def _get(self, key: str) -> tuple[bytes, str]:
        return self._fast_reader.read(key) or self._get_with_botocore(key)

    def _get_with_botocore(self, key: str) -> tuple[bytes, str]:
        response = self.client.get_object(Bucket=self.bucket, Key=key)
        # `with response["Body"]` would give urllib3's stream, without botocore's check of the length and its errors.
        with closing(response["Body"]) as body:
            if "ETag" not in response or "ContentLength" not in response:
                raise BrokenBodyError("cut off in the headers")
            try:
                return body.read(), response["ETag"].strip('"')
            except BROKEN_BODY_ERRORS as error:
                raise BrokenBodyError(type(error).__name__) from None

    def read(self, key: str, etag: str | None = None) -> bytes:
        """Return an object's bytes.

        Args:
            key: the object.
            etag: the expected version; None accepts any.

        Raises:
            ObjectError: this object was deleted or replaced, cannot be accessed, or fails repeatedly.
            StorageError: the store cannot be reached, does not respond, or refuses the credentials.
        """
        try:
            data, current_etag = self._get(key)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in MISSING_CODES:
                raise ObjectError("the object was deleted after it had been listed") from None
            if code in DENIED_CODES:
                raise ObjectError("the object store denies access to this object") from None
            if code in {"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}:
                raise StorageError(self._explain(error)) from None
            raise ObjectError(f"the object store answered {code} in {MAX_ATTEMPTS} attempts") from None
        except BrokenBodyError as error:
            raise ObjectError(f"reading broke off {MAX_ATTEMPTS} times ({error})") from None
        except (BotoConnectionError, HTTPClientError, *CREDENTIAL_ERRORS) as error:
            raise StorageError(self._explain(error)) from None
        except BotoCoreError as error:
            raise ObjectError(f"the object cannot be requested ({type(error).__name__})") from None
        if etag is not None and current_etag != etag:
            raise ObjectError(
                "the object was replaced after it had been listed; the new version is scored by a later run"
            )
        return data

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Store an object.

        Raises:
            StorageError: the store refuses the request or cannot be reached.
        """
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=content_type)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(self._explain(error)) from None

    def presigned_url(self, key: str, seconds: int = 3600) -> str:
        """Return a link that opens the object without credentials for this number of seconds."""
        return str(
            self.client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
            )
        )

    def fetch(self, key: str, target: Path) -> None:
        """Download an object into a file.

        Raises:
            ObjectError: the store has no such object.
            StorageError: the object or the store cannot be read.
        """
        try:
            target.write_bytes(self._get(key)[0])
        except BrokenBodyError as error:
            raise StorageError(f"{key}: reading broke off {MAX_ATTEMPTS} times ({error})") from None
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in MISSING_CODES:
                raise ObjectError("the object is no longer in the store") from None
            raise StorageError(f"{key}: {self._explain(error)}") from None

    def _explain(self, error: ClientError | BotoCoreError) -> str:
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code"))
            if code == "NoSuchBucket":
                return f"bucket {self.bucket} does not exist; create it or set CXR_S3_BUCKET."
            if code in DENIED_CODES | {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}:
                return f"the object store refuses these credentials ({code}); check AWS_ACCESS_KEY_ID and its rights."
            return f"the object store answered {code} to {error.operation_name}."
        if isinstance(error, CREDENTIAL_ERRORS):
            name = type(error).__name__
            return f"no credentials for the object store ({name}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        if isinstance(error, ParamValidationError) and "bucket name" in str(error):
            return f"{self.bucket!r} is not a valid bucket name; check CXR_S3_BUCKET."
        return f"the object store cannot be reached ({type(error).__name__}); check CXR_S3_ENDPOINT_URL."
