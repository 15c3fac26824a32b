"""Layers of tests/nn/aihwkit_cases.py in this package and in aihwkit-lightning, side by side.

pip install --no-deps aihwkit-lightning && python .ci/beside_aihwkit.py [--golden FILE]

The first table has layers for which the two models coincide. The second has layers for which they differ, with the
difference in LSB of the ADC. --golden writes weights, inputs and aihwkit-lightning's outputs of the first table.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aihwkit_lightning.nn import AnalogConv2d, AnalogLinear
from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig, WeightClipType, WeightQuantizationType
from torch import Tensor, nn

from asim_lightning.nn import Assignment
from asim_lightning.quant import levels
from asim_lightning.table import text_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.nn.aihwkit_cases import CASES, RANGE, Case, drawn, ours

ADC = Case((12, 240), adc_step=9 * 127)
BY_BIT = replace(ADC.macro, weight_parallel=False, adc_step=None)
UNLIKE = {
    "even number of counts an LSB: sums halfway between codes": (
        Case((512, 240), adc_step=2 * 127, per_channel=True),
        None,
    ),
    "a range of weights for each tile": (replace(ADC, rows=120), None),
    "300 inputs on 255 rows: tiles of 255, 45 or 150, 150": (Case((12, 300), adc_step=9 * 127), None),
    "a conversion for each pair of bits, 8-bit ADC": (ADC, BY_BIT),
    "a conversion for each pair of bits, 7-bit ADC": (ADC, replace(BY_BIT, adc_bits=7)),
    "a conversion for each pair of bits, 6-bit ADC": (ADC, replace(BY_BIT, adc_bits=6)),
}
"""Layers for which the models differ, by the difference, with another macro of this package or None."""


def theirs(case: Case, weight: Tensor, bias: Tensor | None) -> Any:
    """aihwkit-lightning's layer of a case."""
    largest_weight, largest_input = levels(case.bits[0], True), levels(case.bits[1], case.signed)
    config, top = TorchInferenceRPUConfig(), case.macro.top_code
    config.mapping.max_input_size = case.rows
    config.pre_post.input_range.enable = True
    config.pre_post.input_range.dynamic = case.by_token
    config.forward.inp_res = 2 * largest_input
    config.modifier.res = 2 * largest_weight
    config.modifier.quantization_type = WeightQuantizationType.DISCRETIZE
    if case.per_channel:
        config.modifier.quantization_type = WeightQuantizationType.DISCRETIZE_PER_CHANNEL
        config.clip.type = WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL
    if top is not None:
        step = case.adc_step
        config.forward.out_res = 2 * top
        config.forward.out_bound = case.rows if step is None else step * top / (largest_weight * largest_input)
    outputs, inputs = case.shape[:2]
    if len(case.shape) == 4:
        plain: nn.Module = nn.Conv2d(inputs, outputs, case.shape[2:], case.stride, case.padding, bias=case.bias)
    else:
        plain = nn.Linear(inputs, outputs, case.bias)
    plain.weight.data = weight
    if bias is not None:
        plain.bias.data = bias
    layer = (AnalogConv2d if len(case.shape) == 4 else AnalogLinear).from_digital(plain, config).eval()
    if not case.by_token:
        layer.input_range.data.fill_(RANGE)
    return layer


def lsb_of(layer: Any, x: Tensor) -> Tensor:
    """Size of an LSB of the ADC in the output. # () or (outputs, 1, ...)"""
    step, ranges = layer.hold_ranges(x)
    step = step * layer.transfer.cycles[0].counts_a_code
    if ranges is not None:
        return step * ranges.amax()
    return step.view(-1, *(1,) * (x.dim() - 2)) if step.dim() else step


def main() -> None:
    """Print both tables, and write the golden file if asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--golden", type=Path)
    given, golden, rows = options.parse_args(), dict[str, np.ndarray](), []
    for seed, (name, case) in enumerate(CASES.items()):
        weight, bias, x = drawn(case, seed)
        with torch.no_grad():
            y, expected = (make(case, weight, bias)(x) for make in (ours, theirs))
        off, largest = (y - expected).abs(), float(expected.abs().max())
        lsb = lsb_of(ours(case, weight, bias), x)
        rows.append((name, str(y.numel()), f"{float(off.max()) / largest:.1e}", f"{float((off / lsb).max()):.1e}"))
        parts = {"weight": weight, "x": x, "bias": bias}
        golden |= {f"{name}/{key}": each.half().numpy() for key, each in parts.items() if each is not None}
        golden[f"{name}/y"] = expected.numpy()
    headers = "layer", "outputs", "difference / largest output", "difference (LSB)"
    print(text_table([headers, *rows], 1, "lrrr"))
    rows = []
    for seed, (name, (case, macro)) in enumerate(UNLIKE.items()):
        weight, bias, x = drawn(case, seed)
        if "range of weights" in name:
            weight[:, 120:].clamp_(-0.1, 0.1)
        with torch.no_grad():
            layer, expected = ours(case, weight, bias), theirs(case, weight, bias)(x)
            lsb = lsb_of(layer, x)
            if macro is not None:
                layer.assignment = Assignment(macro)
            off = (layer(x) - expected) / lsb
        rows.append((name, f"{float(off.square().mean().sqrt()):.2f}", f"{float(off.abs().max()):.1f}"))
    print("\n" + text_table([("unlike in", "rms (LSB)", "largest (LSB)"), *rows], 1, "lrr"))
    if given.golden:
        np.savez_compressed(given.golden, **golden)


if __name__ == "__main__":
    main()
