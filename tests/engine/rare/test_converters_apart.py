"""Wrong conversions of converters that differ: those of the reference without noise, its distribution with it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import (
    Chip,
    Conv2dProduct,
    MatmulProduct,
    Noise,
    Product,
    Weights,
    exact,
    rare,
    reference,
    sums_of,
)
from asim_lightning.engine.rare import RareProgram
from asim_lightning.engine.reference import ReferenceProgram
from tests.engine.chips.random_converters import converters
from tests.engine.conversion_cases import operands
from tests.engine.products import PRODUCTS, noise_of
from tests.engine.rare.test_distribution import check_same_distribution

DEPTHWISE: dict[str, tuple[Product, tuple[int, ...], tuple[int, ...]]] = {
    "depthwise": (Conv2dProduct((1, 1), (1, 1), (1, 1), 12), (2, 12, 9, 7), (12, 1, 3, 3)),
    "pointwise": (Conv2dProduct((2, 2), (0, 0), (1, 1), 1), (1, 300, 5, 5), (19, 300, 1, 1)),
    "many pixels": (Conv2dProduct((1, 1), (2, 2), (1, 1), 1), (1, 2, 20, 19), (3, 2, 4, 4)),
}


FIELDS: dict[str, dict[str, Any]] = {
    "bit-serial": {},
    "2 bits a cycle": {"encoding_bits": 2, "rows": 85},
    "4 bits a cycle": {"encoding_bits": 4, "rows": 17, "input_bits": 9},
    "hybrid": {"digital_levels": 3},
    "hybrid, digital ADC": {"digital_levels": 3, "digital_adc": True},
    "range of its own": {"adc_step": 1},
    "3 by 12 bits": {"weight_bits": 3, "input_bits": 12},
    "10 by 3 bits": {"weight_bits": 10, "input_bits": 3},
    "10-bit ADC": {"adc_bits": 10, "rows": 341},
    "few rows": {"rows": 15, "weight_bits": 2, "input_bits": 3},
    "column": {"column": "tests.engine.native.random_macros.Wavy"},
    "voted without noise": {"votes": 3, "vote_levels": 2, "vote": "mean"},
}
KINDS = ("offset", "gain", "gain offset nibbles", "offset curves large")


def cases(macro: MacroConfig, signed: bool) -> dict[str, tuple[Product, Tensor, Tensor]]:
    found = {name: (product, *operands(product, macro, signed)) for name, product in PRODUCTS.items()}
    generator = torch.Generator().manual_seed(7)
    for name, (product, x_shape, w_shape) in DEPTHWISE.items():
        top, largest = 2 ** (macro.input_bits - signed), 2 ** (macro.weight_bits - 1)
        x = torch.randint(-top * signed + signed, top, x_shape, generator=generator).float()
        w = torch.randint(1 - largest, largest, w_shape, generator=generator).float()
        found[name] = product, x, w
    return found


def by_tails(product: Product, circuit: Transfer, x: Tensor, w: Tensor, errors: Any, noise: Noise) -> Tensor:
    total = exact.prepare(product, circuit, Weights(w)).sums(x).double()
    return RareProgram(product, Weights(w), circuit, Chip(0, "layer"), converters=errors).added(total, x, noise)


def by_reference(product: Product, circuit: Transfer, x: Tensor, w: Tensor, errors: Any, noise: Noise) -> Tensor:
    return ReferenceProgram(product, Weights(w), circuit, Chip(0, "layer"), converters=errors).sums(x, noise)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asim_lightning.engine.native.passes.best_library", lambda: None)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("name_of_fields", FIELDS)
def test_sums_without_noise_are_the_references(name_of_fields: str, kinds: str) -> None:
    # in turns, so that all fields and all kinds meet each of them; random cases meet all together
    turn = [*FIELDS].index(name_of_fields) + KINDS.index(kinds)
    signed, spread = ((False, 0.1), (True, 0.3), (True, 1.0))[turn % 3]
    circuit = transfer(MacroConfig(**{"weight_bits": 4, "input_bits": 4, **FIELDS[name_of_fields]}), signed)
    for name, (product, x, w) in cases(circuit.macro, signed).items():
        errors, noise = converters(product, circuit, w, kinds, shared=3), noise_of(len(x))
        own = replace(
            errors,
            gain=None if errors.gain is None else 1 + (errors.gain - 1) * spread,
            offset=None if errors.offset is None else errors.offset * spread,
        )
        expected = by_reference(product, circuit, x, w, own, noise)
        assert torch.equal(by_tails(product, circuit, x, w, own, noise), expected), name


@pytest.mark.parametrize("static", [{"offset": "0.09 lsb"}, {"offset": "0.12 lsb", "gain": 0.2, "inl": 0.66}], ids=str)
@pytest.mark.parametrize("fields", [FIELDS[name] for name in ("bit-serial", "2 bits a cycle", "hybrid")])
def test_plain_torch_finds_the_same(
    static: dict[str, Any], fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_lightning.engine.native.rare._OF_PIXEL", 0)  # kernels bound the counts of all
    circuit = transfer(
        MacroConfig(**{"weight_bits": 4, "input_bits": 4, **fields, "random_noise": 0.06}, static=static), True
    )
    for name, (product, x, w) in cases(circuit.macro, True).items():
        if "inl" in static and (fields or name in ("linear", "pointwise", "many pixels")):
            continue  # plain torch takes seconds for each
        x, w = x[:1], w[:1] if product.batched_weight else w
        noise = noise_of(len(x), trial=3, chip=5)
        found = sums_of(rare, product, circuit, x, w, noise)
        with monkeypatch.context() as patched:
            without_kernels(patched)
            assert torch.equal(sums_of(rare, product, circuit, x, w, noise), found), name


STATIC: dict[str, dict[str, Any]] = {
    "offset": {"offset": "0.09 lsb"},
    "offset, gain": {"offset": "0.09 lsb", "gain": 0.3},
    "INL": {"inl": 1.5},
    "shared, trimmed": {"offset": "1 lsb", "trim": "offset", "trim_step": "0.4 lsb", "columns_per_adc": 3},
    "often wrong": {"offset": "0.5 lsb"},
}


@pytest.mark.parametrize("nonlinear", [0.0, 0.1])
@pytest.mark.parametrize("static", STATIC.values(), ids=STATIC)
def test_codes_have_the_references_distribution(static: dict[str, Any], nonlinear: float) -> None:
    """Outputs of one converter each are codes."""
    macro = MacroConfig(2, 1, random_noise="0.18 lsb", nonlinear_noise=nonlinear, static=static)
    circuit, generator = transfer(macro, False), torch.Generator().manual_seed(4)
    x = (torch.rand(600, 250, generator=generator) < torch.rand(600, 1, generator=generator)).float()
    w = -(torch.rand(300, 250, generator=generator) < 0.6).float()
    clean = x.double() @ w.double().T
    found = [
        (sums_of(engine, MatmulProduct(), circuit, x, w, noise_of(600, chip=3)) - clean).round().long()
        for engine in (rare, reference)
    ]
    check_same_distribution(*found)
    a, b = ((each != 0).double().mean(0) for each in found)  # converter by converter
    spread = ((a * (1 - a) + b * (1 - b)) / 600).sqrt().clamp_min(0.002)
    assert float(((a - b) / spread).abs().max()) < 5


@pytest.mark.parametrize("fields", [FIELDS["2 bits a cycle"], FIELDS["hybrid, digital ADC"]])
@pytest.mark.parametrize("name", ["convolution", "attention", "pointwise"])
def test_outputs_have_the_references_distribution(fields: dict[str, Any], name: str) -> None:
    macro = MacroConfig(
        **{"weight_bits": 3, "input_bits": 3, **fields}, random_noise="0.2 lsb", static=STATIC["offset, gain"]
    )
    circuit = transfer(macro, True)
    product, x, w = cases(macro, True)[name]
    x = x.repeat(20, *[1] * (x.dim() - 1))
    w = w.repeat(20, *[1] * (w.dim() - 1)) if product.batched_weight else w
    clean, noise = exact.prepare(product, circuit, Weights(w)).sums(x).double(), noise_of(len(x), chip=3)
    unit = circuit.divisor / circuit.scale
    found = [
        ((sums_of(engine, product, circuit, x, w, noise) - clean) * unit).round().long() for engine in (rare, reference)
    ]
    check_same_distribution(*found)
