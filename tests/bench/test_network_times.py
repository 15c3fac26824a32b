"""Times of a network and its layers: which ways there are, on which inputs, and that numbers agree with each other."""

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asim_lightning import CimClassifier
from asim_lightning.bench import time_layers, time_network
from asim_lightning.bench.inference import Inference, inferences, seconds_of, unconverted
from asim_lightning.bench.network_times import conversions
from asim_lightning.bench.times import Repeats
from asim_lightning.engine import current_scope
from asim_lightning.nn import PACT
from asim_lightning.surgery import macro_layers
from tests.bench.conftest import classifier, some_images

CPU = torch.device("cpu")
FIRST = [("float32", "", "torch"), ("quantized", "exact", "exact")]
WAYS: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "exact": ({}, [("simulated", "exact", "exact"), ("simulated", "every conversion", "native")]),
    "events": (
        {"random_noise": 0.05},
        [("simulated", "exact + events", "events"), ("simulated", "every conversion", "native")],
    ),
    "native": ({"random_noise": 0.3}, [("simulated", "every conversion", "native")]),
    "ideal": ({"adc_bits": None, "random_noise": 0.3}, [("simulated", "every conversion", "reference")]),
}


@pytest.mark.parametrize("case", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("reference", [False, True])
def test_ways_of_a_macro(case: tuple[dict[str, Any], list[tuple[str, str, str]]], reference: bool) -> None:
    macro, expected = case
    last = [("simulated", "every conversion", "reference")] if reference else []
    found = [(way.name, way.algorithm, way.engine) for way in inferences(classifier(**macro), CPU, reference)]
    assert found == list(dict.fromkeys(FIRST + expected + last))


def test_each_way_computes_the_network(model: CimClassifier) -> None:
    x, answers = some_images(3).images, []
    with torch.inference_mode():
        for way in inferences(model, CPU, reference_engine=True):
            with way.active():
                answers.append(way.network(x))
    plain, quantized, *simulated = answers
    assert len(simulated) == 3
    assert all(torch.equal(each, quantized) for each in simulated)  # 255 rows are exact
    assert 0 < float((plain - quantized).abs().max()) < 0.5 * float(plain.abs().max())


def test_the_unconverted_network_has_the_same_weights(model: CimClassifier) -> None:
    network, x = unconverted(model), some_images(3).images
    model.fidelity = "float"
    assert not network.training
    assert not any(isinstance(module, PACT) for module in network.modules())
    assert type(dict(network.named_modules())["layer1.0.conv1"]) is nn.Conv2d
    assert torch.allclose(network(x), model.backbone(x), atol=1e-5)


def test_conversions_of_a_layer(model: CimClassifier) -> None:
    model.fidelity = "float"
    found = conversions(model, some_images(2))
    assert found.keys() == macro_layers(model.backbone).keys()
    assert found["fc"] == 10 * 16  # outputs and cycles
    assert found["layer1.0.conv1"] == 4 * 16 * 16 * 16
    assert model.fidelity == "float"


class Spy(nn.Module):
    """Notes the images, trial and samples of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, int, int, list[int]]] = []

    def forward(self, x: Tensor) -> Tensor:
        scope = current_scope()
        assert scope.sample_ids is not None
        assert torch.is_inference_mode_enabled()
        self.calls.append((x.clone(), scope.seed, scope.trial, scope.sample_ids.tolist()))
        return x


def test_each_repeat_has_new_images_and_a_new_trial(model: CimClassifier) -> None:
    spies = [Spy(), Spy()]
    images = some_images(6)
    model.noise_seed = 9
    time_network(model, [Inference("float32", "", "torch", spy) for spy in spies], images, 2, 2)
    for spy in spies:
        assert [ids for *_, ids in spy.calls] == [[100, 101], [102, 103], [104, 105]]  # the first is not timed
        assert [(seed, trial) for _, seed, trial, _ in spy.calls] == [(9, 0), (9, 1), (9, 2)]
        assert torch.equal(torch.cat([x for x, *_ in spy.calls]), images.images)


def test_numbers_agree(model: CimClassifier) -> None:
    images = some_images(8)
    times = time_network(model, inferences(model, CPU), images, 2, 3)
    plain, made = times[0], sum(conversions(model, images).values())
    assert (plain.ratio, plain.fastest_ratio, plain.conversions_per_second) == (1.0, 1.0, None)
    for each in times:
        assert len(each.repeats.seconds) == 3
        assert each.ratio == pytest.approx(each.repeats.median / plain.repeats.median)
        assert each.fastest_ratio == pytest.approx(each.repeats.fastest / plain.repeats.fastest)
        assert each.images_per_second == pytest.approx(2 / each.repeats.median)
        assert each.projected(10_000) == pytest.approx(5_000 * each.repeats.median)
    assert [each.inference for each in times] == ["float32", "quantized", "simulated", "simulated"]
    for simulated in times[2:]:
        assert simulated.conversions == made
        assert simulated.conversions_per_second == pytest.approx(2 * made / simulated.repeats.median)


def test_seconds_are_those_of_the_work() -> None:
    repeats = Repeats((3.0, 1.0, 2.0, 10.0))
    assert (repeats.median, repeats.fastest) == (2.5, 1.0)
    assert seconds_of(lambda: time.sleep(0.01), CPU) >= 0.01


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
