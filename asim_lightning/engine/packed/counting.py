"""Which way of counting the packed engine takes for a product, and of which planes."""

from dataclasses import dataclass

from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.look_ups import LookUps, look_ups
from asim_lightning.engine.packed.planes import Planes, bit_planes
from asim_lightning.engine.packed.schedule import packed_schedule
from asim_lightning.engine.packed.stacks import Stacks, stacks
from asim_lightning.engine.product import Product

_LOOK_UP, _LOOK_UP_WITHOUT_POPCOUNT = 2.4, 1.0
"""Bits that popcount counts in the time of a look-up: with AVX-512's instruction for it, and without."""
_STACKED = 6
"""What AMX gains where the cycles of few outputs stand beside each other."""
_OUTPUTS_WORTH_BYTES = 8
"""Outputs whose look-ups take as long as it takes to have inputs in bytes rather than in bits."""


@dataclass(frozen=True)
class Counting:
    """How conversions are counted.

    Attributes:
        inputs: Planes of the inputs: bits for popcount, digits for look-ups, and for AMX as narrow as is worth it.
        weights: Planes of the weights: bits, as wide as those of the inputs, or bytes for AMX.
        by_input: Whether lanes of the conversions are inputs.
        look_ups: What is looked up, where that is how.
        stacks: How AMX's registers hold few outputs, where they do.
    """

    inputs: Planes
    weights: Planes
    by_input: bool
    look_ups: LookUps | None = None
    stacks: Stacks | None = None

    @property
    def arranges_inputs(self) -> bool:
        """Whether inputs are put in the order of lanes, as for look-ups, though these convert outputs in lanes."""
        return self.by_input or self.look_ups is not None

    @property
    def by_amx(self) -> bool:
        """Whether AMX counts."""
        return self.weights.width == 8 and self.look_ups is None

    @property
    def digits_a_byte(self) -> int:
        """Digits of inputs in as much room as a digit of weights: where AMX unpacks them, 4 or 8 a byte, else 1."""
        return self.weights.width // self.inputs.width


def counting(product: Product, transfer: Transfer, x: Tensor, w: Tensor) -> Counting:
    """The fastest way for operands of these shapes.

    Args:
        product: The linear map.
        transfer: The macro's schedule and column.
        x: On any device. # (batch, *inputs)
        w: One sample's where each has weights of its own. # (*weight)
    """
    macro, schedule, found = transfer.macro, packed_schedule(transfer), look_ups(transfer)
    outputs = layout.weight_lanes(product, w)
    inputs = x.shape[-2] if product.batched_weight else len(x) * product.positions(x, w) // len(w)
    by_input, bits = _filling(inputs) >= _filling(outputs), macro.encoding_bits
    weights, fits_bytes = bit_planes(macro.weight_bits, 8), max(number for _, number in schedule.digits) <= 8
    # weights that come with each sample would have to be put in other orders each time
    has_order = by_input and not product.batched_weight
    beside = stacks(transfer, outputs) if has_order else None
    singles = (outputs if by_input else inputs) * (1 if beside is None else _STACKED)
    if fits_bytes and _is_worth_amx(schedule.has_noise, bits, singles) and _has_amx():
        return Counting(
            Planes(_narrowest(schedule.digits) if has_order else 8, schedule.digits), weights, by_input, None, beside
        )
    bits_a_look_up = macro.input_bits / len(found.digits) if found is not None else 0.0
    if found is not None and _has_look_ups() and _is_worth_look_ups(bits_a_look_up, inputs, outputs, _has_popcount()):
        return Counting(Planes(8, found.digits), weights, False, found)
    return Counting(bit_planes(macro.input_bits), bit_planes(macro.weight_bits), by_input)


def _narrowest(digits: tuple[tuple[int, int], ...]) -> int:
    """Bits of a word in which AMX's inputs are packed and arranged, before each has a byte: one or two where they
    suffice, which saves more than unpacking them takes; four would not."""
    if digits == bit_planes(len(digits)).digits:
        return 1
    return 2 if max(number for _, number in digits) <= 2 else 8


def _filling(lanes: int) -> float:
    """Share of the lanes in use."""
    return lanes / layout.whole(lanes)


def _is_worth_amx(has_noise: bool, encoding_bits: int, singles: int) -> bool:
    """Whether AMX is faster than popcount: its registers have 16 rows, of which few would be in use, digits take eight
    times the room of a bit, and beside AMX the core is slower, which counts where there is noise."""
    return encoding_bits >= (3 if has_noise else 1) and singles * encoding_bits >= 16


def _is_worth_look_ups(bits_a_look_up: float, inputs: int, outputs: int, has_popcount: bool) -> bool:
    """Whether look-ups are faster than popcount: one takes up to four bits of a digit of four inputs, but lanes are
    always outputs, and inputs have to be in bytes."""
    used = _filling(outputs) / max(_filling(inputs), _filling(outputs)) * inputs / (-(-inputs // 4) * 4)
    cost = (_LOOK_UP if has_popcount else _LOOK_UP_WITHOUT_POPCOUNT) * (1 + _OUTPUTS_WORTH_BYTES / outputs)
    return bits_a_look_up * used >= cost


def _has_amx() -> bool:
    from asim_lightning.engine.numba_amx import available  # Numba takes half a second to import

    return available()


def _has_look_ups() -> bool:
    from asim_lightning.engine.numba_bytes import available  # Numba takes half a second to import

    return available()


def _has_popcount() -> bool:
    from asim_lightning.engine.numba_features import compiles_for  # Numba takes half a second to import

    return compiles_for("avx512vpopcntdq")
