"""The object store: errors of one object and of the whole store, retries, and no key in any message."""

from __future__ import annotations

import hashlib
import json
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest

from infra import fast_reads, storage
from infra.processes import free_port
from infra.storage import ObjectError, StorageError, Store
from tests.support.proxy import CuttingProxy, SilentServer

if TYPE_CHECKING:
    from pathlib import Path

    from infra.servers import ObjectStore
    from infra.settings import Settings

KEY = "incoming/DOE^JANE 1970.png"


def other(settings: Settings, **changes: object) -> Store:
    return Store(settings.model_copy(update=changes))


def printed(error: BaseException) -> str:
    """An error as a log shows it, with its causes."""
    return "".join(traceback.format_exception(error))


def test_an_object_comes_back_as_it_was_written(store: Store) -> None:
    data = bytes(range(256)) * 999
    store.write(KEY, data)
    assert store.read(KEY) == data
    ((listed,),) = store.list("incoming/")
    assert (listed.key, listed.size, listed.etag) == (KEY, len(data), hashlib.md5(data).hexdigest())  # noqa: S324 - S3's
    assert store.read(KEY, listed.etag) == data
    assert "DOE" not in repr(listed)


def test_a_long_listing_comes_in_pages_without_a_gap(store: Store) -> None:
    for number in range(12):
        store.write(f"pages/{number:02}.png", b"")
    store.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 5}
    )
    pages = list(store.list("pages/"))
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [item.key for page in pages for item in page] == [f"pages/{number:02}.png" for number in range(12)]
    assert [len(page) for page in store.list("nothing/")] == [0]


ODD_KEYS = [
    "incoming/a b+c%20d.png", "incoming/späť/ß☃.png", "incoming/~tilde^caret.png", "incoming/#hash?query&and=is.png",
    "incoming/[brackets]{braces}'quotes\".png", "incoming/percent%.png", "incoming/%2F%41.png", "incoming/ space .png",
    "incoming/" + "long" * 60 + ".png", "incoming/.hidden", "incoming/a\\b.png", "incoming/..png",
]  # fmt: skip


@pytest.mark.parametrize("key", ODD_KEYS)
def test_an_oddly_named_object_is_read_and_no_other(store: Store, key: str) -> None:
    store.write(key, key.encode())
    store.write("incoming/A.png", b"another")
    assert store.read(key) == key.encode()
    fast = store._fast_reader.read(key)  # noqa: SLF001 - it may decline, but must not bring another object
    assert fast is None or fast[0] == key.encode()


def test_objects_are_read_with_obstore(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(KEY, b"fast")
    monkeypatch.setattr(store, "_get_with_botocore", None)  # boto3's way would fail
    assert store.read(KEY) == b"fast"


def test_obstore_is_given_up_where_it_fails_again_and_again(
    store: Store, settings: Settings, object_store: ObjectStore
) -> None:
    store.write(KEY, bytes(100_000))
    with CuttingProxy(object_store.url, cuts=10_000, after=0) as proxy:
        reader = other(settings, s3_endpoint_url=proxy.url)._fast_reader  # noqa: SLF001 - counted through its connections
        for _ in range(fast_reads.MAX_FAILURES + 3):
            assert reader.read(KEY) is None
        assert proxy.connections == fast_reads.MAX_FAILURES


def test_obstore_is_not_given_up_for_missing_objects(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(fast_reads.MAX_FAILURES + 1):
        with pytest.raises(ObjectError):
            store.read("incoming/gone.png")
    store.write(KEY, b"fast")
    monkeypatch.setattr(store, "_get_with_botocore", None)
    assert store.read(KEY) == b"fast"


def test_a_deleted_object_is_that_objects_fault(store: Store) -> None:
    with pytest.raises(ObjectError, match="deleted after it had been listed"):
        store.read(KEY)


def test_a_replaced_object_is_not_taken_for_the_listed_one(store: Store) -> None:
    store.write(KEY, b"old")
    ((listed,),) = store.list("incoming/")
    store.write(KEY, b"new")
    with pytest.raises(ObjectError, match="replaced") as refusal:
        store.read(KEY, listed.etag)
    assert "DOE" not in printed(refusal.value)


def test_an_invalid_bucket_name_is_reported_as_such(settings: Settings) -> None:
    with pytest.raises(StorageError, match=r"'Bad Bucket!' is not a valid bucket name; check CXR_S3_BUCKET"):
        list(other(settings, s3_bucket="Bad Bucket!").list("incoming/"))


def test_a_missing_bucket_is_the_stores_fault_and_named(settings: Settings) -> None:
    lost = other(settings, s3_bucket="no-such-bucket")
    for step in (lambda: lost.read(KEY), lambda: list(lost.list("incoming/")), lambda: lost.write(KEY, b"")):
        with pytest.raises(StorageError, match="no-such-bucket does not exist") as refusal:
            step()
        assert "DOE" not in printed(refusal.value)


def test_wrong_credentials_are_the_stores_fault_and_not_shown(settings: Settings) -> None:
    wrong = other(settings, aws_secret_access_key=type(settings.aws_secret_access_key)("wrong-secret-key"))  # type: ignore[misc]
    with pytest.raises(StorageError, match="refuses these credentials") as refusal:
        list(wrong.list("incoming/"))
    assert "wrong-secret" not in printed(refusal.value)


def test_a_store_that_is_down_is_no_objects_fault_and_no_key_is_printed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_ATTEMPTS", 2)  # the pauses between five take many seconds
    down = other(settings, s3_endpoint_url=f"http://127.0.0.1:{free_port()}")
    for step in (lambda: down.read(KEY), lambda: down.write(KEY, b""), lambda: list(down.list(KEY))):
        with pytest.raises(StorageError, match="cannot be reached") as refusal:
            step()
        assert "DOE" not in printed(refusal.value)


@pytest.mark.parametrize("after", [300, 20_000], ids=["at the start", "in mid-body"])
def test_a_connection_that_breaks_in_mid_body_is_tried_again(
    store: Store, settings: Settings, object_store: ObjectStore, after: int
) -> None:
    data = bytes(range(256)) * 2000
    store.write(KEY, data)
    with CuttingProxy(object_store.url, cuts=2, after=after) as proxy:
        assert other(settings, s3_endpoint_url=proxy.url).read(KEY) == data
        assert (proxy.cuts_left, proxy.connections) == (0, 3)


def test_a_connection_that_always_breaks_is_given_up_in_words(
    store: Store, settings: Settings, object_store: ObjectStore
) -> None:
    store.write(KEY, bytes(100_000))
    with (
        CuttingProxy(object_store.url, cuts=10_000, after=5_000) as proxy,
        pytest.raises(ObjectError, match="broke off 5 times") as refusal,
    ):
        other(settings, s3_endpoint_url=proxy.url).read(KEY)
    assert "DOE" not in printed(refusal.value)


def test_a_store_that_never_answers_is_the_stores_fault_and_its_link_is_tried_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_ATTEMPTS", 2)
    with SilentServer() as server:
        silent = Store(settings.model_copy(update={"s3_endpoint_url": server.url}), read_timeout_s=0.1)
        for connections in (3, 5):  # the link and two attempts; then two attempts
            with pytest.raises(StorageError, match=r"cannot be reached \(ReadTimeoutError\)") as refusal:
                silent.read(KEY)
            assert server.connections == connections
    assert "DOE" not in printed(refusal.value)


def test_a_store_that_hangs_up_without_a_word_is_the_stores_fault(
    settings: Settings, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_ATTEMPTS", 2)
    with (
        CuttingProxy(object_store.url, cuts=10_000, after=0) as proxy,
        pytest.raises(StorageError, match=r"cannot be reached \(ConnectionClosedError\)"),
    ):
        other(settings, s3_endpoint_url=proxy.url).read(KEY)
    assert proxy.connections == 3


def test_a_body_that_stalls_is_tried_again_and_is_that_objects_fault(settings: Settings) -> None:
    begun = b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\nETag: "e"\r\n\r\nbegun'
    with SilentServer(begun) as server:
        stalling = Store(settings.model_copy(update={"s3_endpoint_url": server.url}), read_timeout_s=0.1)
        with pytest.raises(ObjectError, match=r"broke off 5 times \(ReadTimeoutError\)"):
            stalling.read(KEY)
        assert server.connections == 6


def test_missing_credentials_are_no_objects_fault(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()  # so near that they are renewed before they are used
    keys = {"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret", "SessionToken": "t", "Expiration": soon}
    answer = tmp_path / "answer"
    answer.write_text(json.dumps(keys))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {answer}\n")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the files it has read
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    expiring = other(settings, aws_access_key_id=None, aws_secret_access_key=None)
    answer.unlink()
    said = r"no credentials for the object store \(CredentialRetrievalError\)"
    with pytest.raises(StorageError, match=said):
        expiring.read(KEY)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(StorageError, match=said):
        other(settings, aws_access_key_id=None, aws_secret_access_key=None)


def test_an_object_is_fetched_into_a_file_or_reported_as_missing(store: Store, tmp_path: Path) -> None:
    store.write("models/m/model.keras", b"weights")
    store.fetch("models/m/model.keras", tmp_path / "model.keras")
    assert (tmp_path / "model.keras").read_bytes() == b"weights"
    with pytest.raises(ObjectError, match="no longer in the store"):
        store.fetch("models/m/lost.keras", tmp_path / "lost")
    assert not (tmp_path / "lost").exists()


def test_a_presigned_link_opens_without_credentials(store: Store) -> None:
    from urllib.request import urlopen

    store.write("reports/späť 1.html", b"<p>fine</p>")
    with urlopen(store.presigned_url("reports/späť 1.html")) as answer:  # noqa: S310 - our own server
        assert answer.read() == b"<p>fine</p>"
