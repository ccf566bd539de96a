"""Promises of models/serving/quiet_imports.py."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from models.serving import quiet_imports
quiet_imports.import_keras()
assert "keras" in sys.modules
assert not {"matplotlib", "pandas", "sklearn"} & set(sys.modules)
import matplotlib.figure, pandas, sklearn.metrics
assert pandas.Series([1]).sum() == 1
"""


def test_keras_comes_without_what_it_does_not_need_and_that_can_be_had_later() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
