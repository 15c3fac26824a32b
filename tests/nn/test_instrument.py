"""A layer under measurement computes what it did, by another engine or with its conversions counted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning import MacroConfig
from asim_lightning.engine import ENGINES, noise_context
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul
from asim_lightning.nn.instrument import computed_by, counted_conversions


def conv(**macro: Any) -> CimConv2d:
    layer = CimConv2d(6, 8, 3, macro=MacroConfig(weight_bits=4, input_bits=4, **macro))
    layer.fidelity = "simulated"
    return layer.eval()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the engines that ran, in order."""
    names: list[str] = []

    def spied(name: str, engine: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *operands: names.append(name) or engine(*operands)  # type: ignore[func-returns-value]

    for name, engine in list(ENGINES.items()):
        monkeypatch.setitem(ENGINES, name, spied(name, engine))
    return names


def test_the_named_engine_computes(used: list[str]) -> None:
    layer, x = conv(), torch.rand(2, 6, 5, 5)
    expected = layer(x)
    used.clear()
    with computed_by({layer: "reference"}):
        assert torch.equal(layer(x), expected)
    assert used == ["reference"]
    layer(x)
    assert used[1:] in (["exact"], [])  # its own choice again, perhaps in bytes without an engine


def test_the_named_engine_has_the_layers_noise(used: list[str]) -> None:
    layer, x = conv(random_noise=1.0), torch.rand(2, 6, 5, 5)
    with noise_context(seed=3, trial=1):
        expected = layer(x)
    with noise_context(seed=3, trial=1), computed_by({layer: "reference"}):
        found = layer(x)
    assert used == ["packed", "reference"]
    assert torch.allclose(found, expected)


def test_the_layer_is_left_as_it_was_after_an_error() -> None:
    layer = conv()
    with pytest.raises(KeyError), computed_by({layer: "nosuch"}):
        layer(torch.rand(1, 6, 5, 5))
    with pytest.raises(ZeroDivisionError), counted_conversions({"a": layer}):
        raise ZeroDivisionError
    assert "_multiply" not in vars(layer)


@pytest.mark.parametrize("fidelity", ["quantized", "simulated"])
def test_conversions_add_up_over_calls(fidelity: str) -> None:
    layer, linear, x = conv(rows=9), CimLinear(6, 3, macro=MacroConfig(weight_bits=2)).eval(), torch.rand(2, 6, 5, 5)
    layer.fidelity = fidelity
    expected = layer(x)
    with counted_conversions({"first": layer, "second": linear}) as counts:
        assert torch.equal(layer(x), expected)
        layer(x[:1])
    assert counts == {"first": 3 * 8 * 3 * 3 * 6 * 16}  # samples, outputs, tiles, cycles; the other was not called


def test_conversions_of_attention_products() -> None:
    layer = CimMatmul(MacroConfig(weight_bits=2, input_bits=3), signed_input=True).eval()
    with counted_conversions({"qk": layer}) as counts:
        layer(torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8))
    assert counts == {"qk": 2 * 4 * 5 * 7 * 6}
