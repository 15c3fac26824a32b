"""Times of layers inside the network."""

from typing import Any

import pytest

from asim_lightning.bench import time_layers
from asim_lightning.bench.network_times import conversions
from tests.bench.conftest import classifier, some_images


def hooks(model: Any) -> list[list[Any]]:
    return [[*module._forward_hooks, *module._forward_pre_hooks] for module in model.modules()]


def test_layers() -> None:
    model, images = classifier(random_noise=0.05), some_images(6)
    model.fidelity, before = "float", hooks(model)
    found = {each.name: each for each in time_layers(model, images, 2, 2)}
    assert (model.fidelity, hooks(model)) == ("float", before)
    counts = conversions(model, images)
    assert list(found) == [name for name in counts if name in found]  # in the order in which they run
    assert len(found) == len(counts)
    conv, head = found["layer1.0.conv1"], found["fc"]
    assert (conv.kind, conv.input_shape, conv.output_shape) == ("CimConv2d", (8, 16, 16), (4, 16, 16))
    assert (head.kind, head.input_shape, head.output_shape) == ("CimLinear", (8,), (10,))
    for name, each in found.items():
        assert (each.algorithm, each.engine, each.batch) == ("exact + events", "events", 2)
        assert len(each.quantized.seconds) == len(each.simulated.seconds) == 2
        assert each.conversions == counts[name]
        assert each.conversions_per_second == pytest.approx(2 * counts[name] / each.simulated.median)
        assert 0 < each.share < 1
