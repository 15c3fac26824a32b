"""The schedule: which conversions a column makes to form one product of a weight and an input."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from asim_lightning.circuit.macro import MacroConfig


@dataclass(frozen=True)
class Cycle:
    """One conversion of a column.

    The count is ``sum over rows of w_digit * x_digit``, with the weight digit that cells hold. Its code adds
    ``sign * 2^shift * full_scale / top_code * code`` to the output; with `adc_step` it adds ``sign * 2^shift *
    (adc_step * code + adc_low)``. A cycle without ADC adds ``sign * 2^shift * count``.
    """

    weight_bits: tuple[int, ...]
    """Weight bits of this cycle, least significant first."""
    input_bits: tuple[int, ...]
    """Input bits of this cycle, least significant first."""
    sign: int
    """+1, or -1 if one of the two digits is a sign plane."""
    shift: int
    """Binary weight of the count: 2^shift."""
    full_scale: int
    """Count that the largest code stands for."""
    top_code: int | None
    """Largest code; None for an ideal converter, whose codes are counts."""
    analog: bool
    """Whether noise and cell variation apply."""
    converted: bool
    """Whether the count passes the ADC."""
    votes: int = 1
    """How many times the cycle is converted."""
    weight_signed: bool = False
    """Whether the top weight bit counts negatively inside the digit (weight-parallel)."""
    input_signed: bool = False
    """Whether the top input bit counts negatively inside the digit (weight-parallel)."""
    adc_step: int | None = None
    """Counts an LSB, if the macro sets them; None: ``full_scale / top_code``."""
    adc_low: int = 0
    """Count that code 0 stands for."""
    most_count: int | None = None
    """Largest count that a layer's tiles can reach; None: `full_scale`."""

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for cycles of a macro that convert alike: they differ only in bits, sign, shift and votes."""
        return self.full_scale, self.top_code, self.analog, self.converted, self.signed

    @property
    def largest_count(self) -> int:
        """Largest magnitude of a count."""
        return self.full_scale if self.most_count is None else self.most_count

    @property
    def counts_a_code(self) -> float:
        """Counts that one code stands for; 1 for an ideal converter."""
        if self.adc_step is not None:
            return self.adc_step
        return 1.0 if self.top_code is None else self.full_scale / self.top_code

    @property
    def signed(self) -> bool:
        """Whether counts and codes can be negative."""
        return self.weight_signed or self.input_signed


def input_groups(input_bits: int, encoding_bits: int, signed_input: bool) -> list[tuple[int, ...]]:
    """Groups of input bits that are applied together, least significant first; a sign plane is the last group.

    Example: 8 bits, encoding 3, unsigned: (0, 1, 2), (3, 4, 5), (6, 7); signed: (0, 1, 2), (3, 4, 5), (6,), (7,).
    """
    magnitude = input_bits - signed_input
    groups = [tuple(range(low, min(low + encoding_bits, magnitude))) for low in range(0, magnitude, encoding_bits)]
    return [*groups, (magnitude,)] if signed_input else groups


@lru_cache(maxsize=1024)
def schedule(macro: MacroConfig, signed_input: bool, rows_in_use: int | None = None) -> tuple[Cycle, ...]:
    """Conversions of one column and tile: for each input group all weight bits, both from the LSB up.

    A cycle of weight bit i and input group j is digital if ``i + j >= W + G - 1 - digital_levels`` (W weight bits, G
    groups). Another cycle is voted if ``i + j >= W + G - 1 - vote_levels``.

    Args:
        macro: The macro.
        signed_input: Whether inputs are two's complement.
        rows_in_use: Most rows of a tile that hold weights; None: all. With `adc_step` it bounds the counts.

    Raises:
        ValueError: A signed input has too few bits for the macro's encoding.
    """
    if signed_input and macro.input_bits < 2:
        raise ValueError(f"`macro.input_bits` must be 2..16 for a signed input, got {macro.input_bits}")
    if signed_input and macro.encoding_bits >= macro.input_bits:
        raise ValueError(
            f"`macro.encoding_bits` must be 1..{macro.input_bits - 1} for a signed input of {macro.input_bits} bits, "
            f"got {macro.encoding_bits}"
        )
    if macro.weight_parallel:
        return (_weight_parallel_cycle(macro, signed_input, rows_in_use),)
    groups = input_groups(macro.input_bits, macro.encoding_bits, signed_input)
    corner = macro.weight_bits + len(groups) - 1
    cycles = []
    for j, bits in enumerate(groups):
        for i in range(macro.weight_bits):
            digital = i + j >= corner - macro.digital_levels
            voted = not digital and i + j >= corner - macro.vote_levels
            negative = (i == macro.weight_bits - 1) != (signed_input and j == len(groups) - 1)
            cycles.append(
                Cycle(
                    weight_bits=(i,),
                    input_bits=bits,
                    sign=-1 if negative else 1,
                    shift=i + bits[0],
                    full_scale=(2 ** len(bits) - 1) * macro.rows,
                    top_code=macro.top_code,
                    analog=not digital,
                    converted=not digital or macro.digital_adc,
                    votes=macro.votes if voted else 1,
                    **_adc_range(macro, not digital, 2 ** len(bits) - 1, rows_in_use),
                )
            )
    return tuple(cycles)


def _adc_range(macro: MacroConfig, converted: bool, digit: int, rows_in_use: int | None) -> dict[str, Any]:
    """The fields of a cycle for `adc_step`; a row adds at most `digit` to a count."""
    if macro.adc_step is None:
        return {}
    most = None if rows_in_use is None else min(rows_in_use, macro.rows) * digit
    if macro.weight_coding == "flip" and not macro.static.has_stuck_cells:  # no column has more ones than zeros
        most = min(rows_in_use or macro.rows, macro.rows) // 2 * digit
    converter = {"adc_step": macro.adc_step, "adc_low": macro.adc_low} if converted else {}
    return {**converter, "most_count": most}


def _weight_parallel_cycle(macro: MacroConfig, signed_input: bool, rows_in_use: int | None) -> Cycle:
    largest_input = 2 ** (macro.input_bits - signed_input) - 1
    span = largest_input * (2 ** (macro.weight_bits - 1) - 1)
    counts = _adc_range(macro, True, span, rows_in_use)
    if macro.static.has_stuck_cells:  # a weight with only its sign bit set exceeds the full scale
        rows = min(rows_in_use or macro.rows, macro.rows)
        counts["most_count"] = rows * largest_input * 2 ** (macro.weight_bits - 1)
    return Cycle(
        weight_bits=tuple(range(macro.weight_bits)),
        input_bits=tuple(range(macro.input_bits)),
        sign=1,
        shift=0,
        full_scale=span * macro.rows,
        top_code=macro.top_code,
        analog=True,
        converted=True,
        votes=macro.votes if macro.vote_levels else 1,
        weight_signed=True,
        input_signed=signed_input,
        **counts,
    )
