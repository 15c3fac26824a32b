"""Layers verify, whatever their kind; engines and layers that compute something else are found out."""

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import ENGINES, Chip, Noise, Product, reference
from asim_lightning.engine.stored_weights import Weights
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul, QuantConv2d
from asim_lightning.nn.verify import Verification, verify
from asim_lightning.quant import levels, scale_of
from tests.nn.layers import EVERY, inputs_of, layer_of

SMALL = MacroConfig(4, 4, 63, 6)
NOISY = SMALL.with_fields(random_noise="0.4 lsb")
MACROS = {
    "exact": SMALL,
    "noisy": NOISY,
    "lossy": SMALL.with_fields(rows=50, adc_bits=5, encoding_bits=3, nonlinear_noise=1.0),
    "votes": NOISY.with_fields(vote_levels=2, votes=3, vote="mean", digital_levels=1),
    "range": NOISY.with_fields(adc_bits=4, adc_step=2, adc_low=3, random_noise="0.2 lsb"),
    "parallel": NOISY.with_fields(weight_parallel=True),
    "ideal": SMALL.with_fields(adc_bits=None, random_noise=0.3),
    "cells": NOISY.with_fields(column="current", column_args={"alpha": 0.1, "cell_sigma": 5.0}),
    "droop": NOISY.with_fields(column="droop", column_args={"k": 0.9}, rows=21),
    "droop, parallel": NOISY.with_fields(column="droop", column_args={"k": 0.9}, weight_parallel=True),
    "droop, chip": NOISY.with_fields(
        column="droop", column_args={"k": 0.9}, encoding_bits=2, adc_bits=7, static={"offset": "0.8 lsb", "gain": "3 %"}
    ),
    "chip": NOISY.with_fields(
        static={"offset": "0.8 lsb", "gain": "3 %", "inl": "5 %", "columns_per_adc": 3, "stuck_at_0": 0.02}
    ),
}
ENGINES_OF = {
    "exact": "exact",
    "parallel": "reference",
    "droop, parallel": "reference",
    "ideal": "reference",
    "cells": "reference",
}
LOSSLESS = ("exact", "noisy", "votes", "ideal")
LAYER, AUTOCAST = "layer", "layer, bfloat16 autocast"
ALONE, HALVES = "layer, one sample at a time", "layer, batch split in two"


OUTPUTS = {"conv": 3 * 4 * 30, "linear": 3 * 2 * 4, "matmul": 3 * 2 * 20, "line": 3 * 6 * 5, "transposed": 3 * 24 * 12}


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


def conv(macro: MacroConfig, **settings: Any) -> CimConv2d:
    torch.manual_seed(1)
    return CimConv2d(8, 6, 3, padding=1, macro=macro, name="stage.conv", **settings)


def linear(macro: MacroConfig, kind: type[CimLinear] = CimLinear) -> CimLinear:
    torch.manual_seed(1)
    return kind(150, 10, macro=macro, signed_input=True, name="fc")


@pytest.mark.parametrize("name", MACROS)
@pytest.mark.parametrize("kind", EVERY)
def test_every_layer_verifies(kind: str, name: str) -> None:
    macro, engine = MACROS[name], ENGINES_OF.get(name, "native")
    layer, inputs = layer_of(kind, macro), inputs_of(kind)
    found = verify(layer, *inputs)
    assert found.ok
    assert (found.samples, found.outputs) == (3, OUTPUTS[kind])
    *engines, called, autocast, alone, halves = [c.name for c in found.comparisons]
    assert [called, autocast, alone, halves] == [LAYER, AUTOCAST, ALONE, HALVES]
    assert found.lossless == (name in LOSSLESS)
    assert (found.deviation_counts == 0) == found.lossless
    assert found.engine == engine
    assert (f"engine {engine}" in engines) == (engine != "reference") == bool(engines)


@pytest.mark.parametrize(
    "settings",
    [{"groups": 2}, {"padding_mode": "reflect"}, {"per_channel": True}, {"signed_input": True, "bias": False}],
)
def test_convolutions_of_many_kinds_verify(settings: dict[str, Any]) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        assert verify(conv(NOISY, **settings).to(dtype), random(3, 8, 5, 5).to(dtype)).ok


def test_one_sample_cannot_be_split() -> None:
    for x in (random(8, 5, 5), random(1, 8, 5, 5)):
        found = verify(conv(NOISY), x)
        assert (found.ok, found.samples) == (True, 1)
        assert [c.name for c in found.comparisons] == ["engine native", LAYER, AUTOCAST]
    assert [c.name for c in verify(conv(NOISY), random(9, 8, 5, 5), max_samples=2).comparisons][-1] == ALONE
    assert verify(conv(NOISY), random(9, 8, 5, 5)).samples == 4


def test_the_layer_is_left_as_it_was() -> None:
    layer = conv(NOISY).train()
    layer.fidelity = "quantized"
    before = dict(layer.__dict__)
    assert verify(layer, random(3, 8, 5, 5)).ok
    assert (layer.training, layer.fidelity) == (True, "quantized")
    assert layer.__dict__ == before
    with pytest.raises(ValueError, match="floating-point"):
        verify(layer, torch.zeros(3, 8, 5, 5, dtype=torch.int64))
    assert layer.__dict__ == before


def test_a_product_whose_input_has_no_stored_range_verifies() -> None:
    layer, x, w = CimMatmul(NOISY).eval(), random(2, 3, 20), random(2, 4, 20) - 0.5
    layer.calibrate(3 * x, 3 * w)
    layer.input_range = "batch"
    assert verify(layer, x, w).ok


def test_a_wrong_engine_is_found_out_if_more_sums_differ_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = torch.zeros(3, 10)
    wrong[1, :1] = 3.5
    monkeypatch.setitem(ENGINES, "native", engine_with(lambda sums, _: sums + wrong[: len(sums)]))
    layer, x = linear(NOISY), random(3, 150) - 0.5
    one = verify(layer, x)
    assert one.comparisons[0].ok
    assert " ok: up to 1 may, by the last bit of a normal\n" in str(one)
    wrong[1, :3] = 3.5
    found = verify(layer, x)
    assert not found.ok
    bad = found.comparisons[0]
    assert (bad.name, bad.ok, bad.differ, bad.largest_counts) == ("engine native", False, 3, 3.5)
    step = float(scale_of(x.abs().max()) * scale_of(layer.weight.detach().abs().max())) / levels(4, True) ** 2
    assert bad.largest_output == pytest.approx(3.5 * step, rel=1e-3)
    assert "DIFFERS" in str(found)


def engine_with(change: Callable[[Tensor, Tensor], Tensor], same_noise: bool = True) -> Any:
    """An engine that changes what the reference engine computes: a function of its sums, and of those without noise."""

    class Changed(reference.ReferenceProgram):
        def sums(self, x: Tensor, noise: Noise | None) -> Tensor:
            quiet = replace(self, transfer=replace(self.transfer, noisy=(False,) * len(self.transfer.cycles)))
            return change(super().sums(x, noise), reference.ReferenceProgram.sums(quiet, x, noise))

    def prepare(product: Product, transfer: Any, weights: Weights, chip: Chip = Chip()) -> Changed:
        return Changed(product, weights, transfer, chip)

    return SimpleNamespace(
        SAME_NOISE=same_noise,
        prefers=lambda transfer: None,
        refuses=lambda transfer: None,
        why_not_on=lambda device: None,
        prepare=prepare,
    )


class OfItsCall(CimLinear):
    """A layer that depends on the number of samples, and computes in bfloat16 if autocast allows it."""

    def _computed(self, x: Tensor, *others: Any) -> Tensor:
        y = super()._computed(x, *others) + (len(x) < 3)
        return y.bfloat16().float() if torch.is_autocast_enabled("cpu") else y


def test_a_layer_that_depends_on_its_call_is_found_out() -> None:
    found = verify(linear(NOISY, OfItsCall), random(3, 150) - 0.5)
    assert [c.name for c in found.comparisons if not c.ok] == [AUTOCAST, ALONE, HALVES]
    assert not found.ok


def test_a_lossless_macro_must_return_the_product() -> None:
    found = Verification("CimLinear `fc`", "exact", 1, 9, (), 2.0, 1.0, lossless=True)
    assert not found.ok
    assert str(found).endswith(
        "at most 2 counts, 1 LSB of the least significant conversion (every cycle is exact: NOT OK)"
    )


def test_deviation_is_that_of_the_rounding() -> None:
    # one row of 2 bits through a 1-bit ADC: counts 0, 1 of full scale 1 are exact; two rows are not
    macro = MacroConfig(2, 1, 2, 1)
    layer = CimLinear(2, 1, bias=False, macro=macro, name="fc")
    layer.weight.data = torch.ones(1, 2)
    found = verify(layer, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert found.ok  # count 1 is half of the full scale, and 0.5 rounds to code 0
    assert (found.deviation_counts, found.deviation_lsb, found.lossless) == (1.0, 0.5, False)


def test_messages() -> None:
    x = random(2, 8, 5, 5)
    with pytest.raises(ValueError, match=r"^`layer` must be a layer on a macro, such as CimConv2d, got QuantConv2d$"):
        verify(QuantConv2d(8, 6, 3), x)
    with pytest.raises(ValueError, match=r"needs at least one sample to verify, got no inputs$"):
        verify(CimLinear(4, 2, macro=MacroConfig()))
    with pytest.raises(ValueError, match=r"^Layer `stage.conv` needs at least one sample to verify, got shape \(0, 8"):
        verify(conv(SMALL), x[:0])


def test_events_are_compared_by_their_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    rare = SMALL.with_fields(random_noise="0.16 lsb")
    layer, x = conv(rare), random(4, 8, 32, 32)
    found = verify(layer, x)
    events = found.comparisons[0]
    assert (found.ok, found.engine, events.name) == (True, "events", "engine events")
    assert events.differ > 0
    assert re.search(
        r" ok: draws its own noise; distributions are [0-5]\.\d standard errors apart$", str(found), re.MULTILINE
    )

    changes = {  # twice as large, and as many and as large, but all upwards
        "twice": lambda sums, quiet: quiet + 2 * (sums - quiet),
        "upwards": lambda sums, quiet: quiet + (sums - quiet).abs(),
    }
    for change in changes.values():
        monkeypatch.setitem(ENGINES, "events", engine_with(change, same_noise=False))
        events = verify(layer, x).comparisons[0]
        assert not events.ok


def test_the_engine_that_runs_is_always_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "fused", engine_with(lambda sums, _: torch.full_like(sums, 12345.0)))
    monkeypatch.setattr(import_module("asim_lightning.nn.on_macro"), "choose", lambda circuit, device: "fused")
    found = verify(linear(NOISY), random(3, 150) - 0.5)
    assert next(c.name for c in found.comparisons if not c.ok) == "engine fused"
    assert not found.ok


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_rows_that_belong_to_no_sample(kind: str) -> None:
    macro = MacroConfig(6, 6, random_noise=0.5)
    layer: Any = CimLinear(9, 5, macro=macro, name="layer") if kind == "linear" else CimConv2d(3, 5, 3, macro=macro)
    layer.by_row = True
    x = torch.rand(6, 4, 9) if kind == "linear" else torch.rand(6, 3, 4, 4)
    found = verify(layer, x, max_samples=30)
    assert found.ok
    assert found.samples == (24 if kind == "linear" else 6)
