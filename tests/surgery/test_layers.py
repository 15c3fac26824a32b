"""Kinds of layers, as one run of a network shows them."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import Plan, convert_


class Kinds(nn.Module):
    """Convolutions of all kinds behind one that reads the image, and one that reads it beside an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 1, 3)
        self.of_one_channel = nn.Conv2d(1, 4, 3, padding=1)
        self.each = nn.Conv2d(4, 8, 3, groups=4, padding=1)
        self.halves = nn.Conv2d(8, 4, 3, groups=2, padding=1)
        self.beside = nn.Conv2d(7, 4, 1)
        self.mlp = nn.Sequential(nn.Linear(4, 4))
        self.hidden, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.halves(self.each(self.of_one_channel(self.first(x))))
        y = self.beside(torch.cat([x[..., 1:-1, 1:-1], y], 1)).mean((2, 3))
        return self.last(self.hidden(self.mlp(y)))


def test_kinds_of_layers() -> None:
    report = convert_(Kinds(), Plan(), torch.randn(2, 3, 8, 8))
    assert {row.name: row.kind for row in report} == {
        "first": "stem", "of_one_channel": "conv", "each": "depthwise", "halves": "conv", "beside": "conv",
        "mlp.0": "mlp", "hidden": "linear", "last": "head",
    }  # fmt: skip


def test_two_layers_that_read_the_image_are_stems() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last((self.one(x) + self.other(x.flip(3) - 0.5)).mean((2, 3)))

    report = convert_(Two(), Plan(), torch.randn(2, 3, 8, 8))
    assert [row.kind for row in report] == ["stem", "stem", "head"]


SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize("kwargs", [{"num_classes": 0}, {"features_only": True, "out_indices": (0, 1)}], ids=str)
def test_a_vit_without_a_classifier_has_no_head(kwargs: dict[str, Any]) -> None:
    model = timm.create_model("vit_tiny_patch16_224", **SMALL_VIT, **kwargs)
    kinds = [row.kind for row in convert_(model, Plan())]
    assert (kinds.count("head"), kinds.count("mlp")) == (0, 4)


def test_a_residual_network_without_a_classifier_has_no_head() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.hidden, self.norm = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x)
            return self.norm(x + self.hidden(x))

    assert [row.kind for row in convert_(Residual(), Plan(), torch.randn(2, 8))] == ["linear", "linear"]


def test_several_heads_are_all_heads() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.two, self.three = nn.Linear(8, 8), *(nn.Linear(8, 3) for _ in range(3))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.first(x)
            return (self.one(x) + nn.functional.linear(x, self.two.weight)).softmax(-1), self.three(x)

    assert [row.kind for row in convert_(Heads(), Plan(), torch.randn(2, 8))] == ["linear", "head", "head", "head"]
    model = timm.create_model("deit_tiny_distilled_patch16_224", **{**SMALL_VIT, "num_classes": 3})
    assert [row.name for row in convert_(model, Plan()) if row.kind == "head"] == ["head", "head_dist"]
