"""Layers of a folder that looks like the published code, in place of ours."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, StaticEffects
from asim_lightning.exchange.published.modules import load_published, published_layer, why_not, with_published
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul

IMAGE, MATRIX = torch.rand(1, 8, 6, 6), torch.rand(2, 8)
LAYER = '''
from module.basic import NAME
from tools.common import seed

import torch
from torch import nn


class {name}(nn.{base}):
    """Notes how it was built, and computes as torch does."""

    built = []

    def __init__(self, *sizes, {geometry}bias, **macro):
        super().__init__(*sizes, {given}bias=bias)
        self.built.append(({geometry_dict}, macro))
        assert seed() == NAME
'''


def write_published(folder: Path) -> Path:
    """A folder with the modules and tools of the published code that its layers are imported from."""
    for name, content in {
        "module/basic.py": "NAME = 7",
        "tools/common.py": "def seed():\n    return 7",
        "module/asim_conv.py": LAYER.format(
            name="ASiMConv2d",
            base="Conv2d",
            geometry="kernel_size, stride, padding, ",
            given="kernel_size, stride, padding, ",
            geometry_dict="dict(kernel_size=kernel_size, stride=stride, padding=padding)",
        ),
        "module/asim_linear.py": LAYER.format(
            name="ASiMLinear", base="Linear", geometry="", given="", geometry_dict="{}"
        ),
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


def test_importing_leaves_no_trace(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ModuleType("tools")
    monkeypatch.setitem(sys.modules, "tools", mine)  # a module of the user's own
    code = load_published(published)
    assert code.conv.__name__ == "ASiMConv2d"
    assert code.linear.__name__ == "ASiMLinear"
    assert sys.modules["tools"] is mine
    assert not any(name.split(".")[0] == "module" for name in sys.modules)


@pytest.mark.parametrize(("encoding", "levels"), [(1, 0), (4, 2)])
def test_a_convolution_has_the_same_geometry_and_macro(published: Path, encoding: int, levels: int) -> None:
    macro = MacroConfig(
        6, 7, rows=100, adc_bits=5, encoding_bits=encoding, random_noise="0.5 lsb", nonlinear_noise=0.1,
        digital_levels=levels,
    )  # fmt: skip
    ours = CimConv2d(8, 4, 3, stride=2, padding=1, bias=False, macro=macro)
    code = load_published(published)
    theirs: Any = published_layer(code, ours, IMAGE)
    assert theirs(IMAGE).shape == ours.eval()(IMAGE).shape
    assert theirs.weight is ours.weight
    assert not theirs.training
    geometry, settings = theirs.built[-1]
    assert geometry == {"kernel_size": 3, "stride": 2, "padding": 1}
    assert settings == {
        "wbit": 6, "xbit": 7, "adc_prec": 5, "nrow": 100, "rand_noise_sigma": pytest.approx(50 / 31),
        "non_linear_sigma": 0.1, "act_enc": None if encoding == 1 else 4, "signed_act": False,
        "hybrid_levels": levels or None, "mode": "Simulation", "device": "cpu",
    }  # fmt: skip


@pytest.mark.parametrize(("x", "kind"), [(MATRIX, "fc"), (MATRIX[None], "proj")])
def test_a_linear_layer_has_the_kind_of_its_input(published: Path, x: Tensor, kind: str) -> None:
    ours = CimLinear(8, 5, macro=MacroConfig(), signed_input=True)
    theirs: Any = published_layer(load_published(published), ours, x)
    assert theirs.built[-1][1]["layer"] == kind
    assert theirs.built[-1][1]["signed_act"] is True
    assert theirs.bias is ours.bias


REFUSED: dict[str, tuple[Any, Tensor, str]] = {
    "attention": (lambda: CimMatmul(MacroConfig()), MATRIX, "a product of two activations"),
    "votes": (lambda: CimLinear(8, 2, macro=MacroConfig(vote_levels=2, votes=3)), MATRIX, "extensions"),
    "parallel": (lambda: CimLinear(8, 2, macro=MacroConfig(weight_parallel=True)), MATRIX, "extensions"),
    "static": (lambda: CimLinear(8, 2, macro=MacroConfig(static=StaticEffects(gain=1))), MATRIX, "extension"),
    "column": (lambda: CimLinear(8, 2, macro=MacroConfig(column="current")), MATRIX, "extensions"),
    "ideal": (lambda: CimLinear(8, 2, macro=MacroConfig(adc_bits=None)), MATRIX, "an ideal converter"),
    "channels": (lambda: CimLinear(8, 2, macro=MacroConfig(), per_channel=True), MATRIX, "a scale for each"),
    "tokens": (lambda: CimLinear(8, 2, macro=MacroConfig()), MATRIX[None, None], "an input of 4 dimensions"),
    "signed": (
        lambda: CimConv2d(8, 2, 3, macro=MacroConfig(encoding_bits=2), signed_input=True), IMAGE, "a signed input",
    ),
    "groups": (lambda: CimConv2d(8, 2, 3, groups=2, macro=MacroConfig()), IMAGE, "groups"),
    "same": (lambda: CimConv2d(8, 2, 3, padding="same", macro=MacroConfig()), IMAGE, "groups"),
    "oblong": (lambda: CimConv2d(8, 2, (3, 1), macro=MacroConfig()), IMAGE, "groups"),
    "large": (lambda: CimConv2d(8, 2, 3, macro=MacroConfig(rows=8)), IMAGE, "groups"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_the_published_code_does_not_compute(case: tuple[Any, Tensor, str]) -> None:
    build, x, expected = case
    assert expected in why_not(build(), x)


def test_what_it_computes() -> None:
    macro = MacroConfig(encoding_bits=2, digital_levels=1, random_noise=0.1, votes=3)  # votes in no level
    assert why_not(CimConv2d(8, 2, 3, padding=1, stride=2, macro=macro), IMAGE) == ""
    assert why_not(CimLinear(8, 2, macro=macro, signed_input=True), MATRIX) == ""


def test_a_folder_without_the_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no checkout of the published code"):
        load_published(tmp_path)


@pytest.mark.parametrize("signed", [False, True])
def test_published_layers_answer_in_a_network(published: Path, signed: bool) -> None:
    first = CimConv2d(8, 4, 3, macro=MacroConfig(), signed_input=signed)
    last = CimLinear(4, 2, macro=MacroConfig(adc_bits=None))
    network = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()
    x = torch.randn(5, 8, 6, 6) if signed else torch.rand(5, 8, 6, 6)
    first.calibrate(x / 2)
    last.calibrate(torch.rand(5, 4))
    ours = network(x)
    with with_published(load_published(published), {"first": first, "last": last}) as reasons:
        answer = first(x)
        network(x)
    largest = x.abs().max() / 2
    clipped = x.clamp(-largest if signed else 0, largest)  # the fake layer computes as torch does
    torch.testing.assert_close(answer, nn.functional.conv2d(clipped, first.weight, first.bias))
    assert torch.equal(network(x), ours)
    assert reasons == {"first": "", "last": "an ideal converter"}
    first.assignment = first.assignment.changed(digital_levels=2)  # exact here, and through the ADC there
    with with_published(load_published(published), {"first": first}) as reasons:
        first(x)
    assert reasons == {"first": "digital cycles that do not pass the ADC"}
