"""An image gets the same noisy answer alone or in any batch, order and number of threads, through a whole network."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.classifier import BackboneConfig, build_backbone
from asim_lightning.engine import noise_context
from asim_lightning.nn.calibration import calibrate_

Build = Callable[[], tuple[nn.Module, Tensor]]


def quickstart_network() -> tuple[nn.Module, Tensor]:
    kwargs = {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64]}
    model = build_backbone(BackboneConfig("resnet10t", kwargs, small=True), 10)
    images = torch.randn(24, 1, 16, 16)
    model.train()(images)  # BatchNorm statistics
    return model, images


def small_vit() -> tuple[nn.Module, Tensor]:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=10
    )
    return model, torch.randn(24, 3, 32, 32)


@pytest.mark.parametrize("build", [quickstart_network, small_vit])
def test_network_answers_the_same_in_any_batch(build: Build, set_threads: Callable[[int], None]) -> None:
    torch.manual_seed(0)
    model, images = build()
    model.eval()
    convert_(model, Plan(MacroConfig(random_noise=0.1)))
    calibrate_(model, [images])
    ids = torch.arange(1000, 1024)

    def logits(order: list[int]) -> Tensor:
        with torch.no_grad(), noise_context(seed=3, trial=1, sample_ids=ids[order]):
            return model(images[order])

    everything = list(range(24))
    expected = logits(everything)
    assert expected.std(0).mean() > 0
    for threads in (1, 2):
        set_threads(threads)
        for order in ([5], everything[:7], everything[::-1]):
            got = logits(order)
            assert torch.equal(got.argmax(1), expected[order].argmax(1))
            assert float((got - expected[order]).abs().max()) <= 1e-4 * float(expected.abs().max())
    with torch.no_grad(), noise_context(seed=3, trial=2, sample_ids=ids):
        assert not torch.equal(model(images), expected)
