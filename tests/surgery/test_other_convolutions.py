"""Networks with transposed convolutions and convolutions of one dimension: converted, folded, priced."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.prune import l1_unstructured

from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.cost import cost
from asim_lightning.nn import CimConv1d
from asim_lightning.surgery import set_fidelity_
from tests.conftest import relative
from tests.surgery.networks import Net, distance, doubled, fitted

FINE = MacroConfig(16, 16, rows=64, adc_bits=None)
COARSE = MacroConfig(6, 6, rows=64, adc_bits=5, random_noise=0.2, static={"offset": "1 lsb", "columns_per_adc": 3})


def up_and_along() -> Net:
    """An image is made smaller and larger again; its rows are signals for a convolution of one dimension."""

    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.up_norm(model.up(model.stem(x).relu())).relu()
        x = model.fine_norm(model.fine(x)).relu()
        return model.head(model.line_norm(model.line(x.mean(2))).relu().mean(2))

    return Net(
        forward, stem=nn.Conv2d(3, 8, 3, stride=2, padding=1),
        up=nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1, groups=2), up_norm=nn.BatchNorm2d(12),
        fine=nn.ConvTranspose2d(12, 6, 3, stride=2, padding=1, output_padding=1, bias=False),
        fine_norm=nn.BatchNorm2d(6), line=nn.Conv1d(6, 10, 3, padding=1), line_norm=nn.BatchNorm1d(10),
        head=nn.Linear(10, 5),
    )  # fmt: skip


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return fitted(up_and_along(), torch.randn(4, 3, 8, 8))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fold", [False, True])
def test_all_layers_go_on_macros_and_compute_the_network(model: nn.Module, x: Tensor, fold: bool) -> None:
    expected, kept = model(x), copy.deepcopy(model)
    report = convert_(model, Plan(macro=FINE, fold_batchnorm=fold), x)
    rows = {row.name: row for row in report}
    assert {name: row.after for name, row in rows.items() if row.macro is not None} == {
        "up": "CimConvTranspose2d", "fine": "CimConvTranspose2d", "line": "CimConv1d", "head": "CimLinear",
    }  # fmt: skip
    assert rows["up"].macs == 16 * 8 * 6 * 16  # each of 4 x 4 pixels meets 4 x 4 elements of 6 outputs
    assert rows["fine"].kind == "conv"
    assert all(rows[name].input.startswith("unsigned") for name in ("up", "fine", "line"))
    if fold:
        assert report.notes == ("3 BatchNorms folded into the layers before them",)
    calibrate_(model, [x])
    for fidelity, most in (("float", 1e-5), ("quantized", 0.05), ("simulated", 0.05)):
        set_fidelity_(model, fidelity)
        assert relative(model(x), expected) < most
    state = kept.state_dict()
    again = up_and_along().eval()
    convert_(again, Plan(macro=FINE, fold_batchnorm=fold), x)
    again.load_state_dict(state, strict=False)  # before folding, and without ranges
    set_fidelity_(again, "float")
    assert relative(again(x), expected) < 1e-5


def test_kept_layers_stay_float_and_do_not_depend_on_the_batch(model: nn.Module, x: Tensor) -> None:
    expected = model(x)
    report = convert_(model, Plan(macro=COARSE, keep=["up", "fine", "line", "head"], stem="float"), x)
    assert {row.why_kept for row in report} == {"plan.keep", "plan.stem"}
    assert relative(model(x), expected) < 1e-5
    assert torch.equal(model(x[1:2]), model(x)[1:2])


def test_cost_counts_what_macros_convert(model: nn.Module, x: Tensor) -> None:
    """up: 4 x 4 pixels, kernel 4, stride 2, padding 1: 5 x 5 windows of 2 x 2 pixels, 2 groups of 6 x 4 outputs."""
    report = convert_(model, Plan(macro=COARSE), x)
    found = {layer.name: layer.done for layer in cost(model, example=x[:1]).layers}
    assert {name: done.macs for name, done in found.items()} == {row.name: row.macs for row in report}
    assert found["up"].conversions == 25 * 2 * 24 * 36


def test_signals_without_an_image() -> None:
    """A network that reads signals: the first layer stays float unless the plan says otherwise."""
    torch.manual_seed(0)

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(2, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8), nn.Flatten(), nn.LazyLinear(4)
        )

    example: Any = torch.randn(2, 2, 20)
    for stem, first in (("published", nn.Conv1d), ("macro", CimConv1d)):
        model = network().eval()
        model(example)
        moved, report = distance(model, example, FINE, stem=stem)
        assert isinstance(model[0], first)
        assert isinstance(model[2], CimConv1d)
        assert [row.kind for row in report] == ["stem", "depthwise", "head"]
        assert moved < 1e-2


class Own(nn.ConvTranspose2d):
    """Computes something else than its base."""

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        return super().forward(x).relu()


def sized_call() -> nn.Module:
    """Calls a layer with the size of its output."""
    return Net(lambda model, x: model.up(x, output_size=(14, 14)), up=nn.ConvTranspose2d(4, 4, 3, stride=2))


def as_function() -> nn.Module:
    """Uses the weight of a layer that it does not call."""
    return Net(lambda model, x: nn.functional.conv1d(x.flatten(2), model.conv.weight), conv=nn.Conv1d(4, 4, 3))


STAY_FLOAT = [
    (lambda: Own(4, 4, 2), "is a Own, which surgery does not know; it converts torch.nn.ConvTranspose2d"),
    (lambda: nn.Sequential(nn.Flatten(2), weight_norm(nn.Conv1d(4, 4, 3))), "computes its weight anew"),
    (lambda: nn.Sequential(nn.Flatten(2), l1_unstructured(nn.Conv1d(4, 4, 3), "weight", 0.5)), "computes its weight"),
    (lambda: nn.Sequential(nn.Flatten(2), doubled(nn.Conv1d(4, 4, 1))), "has forward hooks"),
    (lambda: nn.ConvTranspose2d(4, 4, 2, stride=3), "has outputs that meet no input"),
    (sized_call, "is called with more than its input"),
    (as_function, "no forward called it on the example"),
]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("make", "why"), STAY_FLOAT, ids=[why for _, why in STAY_FLOAT])
def test_what_surgery_cannot_convert_stays_float_and_stops_no_conversion(
    x: Tensor, make: Callable[[], nn.Module], why: str, keep: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), make(), nn.Flatten(), nn.LazyLinear(2)).eval()
    model(x)
    moved, report = distance(model, x, FINE, keep=["1*"] if keep else [])
    assert moved < 1e-2
    rows = [row for row in report if row.name.startswith("1")]
    assert {row.macro for row in rows} == {None}
    assert rows[0].why_kept.startswith("plan.keep" if keep else why)
    assert report["3"].macro is not None
