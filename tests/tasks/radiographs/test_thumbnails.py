"""What thumbnails promise: pictures that look like the images, and words where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from models.radiographs.radiograph import Limits
from tasks.radiographs import thumbnails
from tasks.radiographs.fetching import Reference

if TYPE_CHECKING:
    from infra.storage import Store

LIMITS = Limits()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_thumbnail_keeps_the_aspect_of_8_and_16_bits(dtype: type) -> None:
    pixels = (np.linspace(0, 1, 900 * 600).reshape(900, 600) * np.iinfo(dtype).max).astype(dtype)
    small = cv2.imdecode(np.frombuffer(thumbnails.shrink(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
    assert small.shape == (thumbnails.LONGER_SIDE, round(thumbnails.LONGER_SIDE * 2 / 3))
    assert small.min() < 8
    assert small.max() > 247


def test_an_image_that_cannot_be_shown_says_why_and_spoils_no_other(store: Store) -> None:
    _, good = cv2.imencode(".png", np.arange(100 * 100, dtype=np.uint8).reshape(100, 100))
    store.write("good.png", bytes(good))
    store.write("bad.png", b"not an image")
    references = [
        Reference(1, "good.png", store_etag(store, "good.png"), len(good), made=False),
        Reference(2, "bad.png", store_etag(store, "bad.png"), 12, made=False),
        Reference(3, "gone.png", "e", 10, made=False),
        Reference(4, "huge.png", "e", LIMITS.max_bytes + 1, made=False),
    ]
    shown = thumbnails.thumbnails(store, references, LIMITS)
    assert shown[1].jpeg
    assert [shown[n].problem for n in (2, 3, 4)] == [
        "it is not an image", "the object was deleted after it had been listed", "too large to be fetched",
    ]  # fmt: skip


def store_etag(store: Store, key: str) -> str:
    return next(item.etag for page in store.list(key) for item in page)
