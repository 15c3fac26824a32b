"""Values of a recipe are read as they were written."""

from typing import Any

import pytest
import yaml

from asim_lightning.exchange.published.recipe_text import scalar

TEXTS = ["a: b", "#", "null", "1.0", "", "it's", "\u2028", "a\nb", "yes", "- x", "{", "ß", "x "]
NUMBERS = [0, 1.0, 1e-5, 2.5e-7, 1e16, 1.5e300, 0.1, -3, True, None, [0.5, [1]], {"a": [1]}]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS])
def test_values_stay_themselves(value: Any) -> None:
    assert yaml.safe_load(f"key: {scalar(value)}  # comment") == {"key": value}
