"""Promises of models/lean.py."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from models import lean
lean.import_keras()
assert "keras" in sys.modules
assert not {"matplotlib", "sklearn"} & set(sys.modules)
import sklearn.metrics, matplotlib.figure
"""


def test_keras_comes_without_what_it_only_draws_with_and_both_can_be_had_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
