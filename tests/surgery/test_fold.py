"""BatchNorms folded into the layers before them: the same function, on every way into a network, and which stay."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from asim_lightning import Plan, Rule, calibrate_, convert_
from asim_lightning.nn import PACT, CimConv2d, QuantConv2d
from asim_lightning.surgery import fold_batchnorm_, fold_state
from asim_lightning.surgery.norms import FoldedNorm
from tests.conftest import relative
from tests.surgery.networks import NARROW, Net, Odd, batchnorms, disturb_, doubled, fitted

NETWORKS: dict[str, tuple[int, dict[str, Any], int]] = {  # image size, arguments, BatchNorms
    "resnet18": (32, {"channels": (8, 16, 32, 64)}, 21),
    "resnet26d": (32, {"layers": (1, 1, 1, 1), **NARROW}, 19),
    "mobilenetv2_035": (32, {}, 52),
}


def trained(name: str = "resnet10t", size: int = 32, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return fitted(timm.create_model(name, num_classes=7, **kwargs), torch.randn(4, 3, size, size))


@pytest.mark.parametrize("name", NETWORKS)
def test_network_keeps_its_output(name: str) -> None:
    """float32 to 1e-5, and float64, where rounding hides nothing, to 1e-12.

    Deep networks with random weights amplify rounding, with BatchNorms too: there float32 has three times the distance
    that it has from float64 without folding.
    """
    size, kwargs, norms = NETWORKS[name]
    model, x = trained(name, size, **kwargs), torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = model(x)
        exact = copy.deepcopy(model).double()
        expected_exactly = exact(x.double())
        assert len(fold_batchnorm_(model).pairs) == len(fold_batchnorm_(exact).pairs) == norms
        for rounded_once, weight in zip(model.parameters(), exact.parameters(), strict=True):
            assert torch.equal(rounded_once, weight.float())
        assert relative(exact(x.double()), expected_exactly) < 1e-12
        own = relative(expected.double(), expected_exactly)
        assert relative(model(x), expected) < max(1e-5, 3 * own)
    assert not batchnorms(model)


@st.composite
def pairs_of_layers(draw: st.DrawFn) -> nn.Sequential:
    """A convolution or linear layer, and a BatchNorm behind it."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    groups, per_group, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    channels, bias = groups * per_group, draw(st.booleans())
    options = {"eps": draw(st.sampled_from([1e-5, 1e-3, 0.5])), "affine": draw(st.booleans())}
    kind = draw(st.sampled_from(["conv", "same", "linear", "activated"]))
    if kind == "linear":
        pair = nn.Sequential(nn.Linear(channels, outputs, bias), nn.BatchNorm1d(outputs, **options))
    else:
        conv = Conv2dSame if kind == "same" else nn.Conv2d
        norm = BatchNormAct2d if kind == "activated" else nn.BatchNorm2d
        layer = conv(channels, groups * outputs, 3, stride=draw(st.integers(1, 2)), groups=groups, bias=bias)
        pair = nn.Sequential(layer, norm(groups * outputs, **options))
    disturb_(pair[1])
    return pair.eval()


@given(pairs_of_layers())
@settings(max_examples=40)
def test_a_layer_takes_up_its_batchnorm(pair: nn.Sequential) -> None:
    pair = pair.double()
    x = torch.randn(2, pair[0].weight.shape[1] * getattr(pair[0], "groups", 1), 7, 7).double()
    x = x[..., 0, 0] if isinstance(pair[0], nn.Linear) else x
    expected = pair(x)
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    folding = fold_batchnorm_(pair, x)
    assert float((pair(x) - expected).detach().abs().max()) < 1e-12
    folded = fold_state(before, folding.pairs)
    assert folded.keys() == pair.state_dict().keys() == {"0.weight", "0.bias"}
    assert all(torch.equal(value, folded[name]) for name, value in pair.state_dict().items())


def test_activation_and_dropout_of_timm_stay_under_their_names_and_what_is_frozen_stays_frozen() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        BatchNormAct2d(4, act_layer=nn.ReLU6, drop_layer=lambda: nn.Dropout(0.25)),
        nn.Conv2d(4, 2, 3),
    ).requires_grad_(False)
    act, drop = model[1].act, model[1].drop
    fold_batchnorm_(model, torch.randn(1, 3, 9, 9))
    assert model[1].act is act
    assert model[1].drop is drop
    assert [name for name, _ in model[1].named_children()] == ["drop", "act"]
    assert all(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"keep": ["fcc"]}, r"`plan.keep` matches no layer with 'fcc'; nearest: fc"),
        ({"rules": [Rule("stem", {"input_bits": 1})]}, r"`conv1.0`.*2..16.*signed"),
    ],
)
def test_an_error_leaves_the_network_as_it_was(plan: dict[str, Any], message: str) -> None:
    model = timm.create_model("resnet10t", **NARROW)
    before = [(key, id(module)) for key, module in model.named_modules()]
    values = {key: (id(value), value.clone()) for key, value in model.state_dict(keep_vars=True).items()}
    with pytest.raises(ValueError, match=message):
        convert_(model, Plan(fold_batchnorm=True, pact=True, **plan))
    assert [(key, id(module)) for key, module in model.named_modules()] == before
    for key, value in model.state_dict(keep_vars=True).items():
        assert values[key][0] == id(value)
        assert torch.equal(values[key][1], value)
    assert not model._load_state_dict_pre_hooks


def test_signs_stem_and_pact_are_those_without_folding_and_the_report_has_a_line_of_it() -> None:
    plain, folded = (timm.create_model("mobilenetv2_035", act_layer=nn.ReLU) for _ in range(2))
    x, pact = torch.randn(1, 3, 32, 32), {"pact": True, "input_range": "pact"}
    before, after = convert_(plain, Plan(**pact), x), convert_(folded, Plan(fold_batchnorm=True, **pact), x)
    assert before.rows == after.rows
    assert (before.notes, after.notes) == ((), ("52 BatchNorms folded into the layers before them",))
    assert str(after).splitlines()[-1] == after.notes[0]
    stem = next(module for module in folded.modules() if isinstance(module, QuantConv2d))
    assert stem.bias is not None
    assert isinstance(folded.bn1.act, PACT)
    layer = folded.blocks[0][0].conv_dw
    assert layer.input_range == "pact"
    assert layer._pact[0] is folded.bn1.act
    calibrate_(folded, [x])
    folded.eval()(x)


def test_all_parameters_of_a_folded_network_are_trained() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=7, zero_init_last=False, **NARROW)
    convert_(model, Plan(fold_batchnorm=True, pact=True))
    nn.functional.cross_entropy(model.train()(torch.randn(8, 3, 32, 32)), torch.arange(8) % 7).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(layer.bias.grad.any() for layer in model.modules() if isinstance(layer, CimConv2d))


@pytest.mark.parametrize("way", [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_state_dict_from_before_is_folded_as_it_is_loaded(way: Any, prefix: str) -> None:
    source, x = trained(**NARROW), torch.randn(2, 3, 32, 32)
    state = {prefix + key: value.clone() for key, value in source.state_dict().items()}
    folded = timm.create_model("resnet10t", num_classes=7, **NARROW).eval()
    convert_(folded, Plan(fold_batchnorm=True, keep=["*"]))
    folded = way(folded)
    target = nn.ModuleDict({"backbone": folded}) if prefix else folded
    given = dict(state)
    target.load_state_dict(given)
    assert given.keys() == state.keys()
    with torch.no_grad():
        assert relative(folded(x), source(x)) < 1e-5
        # and what it has now goes back as it is
        again = {key: value.clone() for key, value in target.state_dict().items()}
        target.load_state_dict(again)
        assert all(torch.equal(value, again[key]) for key, value in target.state_dict().items())


def test_state_dict_of_another_network_is_left_to_loading() -> None:
    pair = FoldedNorm("1", "0", 1e-5)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    for lacking in ("0.weight", "1.running_mean", "1.running_var"):
        part = {key: value for key, value in state.items() if key != lacking}
        assert fold_state(part, [pair]) == part
    other = {**state, "1.running_mean": torch.zeros(5)}
    assert fold_state(other, [pair]) == other
    assert fold_state(state, [FoldedNorm("3", "2", 1e-5)]) == state


def reads(what: str) -> Net:
    """A network whose forward pass reads what is folded past the modules."""

    def forward(model: Any, x: Tensor) -> Tensor:
        y = model.norm(model.conv(x))
        if what.endswith("bias"):
            return y if model.conv.bias is None else y * (1.01 if what == "a little of the bias" else 2.0)
        return y * getattr(model.norm, what).mean()

    return Net(forward, conv=nn.Conv2d(3, 4, 3, bias=False), norm=nn.BatchNorm2d(4)).eval()


@pytest.mark.parametrize("what", ["weight", "running_var", "bias", "a little of the bias"])
@pytest.mark.parametrize("by", ["fold", "convert"])
def test_a_network_that_would_compute_something_else_stays_as_it_is(what: str, by: str) -> None:
    model, x = reads(what), torch.randn(2, 3, 8, 8)
    expected, before = model(x), dict(model.named_modules())
    fold = fold_batchnorm_ if by == "fold" else lambda m, y: convert_(m, Plan(fold_batchnorm=True), y)
    with pytest.raises(ValueError, match=r"would change what this network computes|does not run on an input"):
        fold(model, x)
    assert dict(model.named_modules()) == before
    assert torch.equal(model(x), expected)


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
    assert note.endswith(") and 3 more")
