"""Values of a recipe are read as they were written."""

from typing import Any

import pytest
import yaml

from asim_lightning.exchange.published.recipe_text import scalar


@pytest.mark.parametrize(
    "value", ["a: b", "#", "null", "1.0", "", "it's", "\u2028", "a\nb", "yes", "- x", "{", "ß", "x "]
)
def test_texts_stay_themselves(value: str) -> None:
    assert yaml.safe_load(f"key: {scalar(value)}  # comment") == {"key": value}


@pytest.mark.parametrize("value", [0, 1.0, 1e-5, 2.5e-7, 1e16, 1.5e300, 0.1, -3, True, None, [0.5, [1]], {"a": [1]}])
def test_numbers_stay_themselves(value: Any) -> None:
    assert yaml.safe_load(f"key: {scalar(value)}") == {"key": value}
