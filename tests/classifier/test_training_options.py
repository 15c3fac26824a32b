"""Options of training do what they say: mixup, smoothing, precision, clipping, compilation, averaging, noise."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor
from torchvision.transforms.v2 import MixUp

from asim_lightning import CimClassifier
from asim_lightning.classifier.batches import finite, step_seed
from asim_lightning.nn import TrainingNoise
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import MakeTrainer, make_data, make_model, ranges

pytestmark = pytest.mark.filterwarnings("ignore:.*tensorboard.*", "ignore:.*isinstance.treespec.*")


class Records(Callback):
    """The losses of a fit."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


def trained(make_trainer: MakeTrainer, *callbacks: Callback, trainer: Any = None, **options: Any) -> Any:
    """The losses of two steps, the classifier, and its trainer."""
    records, model = Records(), make_model(**options)
    runner = make_trainer(callbacks=[records, *callbacks], limit_val_batches=1, **(trainer or {}))
    runner.fit(model, datamodule=make_data())
    return records, model, runner


# mixup and label smoothing


def batch_of(count: int = 4, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 28, 28, generator=generator)
    return images, torch.arange(count) % classes, torch.arange(count)


class Linear(CimClassifier):
    """Its logits are a linear map of the images, so that a loss can be computed by hand; remembers the images."""

    seen: Tensor

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images.flatten(1)[:, :10]


def loss_of_a_step(batch: tuple[Tensor, Tensor, Tensor], **options: Any) -> tuple[float, Tensor]:
    model = Linear(**make_model().hparams | options)
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    return float(model.training_step(batch, 0)), model.seen


@pytest.mark.parametrize(("mixup", "smoothing"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.1), (0.4, 0.1)])
def test_mixup_mixes_images_and_labels_alike_and_smoothing_comes_after_it(
    mixup: float, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a permutation by one place, as torchvision's, and a known share of the batch itself
    share, images, labels = 0.3, *batch_of()[:2]
    monkeypatch.setattr(MixUp, "make_params", lambda self, inputs: {"lam": share})
    loss, seen = loss_of_a_step(batch_of(), mixup=mixup, label_smoothing=smoothing)
    share, one_hot = share if mixup else 1.0, torch.eye(10)[labels]
    torch.testing.assert_close(seen, share * images + (1 - share) * images.roll(1, 0))
    soft = share * one_hot + (1 - share) * one_hot.roll(1, 0)
    soft = (1 - smoothing) * soft + smoothing / 10
    log_p = seen.flatten(1)[:, :10].log_softmax(dim=1)
    assert loss == pytest.approx(float(-(soft * log_p).sum(dim=1).mean()), rel=1e-5)


def test_evaluation_neither_mixes_nor_smooths(make_trainer: MakeTrainer) -> None:
    losses = []
    for options in ({}, {"mixup": 0.4, "label_smoothing": 0.5}):
        model, trainer = make_model(**options), make_trainer()
        losses.append(trainer.validate(model, datamodule=make_data(), verbose=False)[0]["val/loss"])
    assert losses[0] == losses[1]


# the trainer's own options


def test_mixed_precision(make_trainer: MakeTrainer) -> None:
    """On CPU that is bfloat16: Lightning takes it there in place of float16."""
    options = {"train_noise": 1.0, "train_noise_model": "macro"}
    plain, _, _ = trained(make_trainer, **options)
    mixed, model, trainer = trained(make_trainer, trainer={"precision": "bf16-mixed"}, **options)
    assert mixed.losses != plain.losses
    assert mixed.losses[0] == pytest.approx(plain.losses[0], rel=0.05)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    assert 0 <= float(trainer.callback_metrics["val/acc"]) <= 1


def test_compilation_adds_no_keys_and_no_modules() -> None:
    plain, compiled = make_model(), make_model(compile=True)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in compiled.named_modules()] == [name for name, _ in plain.named_modules()]


@pytest.mark.slow  # the compiler takes one or two minutes
def test_a_compiled_network_has_the_same_loss(make_trainer: MakeTrainer) -> None:
    options = {"train_noise": 5.0, "mixup": 0.2}
    plain, compiled = (trained(make_trainer, compile=each, **options)[0] for each in (False, True))
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)


# averaged weights


class Looks(Callback):
    """Ranges and what they should be, while a fit validates."""

    def __init__(self) -> None:
        self.ranges: list[dict[str, float]] = []
        self.expected: list[dict[str, float]] = []

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.ranges.append(ranges(pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        loader = make_data().calibration_dataloader(20)
        pl_module.calibrate([batch[0] for batch in loader])
        self.expected.append(ranges(pl_module))


def test_ranges_are_those_of_averaged_weights(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    looks, average = Looks(), EMAWeightAveraging(decay=0.5)
    # before the averaging in the list, so that it looks while the averages are in place
    _, _, trainer = trained(make_trainer, looks, average, trainer={"max_epochs": 2})
    assert looks.ranges[0] == looks.expected[0] != looks.ranges[-1] == looks.expected[-1]
    trainer.save_checkpoint(tmp_path / "averaged.ckpt")
    stored = torch.load(tmp_path / "averaged.ckpt", weights_only=True)["state_dict"]
    assert stored["backbone.fc.input_max"] == looks.expected[-1]["fc"]


# noise of training


class Shift(TrainingNoise):
    def __init__(self, by: float) -> None:
        self.by = by

    def apply(self, y: Tensor, amount: float, normal: Callable[[], Tensor], operands: Any) -> Tensor:
        return y + self.by * amount * normal()


def test_a_noise_model_of_ones_own(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    own = f"{__name__}.Shift"
    options = {"train_noise_model": own, "train_noise_args": {"by": 0.5}}
    plain, _, _ = trained(make_trainer)
    shifted, model, trainer = trained(make_trainer, train_noise=2.0, **options)
    assert shifted.losses[0] != plain.losses[0]
    layers = macro_layers(model.backbone)
    assert {layer.train_noise_model.by for layer in layers.values()} == {0.5}  # type: ignore[attr-defined]
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    # a checkpoint may not name code alone
    loaded = CimClassifier.load_from_checkpoint(tmp_path / "own.ckpt", train_noise_model=own)
    assert {layer.train_noise_model.by for layer in macro_layers(loaded.backbone).values()} == {0.5}  # type: ignore[attr-defined]
    assert loaded.train_noise == 2.0
    for name in (own, f"{own}ed", "collections.OrderedDict"):  # needs by, is not there, is none
        with pytest.raises(ValueError, match="train_noise"):
            make_model(train_noise_model=name)


# seeds


def test_neighbouring_batches_and_processes_draw_nothing_alike() -> None:
    places = list(itertools.product(range(3), range(100), range(5), range(4)))
    seeds = {step_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(0, 0, 0, 0) == 3977399043156117121  # a run that was stopped may go on with a later version


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_rate_and_clipping(loss: float) -> None:
    with pytest.raises(ValueError, match=rf"got {loss} at step 3; lower .*\(now 0.1\).*gradient_clip"):
        finite(torch.tensor(loss), 3, 0.1)
    assert finite(torch.tensor(1e30), 3, 0.1) > 1e29
