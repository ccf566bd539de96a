"""The shortcut audit's baselines: images that lie on disk are looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.data import shortcuts
from tasks.datasets.dataset import Dataset, Item
from tasks.retraining import evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class OnDisk:
    """Images of which no more than one can be had at a time."""

    images: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Any) -> NDArray[np.uint8]:
        assert isinstance(place, int), "many images are held in memory at once"
        return self.images[place]


def test_the_baselines_hold_no_copy_of_all_images_in_memory() -> None:
    images = np.random.default_rng(0).integers(0, 80, (60, 32, 32, 1), dtype=np.uint8)
    images[::2, :2] += 100
    items = [
        Item(f"{number:064x}", "k", "e", "AB"[number % 2], f"p{number}", "test" if number > 39 else "train", True, 9)
        for number in range(60)
    ]
    said = evaluation.baselines(Dataset(tuple(items)), OnDisk(images))  # type: ignore[arg-type]
    assert (said[shortcuts.BORDER_BASELINE].argmax(axis=1) == np.arange(40, 60) % 2).all()
    assert said[shortcuts.FILE_BASELINE].shape == (20, 2)
