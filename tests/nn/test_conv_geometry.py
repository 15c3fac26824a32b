"""Convolutions of any geometry: torch's numbers and an oracle's codes.

Those of one dimension and transposed ones are rearranged to convolutions of images.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn

from asim_lightning.circuit import MacroConfig
from asim_lightning.cost.operations import operations
from asim_lightning.cost.product_shape import product_shape
from asim_lightning.nn import CimConv1d, CimConv2d, CimConvTranspose2d, CimLinear, FloatConv2d, QuantConv2d
from tests import oracle
from tests.conftest import relative

FINE = MacroConfig(12, 12, rows=20, adc_bits=None)
LOSSY = MacroConfig(5, 5, rows=14, adc_bits=5, encoding_bits=2, random_noise=0.5, nonlinear_noise=2.0)


def layer_of(kind: str, macro: MacroConfig, **geometry: Any) -> tuple[Any, Any, Tensor]:
    """torch's layer, the same on a macro, and inputs."""
    torch.manual_seed(0)
    if kind == "image":
        image = nn.Conv2d(4, 8, **geometry)
        return image, CimConv2d.from_float(image, macro, signed_input=True), torch.randn(3, 4, 7, 6)
    if kind == "line":
        line = nn.Conv1d(4, 8, **geometry)
        return line, CimConv1d.from_float(line, macro, signed_input=True, name=kind), torch.randn(3, 4, 13)
    transposed = nn.ConvTranspose2d(4, 8, **geometry)
    layer = CimConvTranspose2d.from_float(transposed, macro, signed_input=True, name=kind)
    return transposed, layer, torch.randn(3, 4, 5, 6)


def check_against_torch(kind: str = "image", **geometry: Any) -> None:
    """A quantised convolution is torch's to 12 bits, and that of the reference and of one sample in every sum."""
    conv, layer, x = layer_of(kind, FINE, **geometry)
    expected, simulated = conv(x), layer.eval()(x)
    assert relative(simulated, expected) < 5e-3
    assert torch.equal(layer(x[1]), layer(x[1:2])[0])
    layer.engine = "reference"
    assert torch.equal(layer(x), simulated)
    for fidelity, most in (("quantized", 5e-3), ("float", 1e-6)):
        layer.fidelity = fidelity
        assert relative(layer(x), expected) < most
    assert layer(x[0]).shape == expected[0].shape
    assert layer.state_dict().keys() - conv.state_dict().keys() == {"input_max"}
    if kind == "image":
        digital = QuantConv2d.from_float(conv, 12, 12, signed_input=True).eval()
        assert torch.equal(digital(x), simulated)
        digital.fidelity = "float"
        assert relative(digital(x), expected) < 1e-6
        every_conversion = CimConv2d.from_float(conv, FINE.with_fields(random_noise=1e-6), signed_input=True).eval()
        assert relative(every_conversion(x), expected) < 5e-3


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


COARSE = MacroConfig(5, 5, rows=14, adc_bits=4, encoding_bits=2)
LINES: list[dict[str, Any]] = [
    {"kernel_size": 3},
    {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
    {"kernel_size": 3, "dilation": 2, "groups": 2, "padding": 2},
    {"kernel_size": 4, "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": 5, "padding": 2, "padding_mode": "circular", "stride": 3},
    {"kernel_size": 1, "groups": 4},
]
TRANSPOSED: list[dict[str, Any]] = [
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "bias": False},
    {"kernel_size": 4, "stride": 2, "padding": 1, "groups": 2},
    {"kernel_size": (5, 3), "stride": (3, 1), "padding": (0, 2), "dilation": (2, 1), "output_padding": (2, 0)},
    {"kernel_size": 3, "padding": 4, "dilation": 2},
    {"kernel_size": 5, "stride": 2, "padding": 2, "groups": 4, "output_padding": 1},
]
GEOMETRIES = [("line", each) for each in LINES] + [("transposed", each) for each in TRANSPOSED]


def integers(x: Tensor, w: Tensor, macro: MacroConfig) -> tuple[Any, Any, float]:
    """Integers of both operands, and the value of one count."""
    (a, x_scale), (b, w_scale) = (
        oracle.quantise(each.detach().numpy(), bits, True)
        for each, bits in ((x, macro.input_bits), (w, macro.weight_bits))
    )
    step = float(x_scale) * float(w_scale)
    return a, b, step / ((2 ** (macro.input_bits - 1) - 1) * (2 ** (macro.weight_bits - 1) - 1))


def transposed_by_definition(macro: MacroConfig, conv: nn.ConvTranspose2d, x: Any, w: Any, shape: Any) -> Any:
    """Sums of each output from the pixels that meet a kernel element, one after the other; without groups.

    A tile holds so many channels as fit with a window of ``ceil(kernel / stride)`` pixels a side.
    """
    (channels, outputs, height, width), (s, p) = w.shape, (conv.stride, conv.padding)
    window = -(-height // s[0]) * -(-width // s[1])
    step = macro.rows // window
    out = np.zeros((len(x), outputs, *shape[2:]))
    tiles = [
        [c * height * width + e for c in range(low, min(low + step, channels)) for e in range(height * width)]
        for low in range(0, channels, step)
    ]
    for oy, ox in np.ndindex(*shape[2:]):
        met = np.zeros((len(x), channels, height, width), dtype=np.int64)
        for a, b in np.ndindex(height, width):
            (iy, down), (ix, right) = divmod(oy + p[0] - a, s[0]), divmod(ox + p[1] - b, s[1])
            if down == right == 0 and 0 <= iy < x.shape[2] and 0 <= ix < x.shape[3]:
                met[:, :, a, b] = x[:, :, iy, ix]
        columns = w.swapaxes(0, 1).reshape(1, outputs, -1)
        out[:, :, oy, ox] = oracle.product(macro, True, met.reshape(len(x), 1, -1), columns, tiles)[:, 0]
    return out


@pytest.mark.parametrize(("kind", "geometry"), GEOMETRIES, ids=str)
def test_twelve_bits_are_torch(kind: str, geometry: dict[str, Any]) -> None:
    check_against_torch(kind, **geometry)


@pytest.mark.parametrize("geometry", [each for each in LINES if "padding_mode" not in each], ids=str)
def test_codes_of_a_line_are_the_oracles(geometry: dict[str, Any]) -> None:
    conv, layer, x = layer_of("line", COARSE, **geometry)
    a, b, step = integers(x, conv.weight, COARSE)
    sizes = ((1, conv.stride[0]), (0, conv.padding[0]), (1, conv.dilation[0]))
    sums = oracle.conv2d(COARSE, True, a[:, :, None], b[:, :, None], *sizes, groups=conv.groups)[:, :, 0]
    bias = 0.0 if conv.bias is None else conv.bias.detach().numpy()[:, None]
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), sums * step + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("geometry", TRANSPOSED[:3], ids=str)
def test_codes_of_a_transposed_convolution_are_the_oracles(geometry: dict[str, Any]) -> None:
    conv, layer, x = layer_of("transposed", COARSE, **geometry)
    expected = conv(x)
    a, b, step = integers(x, conv.weight, COARSE)
    sums = transposed_by_definition(COARSE, conv, a, b, expected.shape)
    bias = 0.0 if conv.bias is None else conv.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), sums * step + bias, rtol=1e-5, atol=1e-5)
    assert relative(layer(x), expected) > 0.02  # an ADC of 4 bits loses


def test_scales_of_channels_follow_the_columns() -> None:
    """One output channel a million times smaller than the others keeps its precision."""
    for kind, geometry in (("image", LINES[0]), ("line", LINES[0]), ("transposed", TRANSPOSED[1])):
        conv, layer, x = layer_of(kind, FINE.with_fields(weight_bits=6), **geometry)
        layer.per_channel = True
        with torch.no_grad():
            conv.weight.select(int(kind == "transposed"), 2).mul_(1e-4)
            conv.bias.zero_()
        assert relative(layer.eval()(x)[:, 2], conv(x)[:, 2]) < 0.05


def test_conversions_by_hand() -> None:
    """Images of 5 x 6, kernel 3, stride 2, padding 1: outputs of 9 x 11, made in 5 x 6 windows of 2 x 2 pixels.

    A macro of 14 rows holds 3 of 4 channels with 4 pixels each: 2 tiles. 8 output channels have 4 columns each. Every
    window has 32 outputs, and of the 16 cells of a window's four columns 9 hold a kernel element.
    """
    macro = MacroConfig(5, 5, rows=14, adc_bits=4)
    _, layer, x = layer_of("transposed", macro, kernel_size=3, stride=2, padding=1)
    shape = product_shape(layer, x[:1])
    assert (shape.matrices, shape.steps, shape.columns, shape.tiles(14)) == (1, 30, 32, (12, 4))
    done = operations(shape, layer.transfer)
    assert done.conversions == 30 * 32 * 2 * 25 == layer.conversions(x[:1])
    assert done.macs == 30 * 4 * 8 * 9
    assert done.cells == 4 * 8 * 16 * 5
    assert layer.tiles == 2
    assert layer.rows_in_use == 16
    _, layer, x = layer_of("transposed", macro, kernel_size=4, stride=2, padding=1)  # outputs of 10 x 12, and 1 around
    shape = product_shape(layer, x[:1])
    assert (shape.steps, shape.columns, shape.tiles(14), shape.macs) == (6 * 7, 32, (12, 4), 30 * 4 * 8 * 16)
    _, line, x = layer_of("line", macro, kernel_size=4, stride=2, padding=1, groups=2)
    shape = product_shape(line, x[:1])
    assert (shape.matrices, shape.steps, shape.columns, shape.tiles(14)) == (2, 6, 4, (8,))
    assert operations(shape, line.transfer).conversions == 6 * 8 * 25 == line.conversions(x[:1])
    assert operations(shape, line.transfer).macs == 6 * 8 * 8
    assert line.tiles == 2


@pytest.mark.parametrize(
    "geometry", [{"kernel_size": 2, "stride": 3}, {"kernel_size": 5, "stride": 2, "dilation": 2}], ids=str
)
def test_outputs_that_meet_no_input_are_refused(geometry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^a transposed convolution needs .* every output meets an input"):
        CimConvTranspose2d(4, 8, macro=COARSE, **geometry)


def test_what_is_no_plain_layer_and_wrong_shapes() -> None:
    class Own(nn.ConvTranspose2d):
        def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
            return F.relu(super().forward(x))

    with pytest.raises(ValueError, match=r"torch\.nn\.ConvTranspose2d, got Own"):
        CimConvTranspose2d.from_float(Own(2, 2, 2), COARSE)
    _, line, x = layer_of("line", COARSE, kernel_size=2)
    with pytest.raises(ValueError, match=r"shape \(batch, 4, length\)"):
        line(x[:, :3])
