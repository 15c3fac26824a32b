"""The expected error of whole products, against simulated ones: the root of the mean square over images, positions and
chips."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine import ENGINES, Chip, Conv2dProduct, MatmulProduct, Product, choose, noise_context, sums_of
from asim_lightning.engine.error_tables import blocks, error_tables
from asim_lightning.engine.expected import expected_error

CHIPS = 48
WIDE: dict[str, Any] = {"weight_bits": 4, "input_bits": 4, "rows": 576, "encoding_bits": 4, "adc_bits": 7}
OFFSET = {"offset": "0.3 lsb"}
FLIP: dict[str, Any] = {"weight_coding": "flip"}
DROOP: dict[str, Any] = {"column": "droop", "column_args": {"k": 0.2}}
MACROS: dict[str, dict[str, Any]] = {
    "6 bits": {"adc_bits": 6},
    "7 bits": {"adc_bits": 7},
    "2 bits a cycle": {"encoding_bits": 2},
    "4 bits a cycle": {"encoding_bits": 4},
    "6 bits, 0.05 %": {"adc_bits": 6, "random_noise": 0.05},
    "6 bits, 0.2 %": {"adc_bits": 6, "random_noise": 0.2},
    "clipped": {"adc_bits": 5, "adc_step": 1},
    "clipped on both sides": {"adc_bits": 5, "adc_step": 1, "adc_low": 10},
    "2 counts an LSB": {"adc_bits": 6, "adc_step": 2},  # every second count is a tie
    "offset": {"static": OFFSET},
    "offset and noise": {"random_noise": 0.1, "static": OFFSET},
    "trimmed offset": {"random_noise": 0.1, "static": {"offset": "2 lsb", "trim": "offset", "trim_step": "0.8 lsb"}},
    "gain": {"static": {"gain": "3 %"}},
    "INL and noise": {"random_noise": 0.1, "static": {"inl": "2 %"}},
    "INL by a table": {
        "rows": 15, "adc_bits": 4, "random_noise": 1.0, "static": {"inl": [0, 0.4, -0.3, 0.2] * 4}
    },
    "a converter for three columns": {"static": {"offset": "0.5 lsb", "columns_per_adc": 3}},
    "cells": {"static": {"cell_mismatch": "5 %"}},
    "cells and noise": {"random_noise": 0.1, "static": {"cell_mismatch": "3 %", "reference": "summing"}},
    "cells, 2 bits a cycle": {
        "encoding_bits": 2, "adc_bits": 10,
        "static": {"cell_mismatch": "3 %", "reference": "absolute", "parasitics": 0.3},
    },
    "cells, ideal converter": {"adc_bits": None, "static": {"cell_mismatch": "3 %"}},
    "stuck cells": {"static": {"stuck_at_0": 0.005, "stuck_at_1": 0.01}},
    "all": {
        "adc_bits": 7, "random_noise": 0.1,
        "static": {**OFFSET, "gain": "1 %", "inl": "1 %", "cell_mismatch": "3 %", "stuck_at_1": 0.001},
    },
    "digital levels, 6 bits": {"adc_bits": 6, "digital_levels": 3},
    "digital levels, cells": {"digital_levels": 3, "static": {"offset": "0.5 lsb", "cell_mismatch": "5 %"}},
    "wide": {**WIDE, "adc_step": 32},
    "wide, offset": {**WIDE, "adc_step": 32, "random_noise": 0.05, "static": {**OFFSET, "gain": "1 %"}},
    "median of three": {"random_noise": 0.3, "votes": 3, "vote_levels": 20, "vote": "median", "static": OFFSET},
    "mode of three": {"random_noise": 0.3, "votes": 3, "vote_levels": 20, "static": OFFSET},
    "droop": {**DROOP},
    "droop, 6 bits": {"adc_bits": 6, **DROOP},
    "droop and noise": {"random_noise": 0.3, **DROOP},
    "small droop and noise": {"random_noise": 0.3, "column": "droop", "column_args": {"k": 0.002}},
    "droop, 2 bits a cycle": {"encoding_bits": 2, "random_noise": 0.1, **DROOP},
    "droop, 4 bits a cycle": {"encoding_bits": 4, **DROOP},
    "droop, offset and gain": {"static": {**OFFSET, "gain": "2 %"}, **DROOP},
    "droop, cells": {"static": {"cell_mismatch": "3 %"}, **DROOP},
    "flip, 6 bits": {"adc_bits": 6, **FLIP},
    "flip, clipped on both sides": {"adc_bits": 4, "adc_step": 2, "adc_low": 5, **FLIP},
    "flip, 7 bits with noise": {"adc_bits": 7, "adc_step": 1, "random_noise": 0.1, **FLIP},
    "flip, 2 bits a cycle": {"encoding_bits": 2, **FLIP},
    "flip, a converter for three columns": {"static": {"offset": "0.5 lsb", "columns_per_adc": 3}, **FLIP},
    "flip, cells and noise": {"random_noise": 0.1, "static": {"cell_mismatch": "3 %"}, **FLIP},
    "flip, stuck cells": {"static": {"stuck_at_0": 0.005, "stuck_at_1": 0.01}, **FLIP},
    "flip, droop, offset and gain": {"static": {**OFFSET, "gain": "2 %"}, **DROOP, **FLIP},
    "noise by driven rows": {"column": "tests.engine.native.random_macros.Shivering", "random_noise": 0.5},
}  # fmt: skip


def operands(kind: str, macro: MacroConfig, signed: bool = False) -> tuple[Product, Tensor, Tensor]:
    """Normal weights, and rectified normal inputs."""
    generator = torch.Generator().manual_seed(0)
    if kind == "linear":
        product: Product = MatmulProduct()
        x, w = torch.randn(24, 400, generator=generator), torch.randn(48, 400, generator=generator)
    else:
        groups = 2 if kind == "groups" else 1
        product = Conv2dProduct((1, 1), (1, 1), (1, 1), groups)
        x = torch.nn.functional.avg_pool2d(torch.randn(4, 40, 8, 8, generator=generator), 3, 1)
        w = torch.randn(16, 40 // groups, 3, 3, generator=generator)
    x = x if signed else x.clamp_min(0.0)
    x_top, w_top = 2 ** (macro.input_bits - signed) - 1, 2 ** (macro.weight_bits - 1) - 1
    return product, (x / x.abs().max() * x_top).round(), (w / w.abs().max() * w_top).round()


def expected_and_simulated(kind: str, macro: MacroConfig, signed: bool = False) -> tuple[float, float]:
    """Root mean square of the error, in counts."""
    product, x, w = operands(kind, macro, signed)
    circuit = transfer(macro, signed, w[0].numel())
    mean, deviation = expected_error(product, circuit, x, w)
    engine, total = ENGINES[choose(circuit, x.device)], 0.0
    chips = CHIPS if circuit.differs_by_chip else 2
    for chip in range(chips):
        with noise_context(seed=1, sample_ids=range(len(x)), chip=chip) as scope:
            noise = scope.source("a", len(x), x.device)
        sums = sums_of(engine, product, circuit, x, w, noise, Chip(chip, "a"))
        total += float((sums.double() - product.integer(x, w, 2**16).double()).square().mean())
    return float((mean.double().square() + deviation.double().square()).mean()) ** 0.5, (total / chips) ** 0.5


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("name", MACROS)
def test_it_has_the_size_of_simulated_errors(name: str, kind: str) -> None:
    expected, simulated = expected_and_simulated(kind, MacroConfig(**MACROS[name]))
    assert simulated > 0
    assert 0.85 < expected / simulated < 1.15


@pytest.mark.parametrize("name", ["6 bits", "cells and noise", "all"])
def test_it_has_this_size_in_groups_too(name: str) -> None:
    expected, simulated = expected_and_simulated("groups", MacroConfig(**MACROS[name]))
    assert 0.85 < expected / simulated < 1.15


@pytest.mark.parametrize(
    "name",
    [
        "6 bits",
        "flip, 6 bits",
        "flip, 2 bits a cycle",
        "2 bits a cycle",
        "4 bits a cycle",
        "6 bits, 0.05 %",
        "clipped",
        "offset and noise",
        "cells and noise",
        "droop",
        "droop, 2 bits a cycle",
    ],
)
def test_it_has_this_size_for_signed_inputs_too(name: str) -> None:
    expected, simulated = expected_and_simulated("linear", MacroConfig(**MACROS[name]), signed=True)
    assert 0.85 < expected / simulated < 1.25


@pytest.mark.parametrize("fields", [{}, {"rows": 63, "adc_bits": 6}, {"adc_bits": 6, "adc_step": 1, "rows": 63}])
def test_macros_that_lose_nothing_have_only_the_moments_of_noise(fields: dict[str, Any]) -> None:
    for noise in (0.0, 0.2):
        circuit = transfer(MacroConfig(**fields, random_noise=noise), False)
        (block,) = blocks(circuit)
        found = error_tables(circuit, block.cycle, 63, 16, True)
        assert found.errors is None
        assert found.alike is None
        assert (found.variance is None) == (noise == 0.0)


def test_inputs_of_every_size_have_an_estimate() -> None:
    """Tables of signed inputs reach from zeros to the largest magnitude in all rows, also of 16 bits and of 2."""
    for bits in (2, 4, 16):
        circuit = transfer(MacroConfig(4, bits, 60, 5, encoding_bits=1), True)
        top = 2.0 ** (bits - 1) - 1
        x = torch.tensor([0.0, 1.0, -1.0, top, -top])[:, None].expand(5, 60).contiguous()
        _, deviation = expected_error(MatmulProduct(), circuit, x, operands("linear", circuit.macro)[2][:, :60])
        assert deviation.isfinite().all()
        assert float(deviation[0].max()) < float(deviation[3:].max())


def test_a_converter_of_all_bits_of_a_weight_adds_less() -> None:
    """Its offset adds with the signs of the bits, whose sum is -1."""
    own, shared = (
        expected_and_simulated("linear", MacroConfig(static={"offset": "0.5 lsb", "columns_per_adc": columns}))
        for columns in (1, 8)
    )
    assert shared[1] < 0.1 * own[1]
    assert shared[0] < 0.15 * own[0]  # not all of the errors that cancel are known


def test_what_a_sample_expects_does_not_depend_on_its_batch() -> None:
    for kind in ("linear", "convolution"):
        macro = MacroConfig(**MACROS["all"])
        product, x, w = operands(kind, macro)
        circuit = transfer(macro, False, w[0].numel())
        for whole, alone in zip(
            expected_error(product, circuit, x, w), expected_error(product, circuit, x[2:3], w), strict=True
        ):
            assert torch.equal(whole[2:3], alone)


@pytest.mark.parametrize(("rows", "dtype"), [(250, torch.float64), (246, torch.bfloat16)])
def test_it_does_not_depend_on_the_default_dtype(rows: int, dtype: torch.dtype) -> None:
    """Tables are made once for each macro, so it is compared with a macro of nearly as many rows."""
    found = []
    for its_rows, default in ((rows, dtype), (rows + 1, torch.float32)):
        macro = MacroConfig(**MACROS["all"], rows=its_rows)
        product, x, w = operands("linear", macro)
        before = torch.get_default_dtype()
        torch.set_default_dtype(default)
        try:
            _, deviation = expected_error(product, transfer(macro, False, w[0].numel()), x, w)
        finally:
            torch.set_default_dtype(before)
        assert deviation.dtype == torch.float32
        found.append(float(deviation.square().mean()))
    assert found[0] == pytest.approx(found[1], rel=0.1)
