"""What validation promises: the checklist's verdicts in words, on real, made and spoiled files."""

from __future__ import annotations

import dataclasses
import io
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.phantoms import phantom, spoiled
from models.radiographs import radiograph
from models.radiographs.radiograph import Limits, Measurement
from tasks.scoring.runs import bad_share_exceeded
from tasks.validation.data_docs import DOCS_SHARDS, build_data_docs, keep_for_docs
from tasks.validation.reasons import Reason
from tasks.validation.verdicts import ShardVerdicts, Verdict, validate

ROOT = Path(__file__).resolve().parents[3]
ORIGINALS = ROOT.parent / "shared" / "xrays" / "originals"
LIMITS = Limits()
GOOD = Measurement(
    n_bytes=500_000,
    sha256="0" * 64,
    format="PNG",
    width=1024,
    height=1024,
    bit_depth=8,
    channels=1,
    mode="L",
    decodable=True,
    mean=0.5,
    std=0.2,
    p05=0.1,
    p95=0.8,
    black_share=0.02,
    white_share=0.0,
    peak_share=0.02,
    entropy=7.2,
    colour=0.0,
)


def verdict(measurement: Measurement) -> Verdict:
    return validate([7], [measurement], LIMITS).verdicts[0]


def measured(data: bytes, limits: Limits = LIMITS) -> Measurement:
    return radiograph.decode(data, limits)[1]


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the real radiographs are not beside the checkout")
def test_no_real_radiograph_is_quarantined() -> None:
    files = sorted(path for path in ORIGINALS.rglob("*.*") if path.is_file())
    shard = validate(range(len(files)), [measured(path.read_bytes()) for path in files], LIMITS)
    assert len(files) == 36
    assert [verdict for verdict in shard.verdicts if not verdict.accepted] == []


def test_no_phantom_is_quarantined(tmp_path: Path) -> None:
    made = phantom.write_phantoms(tmp_path, len(phantom.FORMATS), seed=3)
    shard = validate(range(len(made)), [measured(one.path.read_bytes()) for one in made], LIMITS)
    assert [(made[at].format, verdict.reason) for at, verdict in enumerate(shard.verdicts) if verdict.failed] == []


@pytest.mark.parametrize("label", phantom.CLASSES)
def test_white_text_burnt_into_a_12_bit_film_does_not_quarantine_it(label: str) -> None:
    film = np.rint(phantom.draw_phantom(label, 1, 0, 4, (800, 700)) * 4095).astype(np.uint16)
    text = cv2.putText(np.zeros(film.shape, np.uint8), "R AP", (520, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2)
    film[text > 127] = 65535
    assert 0.0005 < (film == 65535).mean() < 0.005
    assert verdict(measured(png(film))) == Verdict(7)


def test_each_spoiled_file_fails_first_of_all_the_check_it_was_made_to_fail(tmp_path: Path) -> None:
    files = spoiled.write_spoiled_files(tmp_path)
    shard = validate(range(len(files)), [measured(one.path.read_bytes()) for one in files], LIMITS)
    found = {one.path.name: verdict.failed for one, verdict in zip(files, shard.verdicts, strict=True)}
    wrong = {one.path.name: (one.fails, found[one.path.name]) for one in files if not _as_meant(one, found)}
    assert wrong == {}


def _as_meant(one: spoiled.SpoiledFile, found: dict[str, tuple[str, ...]]) -> bool:
    failed = found[one.path.name]
    return failed[:1] == (one.fails,) if one.fails else not failed


def test_an_accepted_image_has_no_reason() -> None:
    assert verdict(GOOD) == Verdict(7)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p05": 0.4, "p95": 0.42}, "contrast: the grey values span 0.02 of the range; at least 0.10 is expected"),
        ({"width": 60, "height": 80}, "size: it is 60 x 80 pixels; at least 64 on each side are expected"),
        ({"height": 200}, "aspect: width is 5.12 times the height; 0.4 to 2.5 is expected"),
        ({"bit_depth": 1}, "bit-depth: it has 1 bit(s) a channel; 8 or 16 are expected"),
        ({"white_share": 0.9}, "not-saturated: 90% of the image is white; at most 50% is expected"),
        ({"black_share": 0.7}, "not-saturated: 70% of the image is black; at most 65% is expected"),
        ({"colour": 0.3}, "grey: the colour channels differ by 0.30 of the range; at most 0.08 is expected"),
        ({"entropy": 1.0}, "histogram: the shades of grey hold 1.0 bits; at least 3.4 are expected"),
        ({"peak_share": 0.8}, "histogram: one shade of grey fills 80% of the image; at most 50% is expected"),
    ],
)
def test_a_reason_names_the_expectation_the_measured_value_and_the_threshold(changes: dict, reason: str) -> None:
    assert verdict(dataclasses.replace(GOOD, **changes)).reason == reason


def test_an_image_that_fails_two_expectations_has_both_names_and_both_reasons() -> None:
    found = verdict(dataclasses.replace(GOOD, bit_depth=4, colour=0.3))
    assert found.failed == ("bit-depth", "grey")
    assert found.reason == (
        "bit-depth: it has 4 bit(s) a channel; 8 or 16 are expected; "
        "grey: the colour channels differ by 0.30 of the range; at most 0.08 is expected"
    )


def test_a_truncated_file_fails_decodable_and_nothing_else() -> None:
    data = png(np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8))
    found = verdict(measured(data[: len(data) // 2]))
    assert found.failed == ("decodable",)
    assert found.reason.startswith("decodable: the PNG is truncated or damaged")


def test_a_file_that_is_not_an_image_fails_format_and_nothing_else() -> None:
    assert verdict(measured(b"hello")) == Verdict(7, (Reason("it is not an image", "format"),))


def test_an_empty_file_fails_decodable_and_nothing_else() -> None:
    assert verdict(measured(b"")) == Verdict(7, (Reason("the file is empty", "decodable"),))


def test_a_file_above_the_byte_limit_fails_size_and_nothing_else() -> None:
    limits = Limits(max_bytes=1000)
    found = validate([7], [measured(b"x" * 1001, limits)], limits).verdicts[0]
    assert found == Verdict(7, (Reason("the file has 1,001 bytes; at most 1,000 are read", "size"),))


def test_an_image_above_the_pixel_limit_fails_size_and_nothing_else() -> None:
    limits = Limits(max_pixels=10_000)
    found = validate([7], [measured(png(np.zeros((128, 100), np.uint8)), limits)], limits).verdicts[0]
    assert found == Verdict(7, (Reason("100 x 128 are 12,800 pixels; at most 10,000 are decoded", "size"),))


def test_an_image_of_one_shade_fails_not_blank_and_nothing_else() -> None:
    for pixels in (np.full((128, 128), 9, np.uint8), np.full((128, 128), 3000, np.uint16)):
        assert verdict(measured(png(pixels))).failed == ("not-blank",)


def test_a_shard_of_broken_files_only_gets_a_verdict_for_each() -> None:
    shard = validate([3, 1, 2], [measured(b""), measured(b"a"), measured(b"")], LIMITS)
    assert [(one.image_id, one.failed) for one in shard.verdicts] == [
        (3, ("decodable",)),
        (1, ("format",)),
        (2, ("decodable",)),
    ]


def test_verdicts_keep_the_order_and_the_ids_of_the_images() -> None:
    bad = dataclasses.replace(GOOD, colour=0.5)
    ids = [2**53 - 1, 5, 9, 4]
    shard = validate(ids, [GOOD, bad, GOOD, bad], LIMITS)
    assert [one.image_id for one in shard.verdicts] == ids
    assert [one.accepted for one in shard.verdicts] == [True, False, True, False]
    assert shard.bad == 2


def test_verdicts_of_one_shard_do_not_leak_into_the_next() -> None:
    assert verdict(dataclasses.replace(GOOD, colour=0.5)).failed == ("grey",)
    assert verdict(GOOD).failed == ()


def test_an_id_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        validate([1, 1], [GOOD, GOOD], LIMITS)


def test_an_empty_shard_does_not_import_great_expectations() -> None:
    code = (
        "import sys; from models.radiographs.radiograph import Limits; from tasks.validation.verdicts import validate; "
        "assert not validate([], [], Limits()).verdicts; assert 'great_expectations' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("bad", "total", "said"),
    [
        (6, 20, None),
        (7, 20, "7 of 20 images (35%) were quarantined or failed; at most 30% is accepted"),
        (19, 19, None),
        (0, 0, None),
    ],
)
def test_too_large_a_share_of_bad_images_is_said_in_words_unless_there_are_too_few_to_judge(
    bad: int, total: int, said: str | None
) -> None:
    assert bad_share_exceeded(bad, total, threshold=0.3, min_images=20) == said


def test_data_docs_show_each_shards_verdicts_in_words_and_need_no_other_server(tmp_path: Path) -> None:
    shards = [
        validate([11, 12], [GOOD, dataclasses.replace(GOOD, colour=0.5)], LIMITS, shard=1),
        validate([13], [GOOD], LIMITS, shard=2),
    ]
    index = build_data_docs(shards, tmp_path / "docs")
    assert sorted(path.name for path in index.parent.iterdir()) == ["index.html", "shard-1.html", "shard-2.html"]
    page = index.read_text(encoding="utf-8")
    assert "3 images in 2 shards" in " ".join(page.split())
    assert "Shades of grey, not a colour photograph." in page
    shard = (index.parent / "shard-1.html").read_text(encoding="utf-8")
    assert "Shades of grey, not a colour photograph." in shard
    assert "Expected: distance from grey is at most 0.08." in shard
    assert ">12<" in shard
    for path in index.parent.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "http" not in text
        assert "<script" not in text
        for link in re.findall(r'href="([^"#]+\.html)', text):
            assert (path.parent / link).is_file()


def test_data_docs_of_a_run_without_images_say_so(tmp_path: Path) -> None:
    assert "0 images in 0 shards" in " ".join(build_data_docs([], tmp_path).read_text(encoding="utf-8").split())


def test_of_many_shards_data_docs_keep_those_with_most_bad_images() -> None:
    kept: list[ShardVerdicts] = []
    for number in range(50):
        reasons = (Reason("colourful", "grey"),) if number % 2 else ()
        kept = keep_for_docs(kept, ShardVerdicts(number, (Verdict(number, reasons),)))
    assert len(kept) == DOCS_SHARDS
    assert all(shard.bad for shard in kept)
