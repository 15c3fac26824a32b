"""Layers that this package and aihwkit-lightning compute alike: one conversion for all bits of weights and inputs.

`.ci/beside_aihwkit.py` runs both packages on them, and writes weights, inputs and the other package's outputs to the
golden file that `test_beside_aihwkit.py` reads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear

GOLDEN = Path(__file__).parents[1] / "golden" / "aihwkit_lightning.npz"


@dataclass(frozen=True)
class Case:
    """A layer and its macro. `shape` is that of the weight; 4 numbers: a convolution.

    The full scale of the ADC is `rows` times the largest product of a weight and an input, or `adc_step` counts times
    the largest code. aihwkit-lightning divides it by that product, and calls it `out_bound`. With an odd `adc_step` no
    sum is halfway between two codes, where rounding errors of float32 sums decide about aihwkit-lightning's code.
    """

    shape: tuple[int, ...]
    bits: tuple[int, int] = (8, 8)
    signed: bool = True
    adc_bits: int | None = 8
    rows: int = 255
    adc_step: int | None = None
    per_channel: bool = False
    by_token: bool = False
    bias: bool = True
    stride: int = 1
    padding: int = 0

    @property
    def inputs(self) -> int:
        """Products that an output sums."""
        return int(torch.Size(self.shape[1:]).numel())

    @property
    def macro(self) -> MacroConfig:
        """The macro, which makes one conversion a tile."""
        return MacroConfig(*self.bits, self.rows, self.adc_bits, adc_step=self.adc_step, weight_parallel=True)


RANGE = 2.51
"""Range of inputs of all layers without ranges of tokens; some inputs are larger, and none is half of it."""
CASES = {
    "linear": Case((12, 200)),
    "linear, no bias": Case((12, 255), bias=False),
    "linear, 4 bits": Case((16, 120), bits=(4, 4), rows=128),
    "linear, 6-bit ADC": Case((12, 200), adc_bits=6),
    "linear, 10-bit ADC": Case((12, 200), adc_bits=10),
    "linear, ideal ADC": Case((12, 200), adc_bits=None),
    "linear, bound 11": Case((12, 200), adc_step=11 * 127),
    "linear, bound 3": Case((12, 200), adc_step=3 * 127),
    "linear, unsigned": Case((12, 200), signed=False),
    "linear, unsigned 5 bits, bound 7": Case((12, 200), bits=(8, 5), signed=False, adc_step=7 * 31),
    "linear, ranges of channels": Case((12, 200), per_channel=True, adc_step=9 * 127),
    "linear, ranges of tokens": Case((12, 200), by_token=True, adc_step=9 * 127),
    "linear, 2 tiles": Case((12, 240), rows=120),
    "linear, 3 tiles, bound 7": Case((12, 384), rows=128, adc_step=7 * 127),
    "linear, 16 rows": Case((8, 16), bits=(4, 6), rows=16, adc_bits=7),
    "conv": Case((6, 5, 3, 3), padding=1),
    "conv, stride 2": Case((6, 5, 3, 3), stride=2, padding=1, adc_step=5 * 127),
    "conv, unsigned": Case((6, 5, 3, 3), bits=(8, 8), signed=False, adc_bits=7),
    "conv, 1x1": Case((6, 40, 1, 1), bits=(6, 6), rows=64),
    "conv, ranges of channels": Case((6, 5, 3, 3), per_channel=True, adc_bits=9),
}


def drawn(case: Case, seed: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Weight, bias and input of a case, in numbers that half precision holds.

    Each tile has the same largest weight, because aihwkit-lightning has a range of weights for each tile. No weight is
    halfway between two integers: our range is larger by 1e-7, as published, and would decide about it.
    """
    generator = torch.Generator().manual_seed(seed)
    outputs, inputs = case.shape[:2]
    weight = (0.05 * torch.randn(outputs, case.inputs, generator=generator)).clamp_(-0.09, 0.09)
    largest = 0.21 + 0.01 * torch.arange(outputs)[:, None] * case.per_channel
    weight[:, :: min(case.rows, case.inputs)] = largest
    bias = torch.randn(outputs, generator=generator) if case.bias else None
    x = torch.randn((2, inputs, 6, 6) if len(case.shape) == 4 else (4, inputs), generator=generator)
    x = x if case.signed else x.abs()
    return weight.view(case.shape).half().float(), None if bias is None else bias.half().float(), x.half().float()


def ours(case: Case, weight: Tensor, bias: Tensor | None) -> Any:
    """This package's layer of a case."""
    settings: dict[str, Any] = {
        "macro": case.macro, "signed_input": case.signed, "per_channel": case.per_channel, "bias": case.bias,
        "input_range": "token" if case.by_token else "calibrated",
    }  # fmt: skip
    outputs, inputs = case.shape[:2]
    if len(case.shape) == 4:
        kernel = case.shape[2:]
        layer: Any = CimConv2d(inputs, outputs, kernel, stride=case.stride, padding=case.padding, **settings)
    else:
        layer = CimLinear(inputs, outputs, **settings)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    if not case.by_token:
        layer.store_range(RANGE)
    return layer.eval()
