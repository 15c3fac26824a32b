"""The structures of the C interface of conversions: the same fields in the same order as in src/conversion_job.h."""

from ctypes import Structure, c_double, c_float
from enum import IntEnum

from asim_lightning.engine.chips.converters import PlacedConverters
from asim_lightning.engine.native.passes import ADDRESS, INT32, INT64, UINT32, fields

GROUP = 16
"""Output columns that kernels work on together."""


class Level(IntEnum):
    """How a count becomes a level."""

    COUNT, PROPORTIONAL, QUOTIENT, TABLE = range(4)


class Sigma(IntEnum):
    """How sigma depends on the count."""

    SILENT, CONSTANT, SHRINKING, TABLE = range(4)


class Counting(IntEnum):
    """How a kernel counts."""

    POPCOUNT, LOOK_UPS = range(2)


VOTE_RULES = {"mean": 0, "mode": 1, "median": 2}


class Tile(Structure):
    """Rows that a column sums."""

    _fields_ = fields(("first last low high", INT32))


class Digit(Structure):
    """Consecutive bits of an integer."""

    _fields_ = fields(("low bits", INT32))


class CycleOfJob(Structure):
    """One conversion of a column."""

    _fields_ = fields(
        ("weight_bit digit level sigma table votes weight silent", INT32), ("gain rest top constant a b c", c_float)
    )
    weight_bit: int
    digit: int


class Side(Structure):
    """One side of a product."""

    _fields_ = fields(
        ("data", ADDRESS), ("problems sources channels height width", INT64),
        ("problem_step source_step channel_step row_step pixel_step pad_y pad_x", INT64),
        ("rows columns stride_y stride_x", INT64), ("elements", ADDRESS), ("bits", INT64),
    )  # fmt: skip
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

    _fields_ = fields(
        ("ids offsets", ADDRESS), ("problems_a_row inputs_a_row problem_step input_step output_step size", INT64)
    )


class ConvertersOfJob(Structure):
    """Errors of converters."""

    _fields_ = fields(
        ("gain offset curve tables", ADDRESS), ("nibbles length passes weight_bits", INT32), ("quiet", ADDRESS)
    )

    @classmethod
    def of(cls, placed: PlacedConverters) -> "ConvertersOfJob":
        """The errors of a chip's converters; the structure points to their tensors."""
        found = cls(weight_bits=placed.weight_bits, nibbles=placed.nibbles, length=placed.length, passes=placed.moves)
        found.gain, found.offset, found.curve, found.tables = (
            None if each is None else each.data_ptr()
            for each in (placed.gain, placed.offset, placed.curve, placed.tables)
        )
        return found


class ConversionJob(Structure):
    """Every conversion of a product."""

    _fields_ = fields(
        ("inputs weights", Side), ("outputs", Outputs), ("converters", ConvertersOfJob),
        ("tiles cycles digits levels sigmas weight_form out", ADDRESS), ("scale divisor", c_double),
        ("key", UINT32 * 2), ("last_word", UINT32),
        ("tile_count cycle_count schedule_cycles digit_count counting inputs_in_lanes vote_rule threads", INT32),
    )  # fmt: skip
    inputs: Side
    weights: Side
    outputs: Outputs
