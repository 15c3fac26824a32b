"""Macros whose conversions an engine makes, with operands, and how many sums may differ from the reference's."""

from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer
from asim_lightning.engine import Conv2dProduct, MatmulProduct, Product
from asim_lightning.engine.product import conversion_count
from tests.engine.products import NOISY

RANGE = {"adc_bits": 5, "adc_step": 2, "adc_low": 4}
CURRENT = {"column": "current", "column_args": {"alpha": 1e-3}, "random_noise": 0.2}
MACROS: dict[str, dict[str, Any]] = {
    "exact": {},
    "codes of 16 bits": {"weight_bits": 4, "input_bits": 4, "rows": 300, "adc_bits": 16},
    "weights of 17 bits, of 3 columns": {"weight_bits": 9, "input_bits": 12, "encoding_bits": 2, "rows": 100},
    "256 rows": {"rows": 256},
    "200 rows": {"rows": 200},
    "20 rows, noisy": {"rows": 20, **NOISY},
    "rows split a kernel": {"rows": 4, "random_noise": 1.0},
    "noisy": NOISY,
    "random noise": {"rows": 200, "random_noise": 0.3},
    "nonlinear noise": {"nonlinear_noise": 0.5},
    "encoding 3, noisy": {"encoding_bits": 3, **NOISY},
    "encoding 2": {"encoding_bits": 2, "adc_bits": 6},
    "encoding 4": {"encoding_bits": 4},
    "encoding 10 of 12 bits": {"input_bits": 12, "encoding_bits": 10},
    "6 by 5 bits": {"weight_bits": 6, "input_bits": 5, **NOISY},
    "1200 rows": {"rows": 1200, "adc_bits": 11, "random_noise": 0.1},
    "1 input bit": {"weight_bits": 2, "input_bits": 1, "random_noise": 1.0},
    "hybrid": {"digital_levels": 3, **NOISY},
    "hybrid, digital ADC": {"digital_levels": 3, "digital_adc": True, **NOISY},
    "all digital": {"digital_levels": 99},
    "current": CURRENT,
    "12-bit ADC": {"adc_bits": 12, "encoding_bits": 4, "random_noise": 0.01},
    "12-bit ADC, 5 %": {"adc_bits": 12, "random_noise": 5.0},
    "12-bit ADC, 5 %, encoding 4": {"adc_bits": 12, "encoding_bits": 4, "random_noise": 5.0},
    "12-bit ADC, 5 % nonlinear": {"adc_bits": 12, "random_noise": 1.0, "nonlinear_noise": 5.0},
    "mode of 3": {"vote_levels": 3, "votes": 3, **NOISY},
    "mode of 4": {"vote_levels": 20, "votes": 4, "random_noise": 2.0},
    "median of 5": {"vote_levels": 2, "votes": 5, "vote": "median", "random_noise": 1.0},
    "mean of 4, no noise": {"vote_levels": 2, "votes": 4, "vote": "mean", "rows": 200},
    "mean of 4, all voted, no noise": {"vote_levels": 20, "votes": 4, "vote": "mean", "rows": 200},
    "mode of 3, no noise": {"vote_levels": 3, "votes": 3, "rows": 200},
    "step 1, low 0": {"adc_bits": 6, "adc_step": 1},
    "step 1, low 3, noisy": {"adc_bits": 5, "adc_step": 1, "adc_low": 3, "random_noise": 0.2},
    "step 3, low 7": {"adc_bits": 4, "adc_step": 3, "adc_low": 7, "rows": 200},
    "step 2, noisy": {"adc_bits": 5, "adc_step": 2, **NOISY},
    "step 2 in LSB": {"adc_bits": 5, "adc_step": 2, "random_noise": "0.3 lsb", "nonlinear_noise": "0.4 lsb"},
    "step 5, encoding 3, noisy": {"adc_bits": 6, "adc_step": 5, "encoding_bits": 3, "random_noise": "0.3 lsb"},
    "step 4, low 5, encoding 3, noisy": {"adc_bits": 6, "adc_step": 4, "adc_low": 5, "encoding_bits": 3, **NOISY},
    "step 2, low 4, hybrid": {**RANGE, "digital_levels": 3, **NOISY},
    "step 2, low 4, mean of 4": {**RANGE, "vote_levels": 2, "votes": 4, "vote": "mean", **NOISY},
    "step 2, low 4, mode of 3": {**RANGE, "vote_levels": 3, "votes": 3, **NOISY},
    "step 2, current": {"adc_bits": 5, "adc_step": 2, **CURRENT},
    "mean of 4": {"vote_levels": 2, "votes": 4, "vote": "mean", **NOISY},
    "flip": {"weight_coding": "flip", "adc_bits": 7, "adc_step": 1},
    "flip, noisy": {"weight_coding": "flip", "adc_bits": 7, "adc_step": 1, **NOISY},
    "flip, step 2, low 4, hybrid": {"weight_coding": "flip", **RANGE, "digital_levels": 3, **NOISY},
    "flip, mode of 3": {"weight_coding": "flip", "vote_levels": 3, "votes": 3, **NOISY},
    "flip, rows split a kernel": {"weight_coding": "flip", "rows": 4, "random_noise": 1.0},
}
DROOP: dict[str, Any] = {"column": "droop", "column_args": {"k": 0.1}}
DROOPING: dict[str, dict[str, Any]] = {
    name: {**settings, **DROOP}
    for name, settings in {
        "droop": {},
        "droop, noisy": NOISY,
        "droop, 20 rows, noisy": {"rows": 20, **NOISY},
        "droop, rows split a kernel": {"rows": 4, "random_noise": 1.0},
        "droop, encoding 3": {"encoding_bits": 3, **NOISY},
        "droop, encoding 4": {"encoding_bits": 4},
        "droop, encoding 7 of 12 bits": {"input_bits": 12, "encoding_bits": 7, "rows": 60, "random_noise": 0.1},
        "droop, 1200 rows": {"rows": 1200, "adc_bits": 11, "random_noise": 0.1},
        "droop, 1 input bit": {"weight_bits": 2, "input_bits": 1, "random_noise": 1.0},
        "droop, hybrid, digital ADC": {"digital_levels": 3, "digital_adc": True, **NOISY},
        "droop, hybrid": {"digital_levels": 3},
        "droop, mode of 3": {"vote_levels": 3, "votes": 3, **NOISY},
        "droop, median of 5": {"vote_levels": 2, "votes": 5, "vote": "median", "random_noise": 1.0},
        "droop, mean of 4": {"vote_levels": 2, "votes": 4, "vote": "mean", **NOISY},
        "droop, step 2, low 4": {**RANGE, **NOISY},
        "droop, converters": {"static": {"offset": "0.3 lsb", "gain": 1.0, "inl": 0.4}, **NOISY},
    }.items()
}
"""Macros whose column sees driven rows."""


def whole(low: int, high: int, *shape: int, seed: int = 0) -> Tensor:
    """Whole numbers, half of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(low, high + 1, shape, generator=generator).float()
    return values * (torch.rand(shape, generator=generator) < 0.5)


def operands(product: Product, macro: MacroConfig, signed: bool, batch: int = 3) -> tuple[Tensor, Tensor]:
    x_top, w_top = 2 ** (macro.input_bits - signed) - 1, 2 ** (macro.weight_bits - 1) - 1
    x_shape, w_shape = {
        Conv2dProduct: ((batch, 30, 9, 7), (12, 15, 3, 2)),
        MatmulProduct: ((batch, 5, 300), (37, 300)),
    }[type(product)]
    if product.batched_weight:
        x_shape, w_shape = (batch, 2, 5, 70), (batch, 2, 21, 70)
    return whole(-x_top * signed, x_top, *x_shape), whole(-w_top, w_top, *w_shape, seed=1)


def most_different(product: Product, circuit: Transfer, x: Tensor, w: Tensor) -> float:
    """Sums that may differ, as the last bit of a normal may: none without noise."""
    return 1 + 1e-5 * conversion_count(product, circuit, x, w) if any(circuit.noisy) else 0
