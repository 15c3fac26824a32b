"""Counts of the operations of a layer's arrays for one image: conversions, reads, shift-adds, cells and others."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import groupby

from asim_lightning.circuit import Cycle, Transfer
from asim_lightning.cost.product_shape import ProductShape


@dataclass(frozen=True)
class Operations:
    """Operations for one image."""

    macs: int = 0
    """Multiplications."""
    row_macs: int = 0
    """Multiplications of the same cycles if every row of every tile held a weight."""
    conversions: int = 0
    """Conversions of the ADC, including votes."""
    array_reads: int = 0
    """Number of times that the rows of an array are driven, with one input digit each."""
    digital_cycles: int = 0
    """Digital cycles of one column."""
    digital_bit_macs: int = 0
    """Products of bits in cycles without a conversion; a multiplication has weight bits times input bits of them."""
    shift_adds: int = 0
    """Sums over the weight bits of an output, each added to the output's accumulator."""
    complement_sums: int = 0
    """Additions for columns that may hold complements (`weight_coding` flip): of each row's input digit to the sum of
    its tile, and of this sum to each code."""
    complement_bits: int = 0
    """Bits of state that say which columns hold complements."""
    cells: int = 0
    """Cells that hold weights; for a transposed convolution, also cells that hold its zeros."""
    all_cells: int = 0
    """Cells of the columns in use, including rows without a weight."""
    cells_written: int = 0
    """Cells that are written for each image, for products of two activations."""
    converters: int = 0
    """Converters of all arrays."""
    additions: int = 0
    """Digital additions of transforms at run time; not those of a product."""
    cycles: int = 0
    """Conversion times, one after another, if each tile of each matrix is a separate array."""

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def rows_in_use(self) -> float:
        """Share of the products of all rows that the output needs, over all cycles; 1 without arrays."""
        return self.macs / self.row_macs if self.row_macs else 1.0


def operations(shape: ProductShape, circuit: Transfer) -> Operations:
    """Operations of one product for one image.

    For O outputs, T tiles, and one cycle for each input digit and weight bit: ``conversions = O T sum of votes of
    converted cycles``; ``digital_cycles = O T other cycles``; ``shift_adds = O T digits``; ``array_reads = matrices
    steps T rounds``; ``cycles = steps rounds``. Each digit takes as many rounds as its busiest converter makes
    conversions, or one round without conversions. With `weight_coding` flip, ``complement_sums = O T cycles + matrices
    steps digits rows in use`` and ``complement_bits = matrices T columns weight bits``.
    """
    macro, tiles = circuit.macro, shape.tiles(circuit.macro.rows)
    digits = list(input_digits(circuit.cycles))
    converted = sum(cycle.votes for cycle in circuit.cycles if cycle.converted)
    own = shape.columns * (1 if macro.weight_parallel else macro.weight_bits)  # columns of an array
    shared = min(macro.static.columns_per_adc, own)
    rounds = [_rounds(digit, shape.columns, shared) for digit in digits]
    columns = shape.matrices * len(tiles) * shape.columns * macro.weight_bits
    may_flip = macro.weight_coding == "flip"
    summed = shape.outputs * len(tiles) * len(circuit.cycles) + shape.matrices * shape.steps * len(digits) * sum(tiles)
    return Operations(
        macs=shape.macs,
        row_macs=shape.outputs * len(tiles) * macro.rows,
        conversions=shape.outputs * len(tiles) * converted,
        array_reads=shape.matrices * shape.steps * len(tiles) * sum(rounds),
        digital_cycles=shape.outputs * len(tiles) * sum(not cycle.converted for cycle in circuit.cycles),
        digital_bit_macs=shape.macs
        * sum(len(cycle.weight_bits) * len(cycle.input_bits) for cycle in circuit.cycles if not cycle.converted),
        shift_adds=shape.outputs * len(tiles) * len(digits),
        complement_sums=summed if may_flip else 0,
        complement_bits=columns if may_flip else 0,
        cells=shape.weights * macro.weight_bits,
        all_cells=columns * macro.rows,
        cells_written=shape.weights * macro.weight_bits if shape.is_written else 0,
        converters=shape.matrices * len(tiles) * -(-own // shared),
        cycles=shape.steps * sum(rounds),
    )


def _rounds(digit: list[Cycle], outputs: int, shared: int) -> int:
    """Conversions of the busiest converter for a digit; at least 1."""
    votes = [cycle.votes if cycle.converted else 0 for cycle in digit]
    columns = (votes * min(outputs, shared + 1))[: len(votes) * outputs]  # the pattern repeats after this
    return max(1, *(sum(columns[first : first + shared]) for first in range(0, len(columns), shared)))


def input_digits(cycles: tuple[Cycle, ...]) -> Iterator[list[Cycle]]:
    """Cycles of each input digit, for all weight bits; their sums are shifted and added."""
    for _, digit in groupby(cycles, lambda cycle: cycle.input_bits):
        yield list(digit)
