"""A user's network and images: convolutions, BatchNorm, a residual, and an attention by einsum."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, Rule, StaticEffects, calibrate_, convert_

MACRO = MacroConfig(weight_bits=4, input_bits=4, adc_bits=7, rows=64, static=StaticEffects(offset="0.3 lsb"))


class OwnNetwork(nn.Module):
    """Four classes of images of 3 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        x = self.stem(images)
        x = x + self.conv(x)
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        scores = torch.einsum("bic,bjc->bij", q, k).mul(8**-0.5).softmax(-1)
        return self.head(torch.einsum("bij,bjc->bic", scores, v).mean(1))  # type: ignore[no-any-return]


def own_images(count: int = 24) -> tuple[Tensor, Tensor]:
    """Images of 16 x 16 and their classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    means = torch.randn(4, 3, 16, 16, generator=generator)
    return torch.randn(count, 3, 16, 16, generator=generator) + means[labels], labels


@cache
def _trained() -> OwnNetwork:
    """The network after a moment of training."""
    torch.manual_seed(0)
    network, (images, labels) = OwnNetwork(), own_images(128)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.eval()


def own_network(calibrated: bool = True, macro: MacroConfig = MACRO, rules: Sequence[Rule] = ()) -> OwnNetwork:
    """The trained network on macros."""
    network, images = deepcopy(_trained()), own_images(32)[0]
    convert_(network, Plan(macro, list(rules), fold_batchnorm=True), images[:2])
    if calibrated:
        calibrate_(network, [images])
    return network
