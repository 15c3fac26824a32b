"""Words of hex files and their fields."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from asim_lightning.silicon.words import fields_of, hex_text, hex_words, words_of


@given(some.integers(1, 20), some.integers(1, 9), some.integers(0, 2**32), some.booleans())
def test_fields_come_back(bits: int, fields: int, seed: int, signed: bool) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = np.random.default_rng(seed).integers(low, high, (3, fields))
    words = hex_words(values, bits)
    assert {len(word) for word in words} == {-(-bits * fields // 4)}
    assert fields_of(words_of(hex_text("order", words)), fields, bits, signed).tolist() == values.tolist()


def test_the_first_field_is_in_the_lowest_bits() -> None:
    assert hex_words(np.array([[1, 2, 3, 4], [-1, 0, 0, 0]]), 4) == ["4321", "000f"]
    assert words_of("// a comment\n12_34 // another\n\nab") == ["1234", "ab"]
    with pytest.raises(ValueError, match="a word must have at most 8 bits, got 123"):
        fields_of(["123"], 2, 4)
