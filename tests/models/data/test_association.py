"""Measures of association: known values on hand-made tables, and no value where too little is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.data.association import associate, comparable_columns

RANDOM = np.random.default_rng(5)
NUMBERS = pd.Series(RANDOM.normal(size=300))
HALVES = pd.Series(["A", "B"] * 150)
THIRDS = pd.Series(["x", "y", "z"] * 100)


def test_numbers_that_rise_together_give_one_and_opposite_ones_minus_one() -> None:
    for other, expected in ((3 * NUMBERS + 2, 1.0), (-NUMBERS, -1.0)):
        found = associate(NUMBERS, other)
        assert (found.measure, found.n) == ("Pearson", 300)
        assert found.value == pytest.approx(expected)


def test_the_alphabetically_later_category_is_coded_as_one_in_either_order_of_columns() -> None:
    higher = pd.Series(np.where(HALVES == "B", 10.0, 0.0)) + NUMBERS
    assert associate(HALVES, higher) == associate(higher, HALVES)
    expected = np.corrcoef(higher, HALVES == "B")[0, 1]
    found = associate(higher, HALVES)
    assert (found.measure, found.value) == ("point-biserial", pytest.approx(expected))


def test_a_number_and_more_than_two_categories_have_a_correlation_ratio_without_sign() -> None:
    exact = THIRDS.map({"x": 5.0, "y": -5.0, "z": 0.0})
    assert associate(THIRDS, exact).value == pytest.approx(1.0)
    found = associate(THIRDS, NUMBERS)
    assert found.measure == "correlation ratio"
    assert found.value is not None
    assert 0 <= found.value < 0.2


def test_independent_categories_are_near_zero_even_in_a_small_table_with_many_values() -> None:
    few = pd.Series(RANDOM.integers(0, 6, 40).astype(str))
    other = pd.Series(RANDOM.integers(0, 6, 40).astype(str))
    raw = associate(few, few)
    assert raw.measure == "Cramér's V"
    assert raw.value == pytest.approx(1.0)
    apart = associate(few, other).value
    assert apart is not None
    assert apart < 0.35  # 0.4 and more without the correction


def test_too_few_rows_and_rare_categories_give_no_value() -> None:
    assert associate(NUMBERS[:9], HALVES[:9]).value is None
    rare = HALVES.where(NUMBERS.index > 1, "C").where(NUMBERS.index != 1, None)
    assert associate(rare, NUMBERS).n == 298  # one row unknown, and one of the only C
    alone = pd.Series(["A"] * 20 + ["B"] * 2)
    assert associate(alone, NUMBERS[:22]).value is None


def test_free_text_identifiers_in_words_and_columns_without_variation_are_not_compared() -> None:
    frame = pd.DataFrame(
        {
            "n": NUMBERS,
            "half": HALVES,
            "same": "X-ray",
            "name": [f"p{n}" for n in range(300)],
            "rare": [1.0] * 5 + [None] * 295,
        }
    )
    assert comparable_columns(frame) == ["n", "half"]
