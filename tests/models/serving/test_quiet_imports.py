"""Imports without side effects."""

from __future__ import annotations

import os
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


def test_keras_is_imported_without_optional_packages_which_can_be_imported_later() -> None:
    # What Keras takes for optional is the same with every backend, and TensorFlow takes many seconds to import.
    environment = os.environ | {"KERAS_BACKEND": "openvino"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
