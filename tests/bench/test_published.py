"""The published code of a checkout: imported without a trace, and asked for what it computes."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning import MacroConfig
from asim_lightning.bench import compare, load_published
from asim_lightning.bench.published import published_layer, why_not
from asim_lightning.nn import CimConv2d, CimLinear, CimMatmul
from tests.bench.conftest import classifier, some_images, write_published

IMAGE, MATRIX = torch.rand(1, 8, 6, 6), torch.rand(2, 8)


def test_importing_leaves_no_trace(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ModuleType("tools")
    monkeypatch.setitem(sys.modules, "tools", mine)  # a module of the user's own
    paths = list(sys.path)
    code = load_published(published)
    assert code.conv.__name__ == "ASiMConv2d"
    assert code.linear.__name__ == "ASiMLinear"
    assert sys.modules["tools"] is mine
    assert not any(name.split(".")[0] == "module" for name in sys.modules)
    assert sys.path == paths


def test_two_checkouts_are_two(published: Path, tmp_path: Path) -> None:
    other = write_published(tmp_path / "other")
    assert load_published(published).conv is not load_published(other).conv


MISSING = {
    "no folder": (None, "", "which has no module/asim_conv.py"),
    "no file": ("module/asim_linear.py", None, "which has no module/asim_linear.py"),
    "no class": ("module/asim_conv.py", "import torch", "whose module/asim_conv.py has no layer ASiMConv2d"),
    "no layer": ("module/asim_conv.py", "ASiMConv2d = 3", "whose module/asim_conv.py has no layer ASiMConv2d"),
    "import": ("module/asim_linear.py", "import nosuch_package", "is not imported: No module named 'nosuch_package'"),
    "code": ("module/basic.py", "1 / 0", "whose module/asim_conv.py is not imported: division by zero"),
}


@pytest.mark.parametrize("case", MISSING.values(), ids=MISSING)
def test_what_is_no_checkout(case: tuple[str | None, str | None, str], published: Path, tmp_path: Path) -> None:
    name, content, expected = case
    if name is None:
        published = tmp_path / "nosuch"
    elif content is None:
        (published / name).unlink()
    else:
        (published / name).write_text(content)
    with pytest.raises(ValueError, match="must be a checkout of the published code") as error:
        load_published(published)
    assert expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


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
    "column": (lambda: CimLinear(8, 2, macro=MacroConfig(column="current")), MATRIX, "extensions"),
    "ideal": (lambda: CimLinear(8, 2, macro=MacroConfig(adc_bits=None)), MATRIX, "an ideal converter"),
    "channels": (lambda: CimLinear(8, 2, macro=MacroConfig(), per_channel=True), MATRIX, "a scale for each"),
    "tokens": (lambda: CimLinear(8, 2, macro=MacroConfig()), MATRIX[None, None], "an input of 4 dimensions"),
    "signed": (
        lambda: CimConv2d(8, 2, 3, macro=MacroConfig(encoding_bits=2), signed_input=True), IMAGE, "a signed input",
    ),
    "groups": (lambda: CimConv2d(8, 2, 3, groups=2, macro=MacroConfig()), IMAGE, "groups"),
    "dilation": (lambda: CimConv2d(8, 2, 3, dilation=2, macro=MacroConfig()), IMAGE, "groups"),
    "reflect": (lambda: CimConv2d(8, 2, 3, padding_mode="reflect", macro=MacroConfig()), IMAGE, "groups"),
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


def test_comparison(published: Path) -> None:
    model = classifier(random_noise=0.05)
    layer = model.backbone.get_submodule("layer1.0.conv2")
    layer.macro = layer.macro.with_fields(adc_bits=None)
    model.fidelity = "float"
    found = {each.name: each for each in compare(model, load_published(published), some_images(4), 2, 2)}
    assert model.fidelity == "float"
    refused = found.pop("layer1.0.conv2")
    assert (refused.ours, refused.published, refused.times_faster) == (None, None, None)
    assert refused.why_not == "an ideal converter"
    assert {"layer1.0.conv1", "fc"} <= found.keys()
    for each in found.values():
        assert (each.engine, each.batch, each.why_not) == ("events", 2, "")
        assert each.ours is not None
        assert each.published is not None
        assert len(each.ours.seconds) == len(each.published.seconds) == 2
        assert each.times_faster == pytest.approx(each.published.median / each.ours.median)


def test_a_layer_that_fails_is_named(tmp_path: Path) -> None:
    fails = "    def forward(self, x):\n        raise TypeError('no such kernel')\n"
    code = load_published(write_published(tmp_path / "fails", fails))
    message = r"does not compute layer `conv1\.3`: no such kernel"
    with pytest.raises(ValueError, match=message):
        compare(classifier(), code, some_images(2), 1, 1)
