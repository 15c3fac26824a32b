"""A fit that is stopped at any step and resumed ends with the weights that it would have had, to the bit.

test_kills does the same with signals, which take longer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from asim_lightning import CimClassifier
from asim_lightning.callbacks import LastCheckpoint, NoiseRamp
from asim_lightning.classifier import OptimizerConfig
from asim_lightning.data import FashionMNIST
from tests.classifier.conftest import make_model

Whole = Callable[..., CimClassifier]
pytestmark = pytest.mark.filterwarnings("ignore")


class Killed(Exception):
    """What a step raises in place of a kill."""


class KillsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise Killed


class EndsAt(Callback):
    """Ends a fit behind a batch, as Lightning does where `max_time` is over."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.fit_loop.total_batch_idx + 1 == self.batch


LIMITS = (
    "limit_train_batches", "check_val_every_n_epoch", "accumulate_grad_batches", "max_steps",
)  # fmt: skip


def fit(images: Path, folder: Path, *callbacks: Callback, resume: bool = False, **options: Any) -> CimClassifier:
    """Two epochs of four steps, under a ramp of noise, mixup and augmentation; the trained classifier."""
    limits = {name: options.pop(name) for name in LIMITS if name in options}
    model = make_model(mixup=0.4, **options)
    data = FashionMNIST(str(images), batch_size=20, eval_batch_size=10)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=[NoiseRamp(20.0, length=2.0), *callbacks],
        **limits,
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(model, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
    return model


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A fit that nothing stops, trained once for the tests with the same options."""
    trained: dict[str, CimClassifier] = {}

    def trained_with(**options: Any) -> CimClassifier:
        key = repr(options)
        if key not in trained:
            trained[key] = fit(images, tmp_path_factory.mktemp("whole"), LastCheckpoint(), **options)
        return trained[key]

    return trained_with


def stopped(
    images: Path, folder: Path, every: int | None, *callbacks: Callable[[], Callback], at: int = 7, **options: Any
) -> CimClassifier:
    """A fit that an exception stops at a step and that goes on."""
    with pytest.raises(Killed):
        fit(images, folder, LastCheckpoint(every), *(make() for make in callbacks), KillsAt(at), **options)
    return fit(images, folder, LastCheckpoint(every), *(make() for make in callbacks), resume=True, **options)


def differences(one: CimClassifier, other: CimClassifier) -> list[str]:
    second = other.state_dict()
    return [name for name, value in one.state_dict().items() if not torch.equal(value, second[name])]


def schedule(name: str, **options: Any) -> dict[str, Any]:
    return {"optimizer": OptimizerConfig(lr=0.05, schedule=name, **options)}


SLOW = pytest.mark.slow


# stopped in step 7, unless said; the last save is of step 4, the end of the first epoch, or of a later step
@pytest.mark.parametrize(
    ("every", "options"),
    [
        (2, schedule("cosine", warmup=0.3)),
        pytest.param(2, {"optimizer": OptimizerConfig("adamw", lr=0.01, schedule="cosine")}, marks=SLOW),
        (2, {"train_noise_model": "macro", "train_noise_args": None}),
        (3, {"accumulate_grad_batches": 2, "at": 3}),  # two steps an epoch; step 3 is the middle of the second one
        (3, {"limit_train_batches": 3, "at": 5}),  # what comes after the third batch is no part of the next epoch
        (None, {"max_steps": 6, "at": 5}),
        pytest.param(None, {"max_steps": 6, "check_val_every_n_epoch": 2, "at": 5}, marks=SLOW),
    ],
    ids=str,
)
def test_a_stopped_training_goes_on_to_the_same_weights(
    every: int | None, options: dict[str, Any], images: Path, whole: Whole, tmp_path: Path
) -> None:
    resumed, options = stopped(images, tmp_path, every, **options), {**options}
    options.pop("at", None)
    unstopped = whole(**options)
    assert resumed.trainer.global_step == unstopped.trainer.global_step
    assert resumed.trainer.current_epoch == unstopped.trainer.current_epoch
    loops = [each.trainer.fit_loop.epoch_loop for each in (resumed, unstopped)]
    assert len({loop._batches_that_stepped for loop in loops}) == 1  # what is logged
    assert not differences(resumed, unstopped)


def test_with_averaged_weights_too(images: Path, whole: Whole, tmp_path: Path) -> None:
    resumed = stopped(images, tmp_path / "part", 2, lambda: EMAWeightAveraging(decay=0.8))
    averaged = fit(images, tmp_path / "averaged", LastCheckpoint(2), EMAWeightAveraging(decay=0.8))
    assert not differences(resumed, averaged)
    assert differences(averaged, whole())


@pytest.mark.parametrize(("callbacks", "every"), [([], None), ([EndsAt(6)], 2)], ids=["max_steps", "max_time"])
def test_an_epoch_that_was_cut_short_goes_on(
    callbacks: list[Callback], every: int | None, images: Path, whole: Whole, tmp_path: Path
) -> None:
    """The second epoch's last two batches are trained on where steps or time are raised."""
    part = fit(images, tmp_path, *callbacks, LastCheckpoint(every), max_steps=-1 if callbacks else 6)
    assert part.trainer.global_step == 6
    resumed = fit(images, tmp_path, LastCheckpoint(every), resume=True)
    assert resumed.trainer.fit_loop.epoch_loop._batches_that_stepped == resumed.trainer.global_step == 8
    assert not differences(resumed, whole())


def test_an_epoch_that_was_cut_between_two_batches_of_a_step(images: Path, whole: Whole, tmp_path: Path) -> None:
    """A part of a gradient is kept nowhere: the run goes on from the end of the first epoch."""
    fit(images, tmp_path, EndsAt(7), LastCheckpoint(), accumulate_grad_batches=2)
    resumed = fit(images, tmp_path, LastCheckpoint(), resume=True, accumulate_grad_batches=2)
    assert resumed.trainer.global_step == 4
    assert not differences(resumed, whole(accumulate_grad_batches=2))
