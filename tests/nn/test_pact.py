"""PACT: a ReLU with a learned clip, its published gradients, and the range that it gives to a layer."""

import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import PACT, CimLinear


def test_values_and_published_gradients() -> None:
    pact = PACT(2.0)
    x = torch.tensor([-1.0, 0.0, 1.0, 2.0, 2.5, 9.0], requires_grad=True)
    slope = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    y = pact(x)
    (y * slope).sum().backward()
    assert y.tolist() == [0, 0, 1, 2, 2, 2]
    assert x.grad.tolist() == [0, 2, 4, 8, 0, 0]  # g where 0 <= x <= alpha
    assert float(pact.alpha.grad) == 48  # sum of g where x > alpha


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_type_of_the_input_is_kept(dtype: torch.dtype) -> None:
    pact = PACT(2.0)
    x = torch.tensor([-1.0, 1.0, 3.0], dtype=dtype, requires_grad=True)
    y = pact(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert pact.state_dict() == {"alpha": 2.0}
    assert pact.alpha.grad.dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan"), "6"])
def test_a_clip_that_is_not_above_zero_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="`alpha` of PACT must be above 0, got"):
        PACT(alpha)


def test_a_layer_that_follows_a_clip_takes_its_range_in_evaluation() -> None:
    pact, layer = PACT(2.0), CimLinear(20, 3, macro=MacroConfig(4, 4, adc_bits=None))
    layer.follow_pact(pact)
    assert layer.input_range == "pact"
    assert len(list(layer.parameters())) == 2
    x = torch.rand(4, 20)
    trained, _ = layer(x), layer.clear_range()
    layer.input_range = "batch"
    assert torch.equal(trained, layer(x))  # as published, the maximum of the batch
    layer.input_range = "pact"
    followed = layer.eval()(x)
    layer.store_range(2.0)
    assert torch.equal(followed, layer(x))
    layer.input_range = "pact"
    torch.nn.init.constant_(pact.alpha, 1.0)
    assert not torch.equal(followed, layer(x))
