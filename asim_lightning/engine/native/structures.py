"""The structures of the C interface of conversions, which src/conversion_job.h declares and explains."""

from enum import IntEnum

from asim_lightning.engine.chips.converters import PlacedConverters
from asim_lightning.engine.native.passes import Structure, declared

GROUP = 16
"""Output columns that kernels work on together."""


class Level(IntEnum):
    """How a count becomes a level."""

    COUNT, PROPORTIONAL, QUOTIENT, TABLE, REAL, BY_DRIVEN = range(6)


class Sigma(IntEnum):
    """How sigma depends on the count."""

    SILENT, CONSTANT, SHRINKING, TABLE, BY_DRIVEN = range(5)


class Counting(IntEnum):
    """How a kernel counts ones."""

    POPCOUNT, LOOK_UPS = range(2)


REAL_COUNTS = 2
"""The way of counting if cells differ."""


VOTE_RULES = {"mean": 0, "mode": 1, "median": 2}


class Tile(Structure):
    """Rows that a column sums."""

    _fields_ = declared("Tile")


class Digit(Structure):
    """Consecutive bits of an integer."""

    _fields_ = declared("Digit")


class CycleOfJob(Structure):
    """One conversion of a column."""

    _fields_ = declared("Cycle")
    weight_bit: int
    digit: int


class Side(Structure):
    """One side of a product."""

    _fields_ = declared("Side")
    problems: int
    sources: int
    channels: int
    rows: int
    columns: int

    @property
    def lanes(self) -> int:
        """Lanes of a problem."""
        return self.sources * self.rows * self.columns


class Outputs(Structure):
    """Where outputs are in their sample."""

    _fields_ = declared("Outputs")


class ConvertersOfJob(Structure):
    """Errors of converters."""

    _fields_ = declared("Converters")

    @classmethod
    def placed(cls, own: PlacedConverters) -> "ConvertersOfJob":
        """The errors of a chip's converters."""
        tensors = own.gain, own.offset, own.curve, own.tables
        return cls.of(*tensors, own.nibbles, own.length, own.moves, own.weight_bits)


class CellsOfJob(Structure):
    """Cells that differ."""

    _fields_ = declared("Cells")


class ConversionJob(Structure):
    """Every conversion of a product."""

    _fields_ = declared("ConversionJob", Side=Side, Outputs=Outputs, Converters=ConvertersOfJob, Cells=CellsOfJob)
    inputs: Side
    weights: Side
    outputs: Outputs
