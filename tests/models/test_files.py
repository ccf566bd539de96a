"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models import files
from models.files import UNFINISHED_PREFIX, atomic_file, atomic_folder, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_a_writer_that_fails_leaves_the_file_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    def fail(*, several_writers: bool) -> None:
        with atomic_file(tmp_path / "a.json", several_writers=several_writers) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    write_json(tmp_path / "a.json", {"old": 1})
    for several_writers in (False, True):
        with pytest.raises(RuntimeError):
            fail(several_writers=several_writers)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert read_json(tmp_path / "a.json", None) == {"old": 1}


def test_what_a_killed_writer_left_does_not_stop_the_next_one(tmp_path: Path) -> None:
    (tmp_path / f"{UNFINISHED_PREFIX}a.npz").write_bytes(b"half")
    (tmp_path / f"{UNFINISHED_PREFIX}b").mkdir()
    (tmp_path / f"{UNFINISHED_PREFIX}b" / "half").touch()
    write_arrays(tmp_path / "a.npz", numbers=np.arange(3))
    with atomic_folder(tmp_path / "b") as unfinished:
        (unfinished / "whole").touch()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a.npz", "b", "b/whole"]
    assert np.load(tmp_path / "a.npz")["numbers"].tolist() == [0, 1, 2]


def test_of_several_writers_at_once_one_whole_file_stays(tmp_path: Path) -> None:
    def write(number: int) -> None:
        write_arrays(tmp_path / "a.npz", several_writers=True, numbers=np.full(10_000, number))

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(write, range(64)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert len(set(np.load(tmp_path / "a.npz")["numbers"].tolist())) == 1


def test_a_folder_that_another_writer_finished_first_stays_and_is_told(tmp_path: Path) -> None:
    def write(name: str) -> None:
        with atomic_folder(tmp_path / "a", several_writers=True) as unfinished:
            (unfinished / name).touch()
            if name == "slow":
                write("fast")

    with pytest.raises(OSError, match="not empty"):
        write("slow")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["a", "a/fast"]


def test_what_is_written_is_for_its_owner_only(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as unfinished:
        write_json(unfinished / "b.json", 1)
    with atomic_folder(tmp_path / "c", several_writers=True) as unfinished:
        write_arrays(unfinished / "d.npz", several_writers=True, none=np.empty(0))
    files.make_private_folders(tmp_path / "e" / "f")
    for path in tmp_path.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
