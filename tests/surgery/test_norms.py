"""Which BatchNorms stay, since folding would change what the network computes, and what is said of it."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from asim_lightning import Plan, convert_
from asim_lightning.surgery import fold_batchnorm_
from tests.surgery.networks import Net, Odd, batchnorms, disturb_, doubled


def network(use: Callable[[Any, Tensor], Any]) -> Net:
    """A convolution with a BatchNorm, and another one that a test uses as it wants."""

    def forward(model: Any, x: Tensor) -> Any:
        return use(model, torch.relu(model.first_norm(model.first(x))))

    return Net(
        forward, first=nn.Conv2d(3, 4, 3, padding=1), first_norm=nn.BatchNorm2d(4),
        conv=nn.Conv2d(4, 4, 3, padding=1), norm=nn.BatchNorm2d(4), last=nn.Conv2d(4, 2, 1),
    )  # fmt: skip


USES: dict[str, Callable[[Any, Tensor], Any]] = {
    "conv runs 2 times": lambda model, x: model.norm(model.conv(model.conv(x))),
    "it runs 2 times": lambda model, x: model.norm(model.norm(model.conv(x))),
    "it does not run": lambda model, x: model.conv(x),
    "it is behind relu_, not behind a convolution or linear layer": lambda model, x: model.norm(model.conv(x).relu_()),
    "conv is used by add too": lambda model, x: model.norm(y := model.conv(x)) + y,
    "conv is used by last too": lambda model, x: model.last(model.norm(y := model.conv(x))) + model.last(y),
    "conv is used by sum too": lambda model, x: model.norm(model.conv(x)) * model.conv.weight.sum(),
    "it is behind view, not behind a convolution or linear layer":
        lambda model, x: (model.norm((y := model.conv(x)).view(y.shape)), y.sum()),
    "conv is used by the output too": lambda model, x: (model.norm(y := model.conv(x)), y),
}  # fmt: skip


@pytest.mark.parametrize(("why", "use"), USES.items())
def test_what_cannot_be_folded_by_its_use(why: str, use: Callable[[Any, Tensor], Any]) -> None:
    model, x = network(use).eval(), torch.randn(1, 3, 8, 8)
    for norm in batchnorms(model):
        disturb_(norm)
    with torch.no_grad():
        expected = model(x)
        folding = fold_batchnorm_(model, x)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert folding.kept == {"norm": why}
    assert str(folding) == f"1 BatchNorm folded into the layer before it; 1 kept: norm ({why})"
    assert isinstance(model.first_norm, nn.Identity)
    assert isinstance(model.norm, nn.BatchNorm2d)


class OddNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


def of_the_batch(model: Any) -> None:
    model.norm = nn.BatchNorm2d(4, track_running_stats=False)


def ties(model: Any) -> None:
    model.other = nn.Conv2d(4, 4, 3)
    model.other.weight = model.conv.weight


KINDS: list[tuple[str, Callable[[Any], Any]]] = [
    ("it takes the statistics of each batch", of_the_batch),
    ("surgery does not know OddNorm", lambda model: setattr(model, "norm", OddNorm(4))),
    ("it is behind conv, and surgery does not know Odd", lambda model: setattr(model, "conv", Odd(4, 4, 3))),
    ("conv computes its weight anew", lambda model: parametrizations.weight_norm(model.conv)),
    ("conv computes its weight anew", lambda model: prune.l1_unstructured(model.conv, "weight", 0.5)),
    ("it has hooks", lambda model: doubled(model.norm)),
    ("conv has hooks", lambda model: doubled(model.conv)),
    ("conv shares its weights", ties),
    ("conv shares its weights", lambda model: setattr(model, "same_conv", model.conv)),
    ("it has several names", lambda model: setattr(model, "same_norm", model.norm)),
]


@pytest.mark.parametrize(("why", "change"), KINDS)
def test_what_cannot_be_folded_by_its_kind(why: str, change: Callable[[Any], Any]) -> None:
    model = network(lambda model, x: model.norm(model.conv(x)))
    change(model)
    folding = fold_batchnorm_(model, torch.randn(1, 3, 8, 8))
    assert [pair.norm for pair in folding.pairs] == ["first_norm"]
    assert folding.kept == {"norm": why}


@pytest.mark.parametrize(
    ("layers", "x", "said"),
    [
        ((nn.Linear(5, 4), nn.BatchNorm1d(4)), torch.ones(2, 4, 5), r"1 \(its channels are not the outputs of 0\)$"),
        ((nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), torch.ones(1, 3, 4, 4), r"0 \(it is behind the input, not behind a"),
        ((nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), torch.ones(1, 3, 4, 4), "needs a network with BatchNorm, got one w"),
    ],
)
def test_a_network_without_anything_to_fold_stays(layers: tuple[nn.Module, ...], x: Tensor, said: str) -> None:
    model = nn.Sequential(*layers)
    with pytest.raises(ValueError, match=rf"^There is nothing to fold: .*{said}"):
        convert_(model, Plan(fold_batchnorm=True), x)
    assert tuple(model) == layers


def test_many_that_stay_are_counted() -> None:
    model = timm.create_model("densenet121", block_config=(2, 2), growth_rate=8)
    (note,) = convert_(model, Plan(fold_batchnorm=True)).notes
    assert note.startswith("5 BatchNorms folded into the layers before them; 6 kept: features.denseblock1.denselayer1.")
    assert (
        "features.denseblock1.denselayer2.norm1 (it is behind cat, not behind a convolution or linear layer), " in note
    )
    assert note.endswith(") and 3 more")
