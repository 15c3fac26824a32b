"""Kinds of layers, as one run of a network shows them, and what decides what takes the place of a layer."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import Plan, convert_
from asim_lightning.surgery.layers import FoundLayer
from asim_lightning.surgery.probe import FunctionProduct, Operand, Sighting
from asim_lightning.surgery.replacement import is_patch_embedding, is_signed
from asim_lightning.surgery.watch import Call
from tests.surgery.networks import VIT, Net

IMAGES = torch.randn(2, 3, 8, 8)


def kinds(model: nn.Module, x: Tensor | None = None) -> dict[str, str]:
    return {row.name: row.kind for row in convert_(model, Plan(), x)}


def test_kinds_of_layers() -> None:
    """Convolutions of all kinds behind one that reads the image, and one that reads it beside an answer."""

    def forward(model: Any, x: Tensor) -> Tensor:
        y = model.halves(model.each(model.of_one_channel(model.first(x))))
        y = model.beside(torch.cat([x[..., 1:-1, 1:-1], y], 1)).mean((2, 3))
        return model.last(model.hidden(model.mlp(y)))

    model = Net(
        forward, first=nn.Conv2d(3, 1, 3), of_one_channel=nn.Conv2d(1, 4, 3, padding=1),
        each=nn.Conv2d(4, 8, 3, groups=4, padding=1), halves=nn.Conv2d(8, 4, 3, groups=2, padding=1),
        beside=nn.Conv2d(7, 4, 1), mlp=nn.Sequential(nn.Linear(4, 4)), hidden=nn.Linear(4, 4), last=nn.Linear(4, 2),
    )  # fmt: skip
    assert kinds(model, IMAGES) == {
        "first": "stem", "of_one_channel": "conv", "each": "depthwise", "halves": "conv", "beside": "conv",
        "mlp.0": "mlp", "hidden": "linear", "last": "head",
    }  # fmt: skip


def test_two_layers_that_read_the_image_are_stems() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        return model.last((model.one(x) + model.other(x.flip(3) - 0.5)).mean((2, 3)))

    model = Net(forward, one=nn.Conv2d(3, 4, 3), other=nn.Conv2d(3, 4, 3), last=nn.Linear(4, 2))
    assert kinds(model, IMAGES) == {"one": "stem", "other": "stem", "last": "head"}


@pytest.mark.parametrize("kwargs", [{"num_classes": 0}, {"features_only": True, "out_indices": (0, 1)}], ids=str)
def test_a_vit_without_a_classifier_has_no_head(kwargs: dict[str, Any]) -> None:
    found = list(kinds(timm.create_model("vit_tiny_patch16_224", **{**VIT, **kwargs})).values())
    assert (found.count("head"), found.count("mlp")) == (0, 4)


def test_a_residual_network_without_a_classifier_has_no_head() -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.embed(x)
        return model.norm(x + model.hidden(x))

    model = Net(forward, embed=nn.Linear(8, 8), hidden=nn.Linear(8, 8), norm=nn.LayerNorm(8))
    assert kinds(model, torch.randn(2, 8)) == {"embed": "linear", "hidden": "linear"}


def test_several_heads_are_all_heads() -> None:
    def forward(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        x = model.first(x)
        return (model.one(x) + nn.functional.linear(x, model.two.weight)).softmax(-1), model.three(x)

    heads = {name: nn.Linear(8, 3) for name in ("one", "two", "three")}
    model = Net(forward, first=nn.Linear(8, 8), **heads)
    assert kinds(model, torch.randn(2, 8)) == {"first": "linear", **dict.fromkeys(heads, "head")}
    model = timm.create_model("deit_tiny_distilled_patch16_224", **VIT)
    assert [name for name, kind in kinds(model).items() if kind == "head"] == ["head", "head_dist"]


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        (nn.Conv2d(3, 8, 4, 4), True),
        (nn.Conv2d(3, 8, (1, 4), (1, 4)), True),
        (nn.Conv2d(3, 8, 3, 2), False),
        (nn.Conv2d(3, 8, 3), False),
        (nn.Conv2d(3, 8, 1), False),  # a patch of one pixel is none
        (nn.Linear(48, 8), True),
    ],
    ids=str,
)
def test_patches_are_those_in_which_each_pixel_counts_once(stem: nn.Module, expected: bool) -> None:
    assert is_patch_embedding(stem) is expected


ACT, BARE = "act", ""


def found(kind: str, input: Operand) -> FoundLayer:
    return FoundLayer("a", kind, nn.Identity(), sighting=Sighting(input, False))


@pytest.mark.parametrize(
    ("kind", "input", "expected"),
    [
        ("conv", Operand(ACT), (False, "unsigned: after act")),
        ("conv", Operand(BARE), (False, "unsigned: after a ReLU")),
        ("av", Operand(BARE, is_score=True), (False, "unsigned: scores")),
        ("av", Operand(None, is_score=True), (True, "signed: no ReLU before")),  # scores that passed through a layer
        ("conv", Operand(None), (True, "signed: no ReLU before")),
        ("qk", Operand(ACT), (True, "signed: keys and queries")),
        ("stem", Operand(ACT), (True, "signed: first layer")),
    ],
)
def test_inputs_are_signed_unless_the_operation_before_makes_no_negative_number(
    kind: str, input: Operand, expected: tuple[bool, str]
) -> None:
    assert is_signed(found(kind, input), Plan(), None) == expected


@pytest.mark.parametrize(
    ("kind", "a", "b", "is_second"),
    [
        ("qk", Operand(ACT), Operand(), True),
        ("av", Operand(is_score=True), Operand(), False),
        ("av", Operand(), Operand(is_score=True), True),
        ("matmul", Operand(), Operand(ACT), True),
        ("matmul", Operand(ACT), Operand(ACT), False),
    ],
)
def test_rows_of_a_macro_get_keys_scores_or_what_is_not_negative(
    kind: str, a: Operand, b: Operand, is_second: bool
) -> None:
    layer = FoundLayer("a", kind, nn.Identity(), FunctionProduct(Call("", 0), a, b, batched=True))
    assert layer.encodes_second is is_second
    assert layer.input is (b if is_second else a)
