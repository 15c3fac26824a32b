"""A network in memory is told apart by its answers, whatever its program holds; equal networks are found again."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import run
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from scipy.interpolate import CubicSpline
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import Compose, Normalize

from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.data.given import GivenData
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.exploration.answers import Answers, answers_of, loss_of
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.surgery import macro_layers
from tests.exploration.own_network import own_images, own_network

PLACE = {"scale": SimpleNamespace(deep=[SimpleNamespace(factor=1.0)])}


@pytest.fixture(scope="module")
def data() -> GivenData:
    return GivenData(own_images(100))


def answers(data: GivenData, change: Callable[[GivenNetwork], object], outcome: Outcome = Outcome()) -> Answers:
    """The answers of a network after a change by the user."""
    model = GivenNetwork(own_network(), outcome)
    change(model)
    return answers_of(model, data)


def scaled_by(factor: Callable[[], Any]) -> Callable[[GivenNetwork], object]:
    """A hook that scales the logits by something that it holds or reads."""

    def change(model: GivenNetwork) -> object:
        hook: Any = lambda module, inputs, output: output * torch.as_tensor(np.asarray(factor()), dtype=output.dtype)  # noqa: E731
        return model.backbone.head.register_forward_hook(hook)

    return change


def patched(amount: float) -> Callable[[GivenNetwork], object]:
    def change(model: GivenNetwork) -> None:
        before = model.backbone.forward
        model.backbone.forward = lambda x: before(x) + amount

    return change


def on_quantized(amount: float) -> Callable[[GivenNetwork], object]:
    """A hook that only acts in the fidelity quantized."""

    def change(model: GivenNetwork) -> None:
        layer: Any = next(iter(macro_layers(model.backbone).values()))
        layer.register_forward_hook(lambda _, inputs, y: y + amount * (layer.fidelity == "quantized"))

    return change


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def changes(folder: Path) -> Iterator[tuple[str, Callable[[float], Callable[[GivenNetwork], object]]]]:
    """Changes of things that a network holds or reads, by a number."""
    table = lambda n: np.rec.fromrecords([(1.0,), (n,)], names="factor")  # noqa: E731
    masked = lambda n: np.ma.masked_array([n, 5.0], [False, True])  # noqa: E731
    compose = lambda n: Compose([Normalize([0.0], [n])])  # noqa: E731
    yield "table", lambda n: scaled_by(lambda: table(n).factor[1])
    yield "spline", lambda n: scaled_by(lambda: CubicSpline(range(4), [1, 1, 1, n])(2.5))
    yield "compose", lambda n: scaled_by(lambda: compose(n)(torch.ones(1, 1, 1)).view(1))
    yield "namespace", lambda n: scaled_by(lambda: setattr(PLACE["scale"].deep[0], "factor", n) or n)
    yield "file", lambda n: scaled_by(lambda: float(written(folder / "scale.txt", str(n)).read_text()))
    yield (
        "environment",
        lambda n: scaled_by(lambda: (os.environ.update(MY_SCALE=str(n)), float(os.environ["MY_SCALE"]))[1]),
    )
    yield "masked", lambda n: scaled_by(lambda: masked(n).mean())
    yield "weight", lambda n: lambda model: nn.init.constant_(model.backbone.head.bias, n)
    yield "forward", patched
    yield "quantized", on_quantized


@pytest.mark.parametrize("number", range(10))
def test_answers_tell_what_a_network_holds(number: int, data: GivenData, tmp_path: Path) -> None:
    name, change = list(changes(tmp_path))[number]
    one, again, other = (answers(data, change(n)) for n in (1.5, 1.5, 2.5))
    assert one == again, name
    assert one.repeat
    assert other.digest != one.digest


def test_a_weight_of_a_class_that_comes_late_counts(data: GivenData) -> None:
    """An outcome is asked on all samples, not only on those of the probe."""
    images, _ = own_images(100)
    model = GivenNetwork(own_network())
    model.report = replace(model.report, rows=tuple(replace(row, macs=10**10) for row in model.report))  # two samples
    late = GivenData((images, (torch.arange(100) >= 90).long()))

    def of(weight: float) -> str:
        model.outcome = Outcome("weighted", lambda outputs, targets: torch.tensor([1.0, weight])[targets], "number")
        return answers_of(model, late).digest

    assert of(0.5) == of(0.5) != of(0.6)


class Drawing(nn.Module):
    """Answers that differ from call to call: random, or by a counter."""

    def __init__(self, counts: bool) -> None:
        super().__init__()
        self.counts, self.calls = counts, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + (self.calls if self.counts else torch.rand_like(x))


@pytest.mark.parametrize("counts", [False, True])
def test_a_forward_pass_that_draws_or_counts_does_not_repeat(counts: bool, data: GivenData) -> None:
    def change(model: GivenNetwork) -> None:
        model.backbone.head = nn.Sequential(model.backbone.head, Drawing(counts))

    assert not answers(data, change).repeat


def test_a_probe_leaves_everything_as_it_was(data: GivenData) -> None:
    model = GivenNetwork(own_network()).train()
    model.backbone.head.register_buffer("seen", torch.zeros(1))
    model.backbone.head.register_forward_hook(lambda module, inputs, output: module.seen.add_(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(module.training, getattr(module, "fidelity", None)) for module in model.modules()]
    torch.manual_seed(0)
    threads, expected = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(0)
    answers_of(model, data)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [(module.training, getattr(module, "fidelity", None)) for module in model.modules()] == modes


class Assigning(nn.Module):
    """Counts its calls in a buffer that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x


class Score(Assigning):
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward((outputs.argmax(1) == targets).float())


def test_buffers_that_a_forward_replaces_are_as_before_also_in_an_outcome(data: GivenData) -> None:
    model = GivenNetwork(own_network(), Outcome("score", Score()))
    model.backbone.head = nn.Sequential(model.backbone.head, counting := Assigning())
    before = counting.calls
    answers_of(model, data)
    assert counting.calls is before
    assert float(before) == float(model.outcome.number.calls) == 0  # type: ignore[attr-defined]


class Hooked(LightningDataModule):
    """Batches take their form in a hook, and the loader gives other batches than its data set."""

    class Loader(DataLoader[Any]):
        def __iter__(self) -> Any:
            return iter([{"images": images, "labels": labels} for images, labels in super().__iter__()])

    def test_dataloader(self) -> Any:
        return self.Loader(TensorDataset(*own_images(100)), 50)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        assert self.trainer is not None
        return batch["images"], batch["labels"], torch.arange(len(batch["labels"]))


def test_hooks_and_loaders_of_a_users_data_module_are_called() -> None:
    data = Hooked()
    assert answers_of(GivenNetwork(own_network()), data, quiet_trainer(accelerator="cpu")).repeat
    assert data.trainer is None


def test_answers_are_those_of_the_same_samples_whatever_is_evaluated(data: GivenData) -> None:
    fewer = GivenData(own_images(100), images=10)
    assert answers(fewer, lambda model: None) == answers(data, lambda model: None)


class WithTraining(GivenData):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*own_images(32)), 8)


def test_without_input_ranges_the_quantised_network_answers_with_new_ones() -> None:
    def of(amount: float) -> str:
        model = GivenNetwork(own_network(calibrated=False))
        on_quantized(amount)(model)
        digest = answers_of(model, WithTraining(own_images(100))).digest
        assert needs_calibration(model.backbone)
        return digest

    assert of(1.5) == of(1.5) != of(2.5)


def test_the_loss_of_an_outcome_is_told_apart_by_its_numbers(data: GivenData) -> None:
    def of(weight: float) -> str:
        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return weight * nn.functional.cross_entropy(outputs, targets)

        return loss_of(GivenNetwork(own_network(), Outcome(loss=loss)), data)

    assert of(1.0) == of(1.0) != of(2.0)


THREADS = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.data.given import GivenData
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.exploration.answers import answers_of
from tests.exploration.own_network import own_images, own_network
torch.set_num_threads(1); network = own_network(); torch.set_num_threads(int(sys.argv[1]))
print(answers_of(GivenNetwork(network), GivenData(own_images(100))).digest)
"""


def test_answers_are_equal_in_every_process_and_with_any_threads() -> None:
    said = [run([sys.executable, "-c", THREADS, n], capture_output=True, text=True, check=True) for n in "12"]
    assert said[0].stdout == said[1].stdout
