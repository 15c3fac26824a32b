"""Shares of the loss against the chain rule written out, and what a map of the shipped networks must show."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule, calibrate_, change_macros_, convert_
from asim_lightning.classifier import BackboneConfig
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.cli.weights import load_weights
from asim_lightning.data import FashionMNIST
from asim_lightning.engine import SavedChip, noise_context
from asim_lightning.evaluation.attribution import loss_map
from asim_lightning.evaluation.condition import Condition, under
from asim_lightning.evaluation.layer_inputs import chip_layers
from asim_lightning.resources import shipped_file
from asim_lightning.safe_load import read_checkpoint
from asim_lightning.surgery import macro_layers
from tests.exploration.conftest import KWARGS
from tests.exploration.own_network import own_images, own_network

Batch = tuple[Tensor, Tensor, Tensor]
WEIGHTS = ("weight", "bias")


def outputs(model: CimModule, fidelity: str, layer: Any, x: Tensor, ids: Tensor) -> Tensor:
    with torch.no_grad(), under(model, Condition(fidelity)), noise_context(0, 0, ids):
        return layer(x)  # type: ignore[no-any-return]


class Twice(nn.Module):
    """A layer that is called twice, and activations that may work in place."""

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.stem, self.fc, self.head = nn.Linear(24, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.relu = nn.ReLU(in_place)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        return self.head(self.relu(self.fc(self.relu(self.fc(x)))))  # type: ignore[no-any-return]


def lossy(network: nn.Module, *rules: Rule, **fields: Any) -> tuple[CimModule, Batch]:
    """A network whose classes are told apart by its weights, and whose macro loses nats."""
    torch.manual_seed(0)
    for weight in network.parameters():
        nn.init.normal_(weight, std=2.0 * weight.shape[-1] ** -0.5 if weight.dim() > 1 else 0.1)
    x, labels, ids = torch.rand(256, 24), torch.randint(5, (256,)), torch.arange(256)
    macro = MacroConfig(**{"rows": 16, "adc_bits": 4, "random_noise": "0.4 lsb", **fields}, weight_bits=4, input_bits=4)
    convert_(network, Plan(macro, list(rules), stem="macro", signed_input=False), example=x[:1])
    calibrate_(network, [x])
    return GivenNetwork(network.eval(), example=x[:1]), (x, labels, ids)


@pytest.mark.parametrize("fields", [{}, {"random_noise": "1 lsb"}, {"weight_parallel": True}], ids=str)
def test_shares_add_up_where_errors_leave_the_ranges_of_the_inputs(fields: dict[str, Any]) -> None:
    model, batch = lossy(Twice(), **fields)
    found = loss_map(model, [batch])
    assert found.increase > 4
    assert found.sum == pytest.approx(found.increase, rel=0.05)
    assert loss_map(lossy(Twice(in_place=True), **fields)[0], [batch]) == found
    halves = loss_map(model, [tuple(each[:100] for each in batch), tuple(each[100:] for each in batch)])
    assert halves.by_layer == pytest.approx(found.by_layer, rel=1e-4)


def test_a_share_is_that_of_a_path_of_many_points() -> None:
    model, (x, labels, ids) = lossy(nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 5)))
    first, _, second = model.backbone
    met, errors = x, []
    for layer in (first, second):
        y = outputs(model, "simulated", layer, met, ids)
        errors.append((y - outputs(model, "quantized", layer, met, ids)).double().numpy())
        met = y.relu()

    def grid(values: Any, largest: float, steps: int) -> Any:
        return np.rint(np.clip(values / largest, -1, 1) * steps) / steps * largest

    (w, v), (b, c) = ([getattr(each, name).detach().double().numpy() for each in (first, second)] for name in WEIGHTS)
    w, v = (grid(each, abs(each).max(), 7) for each in (w, v))
    before = grid(x.double().numpy(), float(first.input_max), 15) @ w.T + b
    shares = np.zeros(2)
    for s in (np.arange(1000) + 0.5) / 1000:
        hidden = before + s * errors[0]
        logits = grid(np.maximum(hidden, 0), float(second.input_max), 15) @ v.T + c + s * errors[1]
        to_logits = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(5)[labels]
        reaches = (hidden > 0) & (hidden < float(second.input_max))
        shares += [((to_logits @ v) * reaches * errors[0]).sum(), (to_logits * errors[1]).sum()]
    found = loss_map(model, [(x, labels, ids)]).by_layer
    assert [found["0"], found["2"]] == pytest.approx(list(shares / 1000 / len(ids)), rel=0.02)


def test_digital_positions_take_their_shares() -> None:
    model, batch = lossy(Twice())
    found = loss_map(model, [batch])
    for name, shares in found.layers.items():
        changes = [each for each in found.changes if each.layer == name]
        assert [each.fields["digital_levels"] for each in changes] == [1, 2, 3, 4, 5, 6, 7]
        left = [sum(shares[: 7 - level]) for level in range(1, 8)]
        assert [each.share for each in changes] == pytest.approx(left, abs=1e-5)


CHANGES: list[dict[str, Any]] = [{"digital_levels": 0}, {"adc_bits": 5}, {"votes": 3, "vote_levels": 7}, {"rows": 8}]


def test_the_share_of_a_change_is_that_of_a_layer_of_the_changed_macro() -> None:
    model, (x, labels, ids) = lossy(nn.Sequential(nn.Linear(24, 5)))
    found = loss_map(model, [(x, labels, ids)], changes={"0": CHANGES})
    mine = outputs(model, "simulated", model.backbone, x, ids)
    exact = outputs(model, "quantized", model.backbone, x, ids)
    gradient = torch.zeros_like(exact)
    for point, weight in zip(*np.polynomial.legendre.leggauss(8), strict=True):
        chances = (exact + (1 + point) / 2 * (mine - exact)).softmax(1)
        gradient += weight / 2 * (chances - nn.functional.one_hot(labels, 5)) / len(x)
    assert found.changes[-4].share == found.by_layer["0"]  # the same macro, noise and inputs
    for change, fields in zip(found.changes[-4:], CHANGES, strict=True):
        other, _ = lossy(nn.Sequential(nn.Linear(24, 5)), Rule("0", fields))
        error = outputs(other, "simulated", other.backbone, x, ids) - exact
        assert change.fields == fields
        assert change.share == pytest.approx(float((gradient * error).sum()), rel=1e-3)


@pytest.mark.parametrize("levels", [0, 7])
def test_stuck_cells_stay_if_all_positions_are_digital(levels: int) -> None:
    stuck = {"digital_levels": levels, "random_noise": 0.0, "static": {"stuck_at_1": 0.03}}
    model, batch = lossy(Twice(), Rule("fc", stuck), digital_levels=7)
    found = loss_map(model, [batch])
    assert found.increase > 0.2
    assert set(found.rest) == {"fc"}
    assert next(iter(found.by_layer)) == "fc"
    assert found.sum == pytest.approx(found.increase, rel=0.05)
    last = [each for each in found.changes if each.layer == "fc"][-1:]
    assert [each.share for each in last] == [found.rest["fc"]] * len(last)


def test_the_mean_over_chips_that_differ() -> None:
    model, batch = lossy(Twice(), random_noise=0.0, static={"offset": "0.8 lsb"})
    one, other, both = (loss_map(model, [batch], chips) for chips in ([0], [1], [0, 1]))
    assert one.by_layer != other.by_layer
    assert both.increase == pytest.approx((one.increase + other.increase) / 2)
    assert both.by_layer == pytest.approx(
        {name: (one.by_layer[name] + other.by_layer[name]) / 2 for name in one.layers}
    )


def test_the_network_is_what_it_was_also_after_a_wrong_change() -> None:
    model, batch = lossy(Twice())
    model.train()
    model.fidelity, model.chip = "quantized", 5
    layers = macro_layers(model.backbone).values()

    def state() -> list[Any]:
        names = ("assignment", "fidelity", "training", "has_gradient")
        of_layers = [[*(getattr(each, name) for name in names), each._forward_hooks.copy()] for each in layers]
        return [of_layers, model.fidelity, model.chip, model.trial, model.training]

    before = state()
    loss_map(model, [batch])
    assert state() == before
    with pytest.raises(ValueError, match="adc_bits"):
        loss_map(model, [batch], changes={"stem": [{"adc_bits": 77}]})
    assert state() == before


def test_positions() -> None:
    model, batch = lossy(Twice(), weight_parallel=True)
    assert {len(shares) for shares in loss_map(model, [batch]).layers.values()} == {1}
    model, batch = lossy(Twice(), digital_levels=3)
    assert all(shares[-3:] == (0.0, 0.0, 0.0) for shares in loss_map(model, [batch]).layers.values())


def test_products_that_a_forward_makes_by_functions_have_shares() -> None:
    images, labels = own_images()
    change_macros_(network := own_network(), random_noise=1.0)
    model = GivenNetwork(network, example=images[:1])
    found = loss_map(model, [(images, labels, torch.arange(len(images)))])
    assert set(found.layers) == {"conv.0", "qkv", "qk", "av", "head"}
    assert found.sum == pytest.approx(found.increase, rel=0.05)
    assert found.increase > 4


def shipped(kind: str, noise: float) -> tuple[CimClassifier, FashionMNIST]:
    """The shipped ResNet or ViT."""
    if kind == "resnet":
        backbone, macro = BackboneConfig("resnet10t", KWARGS, small=True, image_size=28), MacroConfig()
    else:
        recipe = yaml.safe_load(Path(shipped_file("configs", "fashion_vit_sim")).read_text())["model"]
        backbone, macro = BackboneConfig(**recipe["backbone"]), MacroConfig(**recipe["plan"]["macro"])
    model = CimClassifier(backbone, Plan(macro.with_fields(random_noise=noise)))
    path = str(shipped_file("checkpoints", f"fashion_{kind}_qat"))
    load_weights(model, path, read_checkpoint(path))
    data = FashionMNIST(test_images=50, eval_batch_size=50)
    data.setup("test")
    return model.eval(), data


ALMOST_NONE = {"static.stuck_at_1": 1e-9}  # so that chips differ
BAD: dict[
    str, tuple[str, float, dict[str, Any]]
] = {  # the network and what is bad: where, the noise of all, and fields
    "resnet noise": ("layer2.0.conv2", 0.08, {"random_noise": 0.24}),
    "vit noise": ("blocks.1.mlp.fc2", 0.04, {"random_noise": 0.12}),
    "resnet cells": ("layer2.0.conv2", 0.08, {"static.stuck_at_1": 0.2}),
    "resnet plane": ("layer2.0.conv2", 0.08, ALMOST_NONE),
    # in an MLP of the ViT a stuck plane adds the same to all outputs, which its LayerNorm takes away again
    "vit plane": ("blocks.1.attn.qkv", 0.04, ALMOST_NONE),
}
FAST = ("resnet noise", 0)


@pytest.mark.parametrize(
    ("case", "seed"),
    [pytest.param(*each, marks=() if each == FAST else pytest.mark.slow) for each in product(BAD, range(10))],
)
def test_the_bad_layer_is_first(case: str, seed: int, tmp_path: Path) -> None:
    bad, noise, fields = BAD[case]
    model, data = shipped(case.split()[0], noise)
    layer = macro_layers(model.backbone)[bad]
    layer.assignment = layer.assignment.ruled_by(fields)
    model.noise_seed = seed
    if fields is ALMOST_NONE:
        (drawn,) = (each for each in chip_layers(model, next(iter(data.test_dataloader()))[0][:1], 0) if each.tensors)
        stuck = {**drawn.tensors, "stuck_at_1": torch.full_like(drawn.tensors["stuck_at_1"], 2**5)}
        save_file({f"{bad}/{name}": each for name, each in stuck.items()}, tmp_path / "f")
        model.chip = SavedChip.read(str(tmp_path / "f"))
    assert next(iter(loss_map(model, data.test_dataloader(), [seed]).by_layer)) == bad


class Experts(nn.Module):
    """A router that sends each sample to two of three experts."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(24, 3), nn.Linear(16, 5)
        self.experts = nn.ModuleList(nn.Linear(24, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2)
        y = torch.zeros(len(x), 16)
        for number, expert in enumerate(self.experts):
            rows, place = torch.where(chosen == number)
            y = y.index_add(0, rows, weights[rows, place, None] * expert(x[rows]))
        return self.head(y.relu())  # type: ignore[no-any-return]


def test_a_router_may_send_other_rows_to_an_expert_at_each_point() -> None:
    model, batch = lossy(Experts())
    rows = list[int]()
    expert: Any = model.get_submodule("backbone.experts.0")
    hook = expert.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    found = loss_map(model, [batch])
    hook.remove()
    assert len(set(rows)) > 2
    assert found.increase > 0.1
    assert found.sum == pytest.approx(found.increase, rel=0.3)
    assert all(found.by_layer[f"experts.{number}"] for number in range(3))
