"""The packed engine: every conversion on a CPU, counted by popcount of bit planes in 32-bit words, look-ups or AMX.

Counts are ones of ``input plane & weight plane`` (`conversion`), or sums of products of digits, looked up
(`conversion_look_ups`) or multiplied (`conversion_amx`); `counting` says which. Noise, ADC and shift-add follow for
blocks of 16 singles by 16 lanes (`block`). Lanes are output pixels (rows of a
matrix) or output channels, whichever fills them better, and singles are the others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine.cells import Chip
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.packed import layout
from asim_lightning.engine.packed.kernels import kernel_of
from asim_lightning.engine.packed.operand import packed, unpacked
from asim_lightning.engine.packed.plan import Plan, plan_of
from asim_lightning.engine.packed.schedule import packed_schedule
from asim_lightning.engine.product import Conv2dProduct, Product
from asim_lightning.engine.program import Program, required
from asim_lightning.engine.threads import spread_kernel
from asim_lightning.engine.weights import Weights


def available(device: torch.device) -> bool:
    """Whether the engine runs on a device: on a CPU."""
    return device.type == "cpu"


def prepare(product: Product, transfer: Transfer, weights: Weights | None, chip: Chip = Chip()) -> "PackedProgram":
    """See `Engine.prepare`."""
    return PackedProgram(product, weights, transfer)


@dataclass(eq=False)
class PackedProgram(Program):
    """Every conversion of a product, with weights packed as inputs of each shape ask for.

    Attributes:
        transfer: The macro's schedule and column.
    """

    transfer: Transfer

    def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Outputs of a macro, in counts; those of the reference, with noise but for the last bit of its normals.

        # (batch, *outputs), float64
        """
        product, transfer, w, batch = self.product, self.transfer, self.w, x.shape[0]
        source, parts = required(noise), []
        plan = plan_of(product, transfer, x.shape, w.shape, batch)
        if plan.samples >= batch:
            return self._converted(plan, x, w, source)
        for low in range(0, batch, plan.samples):
            part = slice(low, low + plan.samples)
            inputs, weights = x[part], w[part] if product.batched_weight else w
            own = plan_of(product, transfer, inputs.shape, weights.shape, batch)
            parts.append(self._converted(own, inputs, weights, source.rows(part.start, part.stop)))
        return torch.cat(parts)

    def _converted(self, plan: Plan, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        product, transfer = self.product, self.transfer
        how, inputs, outputs = plan.how, plan.inputs.side, plan.weights.side
        if not inputs.problems:
            return torch.zeros(plan.output_shape, dtype=torch.float64)
        packed_inputs = packed(layout.input_integers(product, x), plan.inputs)
        packed_weights = self._weights(plan, w)
        ones: tuple[np.ndarray, ...] = ()
        if how.look_ups is not None:
            singles, *ones = packed_weights
        else:
            singles = packed_weights if how.by_input else packed_inputs.one_by_one()
        lanes = packed_inputs.lanes_in_turn() if how.arranges_inputs else packed_weights
        kernel = kernel_of(plan, transfer, torch.get_num_threads())
        operands = singles, *lanes, plan.inputs.rows.words, *ones
        places = plan.places.of(noise) if packed_schedule(transfer).has_noise else plan.places.nothing
        out = np.empty(plan.sums_shape)
        arguments = *operands, *kernel.tables, *places, *kernel.rooms, out
        spread_kernel(kernel.function, arguments, kernel.works, kernel.fewest)
        if plan.in_order:
            return torch.from_numpy(out).view(plan.output_shape)
        total = torch.from_numpy(out[0, :, :, : inputs.lanes if how.by_input else outputs.lanes])
        is_image = isinstance(product, Conv2dProduct)
        return layout.in_shape(total if how.by_input else total.transpose(1, 2), plan.output_shape, is_image)

    def _weights(self, plan: Plan, w: Tensor) -> Any:
        if self.product.batched_weight:
            return _packed_weights(self.product, plan, w)
        return self.given_weights.form(plan.weights_key, lambda w: _packed_weights(self.product, plan, w))


def _packed_weights(product: Product, plan: Plan, w: Tensor) -> Any:
    how, operand = plan.how, packed(layout.weight_integers(product, w), plan.weights)
    if how.look_ups is not None:
        from asim_lightning.engine.packed.nibbles import nibbles  # Numba takes half a second to import

        return nibbles(operand)
    if how.by_input:
        rows = unpacked(operand.one_by_one(), how.digits_a_byte)
        return rows if how.stacks is None else how.stacks.stacked(rows)
    return operand.lanes_in_turn() if product.batched_weight else operand.all_in_lanes()
