"""What may be shown of an error: the words that we wrote, never those of a driver or a parser."""

from __future__ import annotations

import psycopg2
import pytest

from infra.settings import SettingsError
from models.errors import in_words, is_explained
from models.serving.runtime import UnfitRuntimeError
from tasks.datasets.dataset import DatasetError
from tasks.validation.verdicts import ValidationError


@pytest.mark.parametrize("kind", [SettingsError, DatasetError, ValidationError, UnfitRuntimeError])
def test_an_error_of_ours_is_shown_in_its_own_words(kind: type[Exception]) -> None:
    assert is_explained(kind("set CXR_S3_BUCKET"))
    assert in_words(kind("set CXR_S3_BUCKET")) == "set CXR_S3_BUCKET"


@pytest.mark.parametrize("kind", [RuntimeError, FileNotFoundError, psycopg2.DataError, KeyboardInterrupt])
def test_of_a_foreign_error_only_the_type_is_shown(kind: type[BaseException]) -> None:
    assert not is_explained(kind("incoming/DOE^JANE.png"))
    assert in_words(kind("incoming/DOE^JANE.png")) == kind.__name__
