"""The structures of the C interface of conversions: those of src/conversion_job.h, field by field in the same order."""

from ctypes import Structure, c_double, c_float, c_int32, c_int64, c_uint32, c_void_p
from enum import IntEnum

from asim_lightning.engine.chips.placed_converters import PlacedConverters

GROUP = 16
"""Output columns that kernels work on together."""


class Level(IntEnum):
    """How a count becomes a level."""

    COUNT, PROPORTIONAL, QUOTIENT, TABLE = range(4)


class Sigma(IntEnum):
    """What sigma is."""

    SILENT, CONSTANT, SHRINKING, TABLE = range(4)


class Counting(IntEnum):
    """How a kernel counts."""

    POPCOUNT, LOOK_UPS = range(2)


VOTE_RULES = {"mean": 0, "mode": 1, "median": 2}


def _fields(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Tile(Structure):
    """Rows that a column sums."""

    _fields_ = _fields(c_int32, "first last low high")


class Digit(Structure):
    """Consecutive bits of an integer."""

    _fields_ = _fields(c_int32, "low bits")


class CycleOfJob(Structure):
    """One conversion of a column."""

    _fields_ = [
        *_fields(c_int32, "weight_bit digit level sigma table votes weight silent"),
        *_fields(c_float, "gain rest top constant a b c"),
    ]
    weight_bit: int
    digit: int


class Side(Structure):
    """One side of a product."""

    _fields_ = [
        ("data", c_void_p),
        *_fields(
            c_int64,
            "problems sources channels height width problem_step source_step channel_step row_step pixel_step "
            "pad_y pad_x rows columns stride_y stride_x",
        ),
        ("elements", c_void_p),
        ("bits", c_int64),
    ]
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
    """Where outputs stand in their sample."""

    _fields_ = [
        *_fields(c_void_p, "ids offsets"),
        *_fields(c_int64, "problems_a_row inputs_a_row problem_step input_step output_step size"),
    ]


class ConvertersOfJob(Structure):
    """What differs from converter to converter."""

    _fields_ = [
        *_fields(c_void_p, "gain offset curve tables"),
        *_fields(c_int32, "nibbles length passes weight_bits"),
        ("quiet", c_void_p),
    ]

    @classmethod
    def of(cls, placed: PlacedConverters) -> "ConvertersOfJob":
        """Those of a chip, whose tensors it points to."""
        found = cls(weight_bits=placed.weight_bits, nibbles=placed.nibbles, length=placed.length, passes=placed.moves)
        found.gain, found.offset, found.curve, found.tables = (
            None if each is None else each.data_ptr()
            for each in (placed.gain, placed.offset, placed.curve, placed.tables)
        )
        return found


class ConversionJob(Structure):
    """Every conversion of a product."""

    _fields_ = [
        ("inputs", Side),
        ("weights", Side),
        ("outputs", Outputs),
        ("converters", ConvertersOfJob),
        *_fields(c_void_p, "tiles cycles digits levels sigmas weight_form out"),
        *_fields(c_double, "scale divisor"),
        ("key", c_uint32 * 2),
        ("last_word", c_uint32),
        *_fields(c_int32, "tile_count cycle_count schedule_cycles digit_count"),
        *_fields(c_int32, "counting inputs_in_lanes vote_rule threads"),
    ]
    inputs: Side
    weights: Side
    outputs: Outputs
