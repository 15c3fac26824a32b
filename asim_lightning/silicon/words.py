"""Words of `$readmemh`: several fields of two's complement in a word, the first field in the lowest bits."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def hex_words(fields: Integers, bits: int) -> list[str]:
    """A word of hexadecimal digits for each row of fields. # (words, fields)

    Args:
        fields: Whole numbers.
        bits: Bits of a field: 1..63.
    """
    count = fields.shape[1] * bits
    planes = (fields[:, :, None] >> np.arange(bits)) & 1  # (words, fields, bits)
    lowest_first = np.zeros((len(fields), -(-count // 8) * 8), dtype=np.uint8)
    lowest_first[:, :count] = planes.reshape(len(fields), count)
    digits = -(-count // 4)
    packed = np.packbits(lowest_first[:, ::-1], axis=1)
    return [row.tobytes().hex()[-digits:] for row in packed]


def fields_of(words: list[str], fields: int, bits: int, signed: bool = False) -> Integers:
    """The inverse of `hex_words`. # (words, fields)

    Raises:
        ValueError: A word is no hexadecimal number of so many bits.
    """
    found = np.zeros((len(words), fields), dtype=np.int64)
    mask = (1 << bits) - 1
    for number, word in enumerate(words):
        value = int(word, 16)
        if value >> fields * bits:
            raise ValueError(f"a word must have at most {fields * bits} bits, got {word}")
        found[number] = [value >> place * bits & mask for place in range(fields)]
    return np.where(found >> bits - 1 == 1, found - (1 << bits), found) if signed else found


def hex_text(order: str, words: list[str]) -> str:
    """A file for `$readmemh`: the order of its words as a comment, then a word a line."""
    return "\n".join([f"// {order}", *words]) + "\n"


def words_of(text: str) -> list[str]:
    """The words of a file for `$readmemh`: without comments, white space and underscores between digits."""
    lines = (line.partition("//")[0] for line in text.splitlines())
    return [word.replace("_", "") for line in lines for word in line.split()]


def signed_bits(largest: int) -> int:
    """Bits of two's complement that hold magnitudes up to a number."""
    return largest.bit_length() + 1
