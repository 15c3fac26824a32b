"""Convolutions of any geometry: what torch computes in floating point, and codes where a kernel is a linear layer."""

from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame, ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import CimConv2d, CimLinear, FloatConv2d, QuantConv2d
from tests.conftest import relative

FINE = MacroConfig(12, 12, rows=20, adc_bits=None)
LOSSY = MacroConfig(5, 5, rows=14, adc_bits=5, encoding_bits=2, random_noise=0.5, nonlinear_noise=2.0)


def check_against_torch(size: tuple[int, int] = (7, 6), **settings: Any) -> None:
    """Both quantised convolutions are nn.Conv2d to 12 bits, and each other and the reference in every sum."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, **settings).eval()
    x = torch.randn(2, 4, *size)
    on_macro = CimConv2d.from_float(conv, FINE, signed_input=True)
    digital = QuantConv2d.from_float(conv, 12, 12, signed_input=True)
    simulated = on_macro(x)
    assert torch.equal(simulated, digital(x))
    on_macro.engine = "reference"
    assert torch.equal(on_macro(x), simulated)
    assert relative(simulated, conv(x)) < 5e-3
    for layer in (on_macro, digital):
        layer.fidelity = "float"
        assert torch.equal(layer(x), conv(x))
    every_conversion = CimConv2d.from_float(conv, FINE.with_fields(random_noise=1e-6), signed_input=True)
    assert relative(every_conversion(x), conv(x)) < 5e-3


@pytest.mark.parametrize("kernel_size", [1, 3, (1, 3), (4, 2), 5])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_kernels_and_strides(kernel_size: Any, stride: Any) -> None:
    check_against_torch(kernel_size=kernel_size, stride=stride, padding=(1, 2))


@pytest.mark.parametrize("dilation", [2, (1, 3)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_dilation_and_groups(dilation: Any, groups: int) -> None:
    check_against_torch(kernel_size=(3, 2), dilation=dilation, groups=groups, padding=1, stride=2)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (2, 0), "same", "valid"])
def test_every_padding_mode(padding_mode: str, padding: Any) -> None:
    check_against_torch(kernel_size=(3, 4), padding=padding, padding_mode=padding_mode)
    check_against_torch(kernel_size=(2, 3), padding=padding, padding_mode=padding_mode, dilation=2, groups=2)


@pytest.mark.parametrize("rows", [1, 4, 8])
def test_fewer_rows_than_kernel_elements(rows: int) -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2).eval()
    x = torch.randn(2, 4, 5, 5)
    layer = CimConv2d.from_float(conv, MacroConfig(rows=rows, adc_bits=16, random_noise=1e-4), signed_input=True)
    simulated = layer(x)
    layer.fidelity = "quantized"
    assert relative(simulated, layer(x)) < 1e-3


@pytest.mark.parametrize("kernel_size", [1, 2, 3, (5, 4)])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 1), ((3, 2), 1), (2, 2), (1, 1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_same_padding_with_any_stride(kernel_size: Any, stride: Any, dilation: Any, size: tuple[int, int]) -> None:
    conv = Conv2dSame(3, 4, kernel_size, stride, dilation=dilation).eval()
    layer = CimConv2d(3, 4, kernel_size, stride, "same", dilation, macro=FINE, signed_input=True).eval()
    layer.load_state_dict(conv.state_dict())
    x = torch.randn(2, 3, *size)
    simulated = layer(x)
    assert relative(simulated, conv(x)) < 5e-3
    assert torch.equal(CimConv2d.from_float(conv, FINE, signed_input=True)(x), simulated)


@pytest.mark.parametrize("kind", [StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame])
def test_timms_standardised_weights(kind: type[nn.Conv2d]) -> None:
    conv, x = kind(4, 6, 3, stride=2).eval(), torch.randn(2, 4, 8, 7)
    for layer in (CimConv2d.from_float(conv, FINE, signed_input=True), FloatConv2d.from_float(conv)):
        assert relative(layer(x), conv(x)) < 5e-3


def test_a_kernel_as_large_as_its_input_has_the_codes_and_noise_of_a_linear_layer() -> None:
    conv = CimConv2d(3, 7, (4, 5), macro=LOSSY, name="head").eval()
    linear = CimLinear(60, 7, macro=LOSSY, name="head").eval()
    linear.load_state_dict({k: v.flatten(1) if k == "weight" else v for k, v in conv.state_dict().items()})
    x = torch.rand(3, 3, 4, 5)
    assert torch.equal(conv(x), linear(x.flatten(1))[..., None, None])


@pytest.mark.parametrize("fidelity", ["float", "quantized", "simulated"])
@pytest.mark.parametrize(("dilation", "size"), [(2, (3, 3)), (1, (2, 3))])
def test_a_kernel_larger_than_its_input_is_refused(fidelity: str, dilation: int, size: tuple[int, int]) -> None:
    layer = CimConv2d(2, 3, 3, dilation=dilation, macro=FINE).eval()
    layer.fidelity = fidelity
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)kernel"):
        layer(torch.rand(1, 2, *size))
