"""Intake: the result for each file, or the reason if there is none."""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from infra import storage
from infra.processes import free_port
from infra.storage import ObjectError, StorageError, Store
from models.phantoms.phantom import FORMATS, draw_phantom, encode
from models.radiographs.preprocessing import PreprocessingSpec
from models.radiographs.radiograph import Limits
from tasks.radiographs.fetching import Reference, read_for_scoring, thread_count
from tasks.scoring.intake import IntakePool

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.settings import Settings

SPEC = PreprocessingSpec(height=96, width=96)
LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000)


@pytest.fixture
def put(store: Store) -> Callable[..., Reference]:
    """Store bytes and return the reference that discovery would."""

    def put(data: bytes, key: str = "incoming/a.png", *, made: bool = False) -> Reference:
        store.write(key, data)
        ((listed,),) = store.list(key)
        return Reference(1, key, listed.etag, listed.size, made)

    return put


def test_every_format_of_one_picture_becomes_the_same_input(store: Store, put: Callable[..., Reference]) -> None:
    picture = draw_phantom("PNEUMONIA", 3, 0, seed=1, size=(300, 260))
    taken = {
        name: read_for_scoring(put(encode(picture, name, 95), f"formats/{name}.bin"), store, SPEC, LIMITS)
        for name in FORMATS
    }
    reference = taken["png-grey-8"].pixels
    assert reference is not None
    for name, one in taken.items():
        assert one.failure is None, name
        assert one.measurement is not None
        assert (one.measurement.height, one.measurement.width) == (300, 260), f"{name}: as displayed"
        assert one.measurement.made, name
        assert one.pixels is not None
        assert one.pixels.shape == SPEC.shape
        difference = np.abs(one.pixels.astype(int) - reference)
        assert difference.mean() < 1.5, name
        assert np.percentile(difference, 99) <= 8, name


def test_the_measurement_is_of_the_stored_bytes(store: Store, put: Callable[..., Reference]) -> None:
    data = encode(draw_phantom("NORMAL", 1, 0, seed=1, size=(120, 120)), "jpeg-grey")
    taken = read_for_scoring(put(data, "incoming/called.png"), store, SPEC, LIMITS)
    assert taken.measurement is not None
    assert taken.measurement.sha256 == hashlib.sha256(data).hexdigest()
    assert (taken.measurement.format, taken.measurement.n_bytes) == ("JPEG", len(data))


def test_a_made_prefix_marks_a_file_that_does_not_say_so_itself(store: Store, put: Callable[..., Reference]) -> None:
    plain = cv2.imencode(".png", np.arange(10_000, dtype=np.uint8).reshape(100, 100))[1].tobytes()
    for made in (False, True):
        taken = read_for_scoring(put(plain, made=made), store, SPEC, LIMITS)
        assert taken.measurement is not None
        assert taken.measurement.made is made


def test_an_oversized_object_is_judged_without_being_fetched(store: Store) -> None:
    """The object does not exist, so fetching it would fail."""
    taken = read_for_scoring(
        Reference(1, "incoming/huge.png", "e", LIMITS.max_bytes + 1, made=False), store, SPEC, LIMITS
    )
    assert taken.failure is None
    assert taken.measurement is not None
    assert taken.measurement.sha256 is None
    assert "2,000,001 bytes" in str(taken.measurement.problem)


def test_a_bomb_is_a_reason_not_a_crash(store: Store, put: Callable[..., Reference]) -> None:
    header = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    bomb += struct.pack(">I4s", 9, b"IDAT") + bytes(13)
    taken = read_for_scoring(put(bomb), store, SPEC, LIMITS)
    assert taken.pixels is None
    assert taken.measurement is not None
    assert "3,600,000,000 pixels" in str(taken.measurement.problem)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (encode(np.zeros((80, 80), np.float32), "png-grey-8")[:-40], "truncated"),
    ],
    ids=["empty", "text", "truncated"],
)
def test_bad_bytes_come_with_their_reason(
    store: Store, put: Callable[..., Reference], data: bytes, reason: str
) -> None:
    taken = read_for_scoring(put(data), store, SPEC, LIMITS)
    assert (taken.failure, taken.pixels) == (None, None)
    assert taken.measurement is not None
    assert not taken.measurement.decodable
    assert reason in str(taken.measurement.problem)


def test_an_object_deleted_or_replaced_since_the_listing_fails_alone(
    store: Store, put: Callable[..., Reference]
) -> None:
    deleted = put(b"x", "incoming/DOE 1.png")
    store.client.delete_object(Bucket=store.bucket, Key=deleted.key)
    replaced = put(b"x", "incoming/DOE 2.png")
    store.write(replaced.key, b"y")
    fine = put(encode(draw_phantom("NORMAL", 1, 0, seed=1, size=(120, 120)), "png-grey-8"), "incoming/DOE 3.png")
    with IntakePool(store, SPEC, LIMITS, 3) as pool:
        gone, other, good = pool.shard([deleted, replaced, fine])
    assert "deleted" in str(gone.failure)
    assert "replaced" in str(other.failure)
    assert good.failure is None
    assert good.pixels is not None
    assert "DOE" not in f"{gone} {other} {good.measurement}"


def test_a_store_out_of_reach_stops_the_shard(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_ATTEMPTS", 1)
    down = Store(settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{free_port()}"}))
    references = [Reference(n, f"incoming/{n}.png", "e", 1, made=False) for n in range(4)]
    with IntakePool(down, SPEC, LIMITS, 2) as pool, pytest.raises(StorageError, match="cannot be reached"):
        pool.shard(references)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("intake")]


def test_results_keep_the_order_of_the_references_whatever_takes_longest(store: Store) -> None:
    class Slow:
        def read(self, key: str, etag: str) -> bytes:
            threading.Event().wait(0.05 if key == "0" else 0)
            raise ObjectError(f"{key} {etag}")

    references = [Reference(n, str(n), "e", 1, made=False) for n in range(8)]
    with IntakePool(Slow(), SPEC, LIMITS, 4) as pool:  # type: ignore[arg-type]
        assert [one.image_id for one in pool.shard(references)] == list(range(8))
    assert store.bucket


def test_the_number_of_threads_is_as_configured_or_follows_the_processors() -> None:
    assert thread_count(3) == 3
    assert thread_count(0) >= 3
