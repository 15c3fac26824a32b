"""Kinds of layers, as one run of a network shows them."""

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
