"""Phantoms and spoiled files: what training, tests and benchmarks rely on."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.phantoms.phantom import CLASSES, FORMATS, PLAIN_FORMATS, Phantom, draw_phantom, encode, write_phantoms
from models.phantoms.spoiled import SpoiledFile, write_spoiled_files
from models.vocabulary import PHANTOM_MARKER

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = {
    *("decodable", "format", "size", "aspect", "bit-depth"),
    *("not-blank", "not-saturated", "contrast", "grey", "histogram"),
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Phantom]:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), 36, seed=5, size=256)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SpoiledFile]:
    return {made.path.name: made for made in write_spoiled_files(tmp_path_factory.mktemp("spoiled"), seed=5)}


def test_the_same_arguments_draw_the_same_pixels() -> None:
    first, second = (draw_phantom("PNEUMONIA", 3, 1, seed=9, size=(300, 280)) for _ in range(2))
    assert first.shape == (300, 280)
    assert first.dtype == np.float32
    assert 0 <= first.min() < first.max() <= 1
    assert np.array_equal(first, second)


@pytest.mark.parametrize("other", [(3, 0, 8), (3, 1, 9), (4, 0, 9)], ids=["seed", "view", "patient"])
def test_seed_view_and_patient_each_change_the_picture(other: tuple[int, int, int]) -> None:
    patient, view, seed = other
    one = draw_phantom("NORMAL", 3, 0, seed=9, size=(200, 200))
    assert np.abs(one - draw_phantom("NORMAL", patient, view, seed=seed, size=(200, 200))).mean() > 0.005


def test_two_labels_of_one_patient_differ_only_by_opacities_inside_the_lungs() -> None:
    clear = draw_phantom("NORMAL", 3, 0, seed=9, size=(256, 256))
    for label in ("COVID-19", "PNEUMONIA"):
        added = draw_phantom(label, 3, 0, seed=9, size=(256, 256)) - clear
        assert added.min() > -0.02, "disease replaces air and never adds any"
        changed = (added > 0.05).mean()
        assert 0.005 < changed < 0.2
        outside = np.concatenate(
            [added[:20].ravel(), added[-30:].ravel(), added[:, :15].ravel(), added[:, -15:].ravel()]
        )
        assert np.abs(outside).max() < 0.02


def test_covid_is_on_both_sides() -> None:
    for patient in range(8):
        added = draw_phantom("COVID-19", patient, 0, 1, (256, 256)) - draw_phantom("NORMAL", patient, 0, 1, (256, 256))
        left, right = added[:, :128].sum(), added[:, 128:].sum()
        assert min(left, right) > 0.1 * max(left, right)


def test_an_unknown_label_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'FRACTURE'"):
        draw_phantom("FRACTURE", 0, 0, 0, (64, 64))


def test_unknown_formats_and_no_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="webp"):
        write_phantoms(tmp_path, 1, formats=("webp",))
    with pytest.raises(ValueError, match="choose from"):
        write_phantoms(tmp_path, 1, formats=())
    assert not list(tmp_path.iterdir())


def test_files_are_in_the_folder_of_their_label_and_listed(phantoms: list[Phantom]) -> None:
    folder = phantoms[0].path.parents[1]
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [made.path.relative_to(folder).as_posix() for made in phantoms]
    assert len({row["file"] for row in rows}) == 36
    assert all(made.path.parent.name == made.label == row["label"] for made, row in zip(phantoms, rows, strict=True))
    assert all(made.path.name.startswith(row["patient_id"] + "-") for made, row in zip(phantoms, rows, strict=True))


def test_patients_have_one_to_three_images_and_one_label(phantoms: list[Phantom]) -> None:
    assert set(Counter(made.patient_id for made in phantoms).values()) == {1, 2, 3}
    assert len({(made.patient_id, made.label) for made in phantoms}) == len({made.patient_id for made in phantoms})
    assert {made.label for made in phantoms} == set(CLASSES)


def test_a_set_contains_every_format_equally_often(phantoms: list[Phantom]) -> None:
    assert Counter(made.format for made in phantoms) == dict.fromkeys(FORMATS, 3)


def test_writing_again_gives_the_same_bytes_whatever_the_number_of_threads(tmp_path: Path) -> None:
    sets = [write_phantoms(tmp_path / str(jobs), 6, seed=2, size=200, jobs=jobs) for jobs in (1, 3)]
    assert [made.path.read_bytes() for made in sets[0]] == [made.path.read_bytes() for made in sets[1]]


def test_a_given_size_and_given_formats_are_used(tmp_path: Path) -> None:
    made = write_phantoms(tmp_path, 4, size=256, formats=PLAIN_FORMATS)
    assert {Image.open(one.path).size for one in made} == {(256, 256)}
    assert {Image.open(one.path).mode for one in made} == {"L"}


def test_every_phantom_file_shows_its_marker_before_a_pixel_is_decoded(phantoms: list[Phantom]) -> None:
    for made in phantoms:
        with Image.open(made.path) as image:
            assert PHANTOM_MARKER in (image.info.get("Software"), image.info.get("comment", b"").decode())


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("png-grey-8", "L"), ("png-grey-16", "I;16"), ("png-grey-12-in-16", "I;16"), ("png-grey-alpha", "LA")),
        *(("png-palette", "P"), ("png-rgb", "RGB"), ("png-rgba", "RGBA"), ("jpeg-grey", "L"), ("jpeg-rgb", "RGB")),
        *(("jpeg-exif-3", "L"), ("jpeg-exif-6", "L"), ("jpeg-exif-8", "L")),
    ],
)
def test_each_format_shows_the_same_picture_upright(name: str, mode: str) -> None:
    picture = draw_phantom("NORMAL", 1, 0, seed=0, size=(240, 200))
    image = Image.open(io.BytesIO(encode(picture, name)))
    assert image.mode == mode
    top = {"png-grey-16": 65535, "png-grey-12-in-16": 4095}.get(name, 255)
    upright = ImageOps.exif_transpose(image)
    shown = np.asarray(upright if top > 255 else upright.convert("L"), np.float32)
    assert shown.shape == (240, 200)
    assert np.abs(shown / top - picture).mean() < (0.01 if name.startswith("jpeg") else 0.0025)


def test_the_spoiled_set_names_each_check_at_least_once(spoiled: dict[str, SpoiledFile]) -> None:
    assert {made.fails for made in spoiled.values()} == CHECKS | {None}


def test_no_two_spoiled_files_are_equal(spoiled: dict[str, SpoiledFile]) -> None:
    digests = {hashlib.sha256(made.path.read_bytes()).hexdigest() for made in spoiled.values()}
    assert len(digests) == len(spoiled)


def test_the_bomb_is_small_and_announces_billions_of_pixels(
    spoiled: dict[str, SpoiledFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000_000)  # Pillow's own, which our reader lifts
    data = spoiled["bomb.png"].path.read_bytes()
    assert len(data) < 20_000
    assert int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") == 3_600_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_good_images_with_misleading_names_decode_by_their_content(spoiled: dict[str, SpoiledFile]) -> None:
    good = {name: Image.open(made.path) for name, made in spoiled.items() if made.fails is None}
    assert {name: image.format for name, image in good.items()} == {
        "jpeg-named.png": "JPEG",
        "no-suffix": "JPEG",
        "png-named.jpg": "PNG",
    }
    for image in good.values():
        image.load()


def test_damaged_files_cannot_be_read_to_the_end(spoiled: dict[str, SpoiledFile]) -> None:
    for name in ("cut-off.png", "cut-off.jpg", "flipped-byte.png"):
        with Image.open(spoiled[name].path) as image, pytest.raises((OSError, SyntaxError)):
            image.load()
