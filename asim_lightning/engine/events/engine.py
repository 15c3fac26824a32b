"""Exact product and events: where noise is small, only the wrong conversions are drawn.

Where every cycle of the schedule is exact without noise, the noisy output is the integer product plus
``sign * 2^shift * full_scale / top_code * (code - noise-free code)`` of the conversions whose code is wrong, which for
small noise are few (``erfc(0.5 / (sigma sqrt 2))`` of all: 9e-5 at sigma = 0.128 LSB). They are found by thinning
(Lewis and Shedler, Naval Research Logistics Quarterly 26, 1979):

1. Candidates at the largest probability that any count has, a rate for each kind of cycle, by skipping ahead.
2. The count of a candidate is computed from the inputs and weights of its tile's rows.
3. It is accepted with its count's own probability over the rate, and its error has its count's own distribution.

That is the distribution of making every conversion, with nothing left out but codes of a probability below 1e-17. The
stream of candidates is `stream`'s.
"""

from dataclasses import replace

import torch
from torch import Tensor

from asim_lightning.circuit import Transfer
from asim_lightning.engine import exact
from asim_lightning.engine.events import any_device, cpu
from asim_lightning.engine.events.layout import layout
from asim_lightning.engine.events.rates import rates, supported
from asim_lightning.engine.noise import layer_key
from asim_lightning.engine.noise_source import Noise
from asim_lightning.engine.product import Conv2dProduct, Product


def applies(transfer: Transfer) -> bool:
    """Whether this engine computes the macro: every cycle exact without noise, some noisy, an ADC, equal cells, no
    weight-parallel conversion, and distributions of codes that can be enumerated (at most 31 votes)."""
    return supported(transfer)


def run(product: Product, transfer: Transfer, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    """Outputs of a macro, in counts, with the distribution that `reference.run` has.

    Args:
        product: The linear map.
        transfer: A transfer to which this engine `applies`.
        x: Whole numbers. # (batch, *inputs)
        w: Whole numbers, which must not change in place in inference mode. # (*weight), or (batch, *weight) where the
            product says so
        noise: Noise source, with one row per row of the batch.

    Returns:
        Outputs in counts, float64 (float32 where the device has no float64). # (batch, *outputs)
    """
    if x.device.type == "mps":  # has no float64
        moved = _on_cpu(noise)
        return run(product, transfer, x.cpu(), w.cpu(), moved).to(torch.float32).to(x.device)
    with torch.no_grad():
        # images as both products take them, turned once
        inward = x.device.type == "cpu" and isinstance(product, Conv2dProduct)
        operand = x.contiguous(memory_format=torch.channels_last) if inward else x
        total = exact.run(product, transfer.macro, transfer.signed_input, operand, w).to(torch.float64)
        found = add_errors(product, transfer, total, operand, w, noise)
        return found.contiguous() if x.is_contiguous() else found


def add_errors(product: Product, transfer: Transfer, total: Tensor, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
    """Outputs without noise, plus the errors of the wrong conversions.

    Args:
        product: The linear map.
        transfer: A transfer to which this engine `applies`; its cycles may be some of a macro's.
        total: Outputs in counts, without the noise of these cycles, which may be written to. # (batch, *outputs)
        x: As for `run`, or on a CPU the bytes of `byte_passes.to_bytes`. # (batch, *inputs)
        w: As for `run`. # (*weight), or (batch, *weight)
        noise: As for `run`.

    Returns:
        Outputs in counts: float32 on a CPU where total is, whose sums are rounded once, else float64 (float32 where the
        device has no float64). # (batch, *outputs)
    """
    if x.device.type == "mps":  # has no float64
        found = add_errors(product, transfer, total.cpu(), x.cpu(), w.cpu(), _on_cpu(noise))
        return found.to(torch.float32).to(x.device)
    kinds = rates(transfer)
    if total.numel() == 0 or not kinds.kinds:
        return total if total.dtype == torch.float32 else total.to(torch.float64)
    shape = w.shape[1:] if product.batched_weight else w.shape
    places = layout(kinds, product, x.shape[1:], shape)
    key = layer_key(noise.name + "/events", noise.call)
    if x.device.type == "cpu":
        return cpu.with_errors(total, kinds, places, x, w, key, noise)
    return any_device.with_errors(total, kinds, places, x, w, key, noise)


def _on_cpu(noise: Noise) -> Noise:
    return replace(noise, sample_ids=noise.sample_ids.cpu(), offsets=noise.offsets.cpu())
