"""Which BatchNorms stay, since folding would change what the network computes, and what is said of it."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from asim_lightning import Plan, convert_
from asim_lightning.surgery import fold_batchnorm_
from tests.surgery.networks import batchnorms, disturb_


class Net(nn.Module):
    """A convolution, a BatchNorm, another convolution and what a test wants between them."""

    def __init__(self, change: str = "", norm: nn.Module | None = None) -> None:
        super().__init__()
        self.change = change
        self.first, self.first_norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv, self.norm, self.last = nn.Conv2d(4, 4, 3, padding=1), norm or nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Any:
        x = torch.relu(self.first_norm(self.first(x)))
        y = self.conv(x)
        if self.change == "twice":
            y = self.conv(y)
        if self.change == "norm twice":
            return self.norm(self.norm(y))
        if self.change == "never":
            return y
        if self.change == "relu":
            y.relu_()
        if self.change == "view":
            return self.norm(y.view(y.shape)), y.sum()
        z = self.norm(y)
        if self.change == "shortcut":
            z = z + y
        if self.change == "inside":
            z = self.last(z) + self.last(y)
        if self.change == "weight":
            z = z * self.conv.weight.sum()
        return (z, y) if self.change == "returned" else z


class OddNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


class OddConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("twice", "conv runs 2 times"),
        ("norm twice", "it runs 2 times"),
        ("never", "it does not run"),
        ("relu", "it is behind relu_, not behind a convolution or linear layer"),
        ("shortcut", "conv is used by add too"),
        ("inside", "conv is used by last too"),
        ("weight", "conv is used by sum too"),
        ("view", "it is behind view, not behind a convolution or linear layer"),
        ("returned", "conv is used by the output too"),
    ],
)
def test_what_cannot_be_folded_by_its_use(change: str, why: str) -> None:
    model = Net(change).eval()
    for norm in batchnorms(model):
        disturb_(norm)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
        folding = fold_batchnorm_(model, x)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert folding.kept == {"norm": why}
    assert str(folding) == f"1 BatchNorm folded into the layer before it; 1 kept: norm ({why})"
    assert isinstance(model.first_norm, nn.Identity)
    assert isinstance(model.norm, nn.BatchNorm2d)


def changed(what: str) -> Net:
    """A network that runs as usual and has a part that folding must leave alone."""
    if what == "batch statistics":
        return Net(norm=nn.BatchNorm2d(4, track_running_stats=False))
    model = Net(norm=OddNorm(4) if what == "class of norm" else None)
    if what == "class of layer":
        model.conv = OddConv(4, 4, 3)
    if what == "parametrised":
        nn.utils.parametrizations.weight_norm(model.conv)
    if what == "pruned":
        prune.l1_unstructured(model.conv, "weight", 0.5)
    if what == "hook of norm":
        model.norm.register_forward_hook(lambda module, inputs, output: 2 * output)
    if what == "hook of layer":
        model.conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    if what == "tied":
        model.other = nn.Conv2d(4, 4, 3)
        model.other.weight = model.conv.weight
    if what == "two names":
        model.same_conv = model.conv
    if what == "two names of norm":
        model.same_norm = model.norm
    return model


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("batch statistics", "it takes the statistics of each batch"),
        ("class of norm", "surgery does not know OddNorm"),
        ("class of layer", "it is behind conv, and surgery does not know OddConv"),
        ("parametrised", "conv computes its weight anew"),
        ("pruned", "conv computes its weight anew"),
        ("hook of norm", "it has hooks"),
        ("hook of layer", "conv has hooks"),
        ("tied", "conv shares its weights"),
        ("two names", "conv shares its weights"),
        ("two names of norm", "it has several names"),
    ],
)
def test_what_cannot_be_folded_by_its_kind(what: str, why: str) -> None:
    folding = fold_batchnorm_(changed(what), torch.randn(1, 3, 8, 8))
    assert [pair.norm for pair in folding.pairs] == ["first_norm"]
    assert folding.kept == {"norm": why}


def test_batchnorm_over_another_axis_than_the_outputs_stays() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match=r"every BatchNorm, 1 \(its channels are not the outputs of 0\)$"):
        fold_batchnorm_(model, torch.randn(2, 4, 5))


def test_batchnorm_before_a_convolution_says_so_and_the_network_stays() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(2, 2))
    before = [id(module) for module in model.modules()]
    message = (
        r"^There is nothing to fold: `fold_batchnorm` has to keep every BatchNorm, "
        r"0 \(it is behind the input, not behind a convolution or linear layer\)$"
    )
    with pytest.raises(ValueError, match=message):
        convert_(model, Plan(fold_batchnorm=True), torch.randn(1, 3, 4, 4))
    assert [id(module) for module in model.modules()] == before


def test_many_that_stay_are_counted() -> None:
    model = timm.create_model("densenet121", block_config=(2, 2), growth_rate=8)
    (note,) = convert_(model, Plan(fold_batchnorm=True)).notes
    assert note.startswith("5 BatchNorms folded into the layers before them; 6 kept: features.denseblock1.denselayer1.")
    assert (
        "features.denseblock1.denselayer2.norm1 (it is behind cat, not behind a convolution or linear layer), " in note
    )
    assert note.endswith(") and 3 more")
