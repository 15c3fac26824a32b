"""Layers kept in floating point answer for a sample as if it were alone, and share the float layer's parameters."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from asim_lightning.nn import FloatConv2d, FloatLinear, FloatMatmul


def kinds() -> dict[str, tuple[nn.Module, nn.Module, Tensor]]:
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(16, 8, 3, 2, padding=1, groups=2).eval(), nn.Linear(300, 20).eval()
    return {
        "conv": (FloatConv2d.from_float(conv), conv, torch.randn(33, 16, 9, 9)),
        "linear": (FloatLinear.from_float(linear), linear, torch.randn(33, 5, 300)),
    }


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_same_function_same_parameters(kind: str) -> None:
    layer, plain, x = kinds()[kind]
    assert layer.weight is plain.weight
    if kind == "linear":
        torch.testing.assert_close(layer(x, with_bias=False), x @ plain.weight.T)
    torch.testing.assert_close(layer(x), plain(x))
    assert torch.equal(layer.train()(x), plain.train()(x))


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_do_not_depend_on_the_batch_or_autocast(kind: str, dtype: torch.dtype) -> None:
    layer, _, x = kinds()[kind]
    x = x.to(dtype)
    together = layer(x)
    assert together.dtype == dtype
    assert all(torch.equal(layer(x[i : i + 1])[0], together[i]) for i in (0, 7, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), together)


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_a_graph_of_padding_same_fits_other_sizes_and_images_without_a_batch() -> None:
    layer = FloatConv2d.from_float(Conv2dSame(3, 4, 3, 2)).eval()
    traced, other = torch.jit.trace(layer, torch.randn(1, 3, 9, 9)), torch.randn(1, 3, 8, 8)
    assert torch.equal(traced(other), layer(other))
    plain, image = nn.Conv2d(3, 4, 3, padding="same"), torch.randn(3, 9, 8)
    torch.testing.assert_close(FloatConv2d.from_float(plain).eval()(image), plain(image))


def test_products_of_activations() -> None:
    x, w = torch.randn(33, 2, 7, 50), torch.randn(33, 2, 6, 50)
    together = FloatMatmul().eval()(x, w)
    torch.testing.assert_close(together, x @ w.mT)
    assert torch.equal(FloatMatmul().eval()(x[5:6], w[5:6]), together[5:6])
