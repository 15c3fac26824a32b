"""A fit of a user's module stores the ranges of the inputs that its layers see, whatever its batches and steps are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.callbacks import LastCheckpoint
from asim_lightning.callbacks.own_module import OwnBatches, OwnRanges
from asim_lightning.nn.calibration import calibrate_, quantized_layers
from tests.callbacks.conftest import quiet_trainer

torch.manual_seed(0)
PIXELS = torch.randint(0, 256, (128, 16)).float()
PIXELS[0] = 255.0
LABELS = (PIXELS[:, 0] > PIXELS[:, 1]).long()


class Normalises(LightningModule):
    """Its step takes (pixels, labels), and changes pixels before its forward gets them."""

    tensors: tuple[Tensor, ...] = (PIXELS, LABELS)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))
        convert_(self.net, Plan(MacroConfig(6, 6, adc_bits=8)), torch.randn(2, 16))
        self.net.train()

    def forward(self, x: Any) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]

    def answers(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self(batch[0] / 127.5 - 1), batch[1]

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(*self.answers(batch))

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        y, labels = self.answers(batch)
        self.log("val/acc", (y.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


class Unpacks(Normalises):
    """Its forward takes the whole batch."""

    def forward(self, batch: list[Tensor]) -> Tensor:
        return self.net(batch[0] / 127.5 - 1)  # type: ignore[no-any-return]

    def answers(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self(batch), batch[1]


class Numbers(Normalises):
    """Its batches begin with numbers of samples."""

    tensors = (torch.arange(128), PIXELS, LABELS)

    def answers(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        return super().answers(batch[1:])


def fitted(
    folder: Path, kind: Callable[[], Normalises], *callbacks: Any, **options: Any
) -> tuple[Normalises, dict[str, float]]:
    module = kind()
    loader = DataLoader(TensorDataset(*module.tensors), 32, shuffle=True)
    trainer = quiet_trainer(folder, *callbacks, logger=False, max_epochs=3, limit_train_batches=None, **options)
    trainer.fit(module, loader, DataLoader(TensorDataset(*module.tensors), 64))
    return module, {name: float(layer.input_max) for name, layer in quantized_layers(module).items()}


@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}, {"val_check_interval": 0.5}], ids=str)
@pytest.mark.parametrize("kind", [Normalises, Unpacks, Numbers])
def test_ranges_are_those_of_the_trained_layers_in_evaluation(
    kind: Callable[[], Normalises], options: dict[str, Any], tmp_path: Path
) -> None:
    module, found = fitted(tmp_path, kind, OwnRanges(), **options)
    calibrate_(module.net, [PIXELS / 127.5 - 1])
    right = {name: float(layer.input_max) for name, layer in quantized_layers(module).items()}
    if "val_check_interval" in options:  # the last validation follows half of the pixels
        assert all(0.5 * most < found[name] <= 1.00001 * most for name, most in right.items())
    else:
        assert found == pytest.approx(right, rel=1e-5)


@pytest.mark.filterwarnings("error:Layers without")
def test_a_fit_draws_the_same_random_numbers_and_ends_with_no_hooks(tmp_path: Path) -> None:
    module, _ = fitted(tmp_path, Normalises, OwnRanges(), num_sanity_val_steps=2)
    assert not [each for each in module.modules() if each._forward_pre_hooks or each._forward_hooks]
    assert all(each.training for each in module.modules())
    with pytest.warns(UserWarning, match="Layers without a calibrated input range"):
        without, ranges = fitted(tmp_path, Normalises)
    assert set(ranges.values()) == {-1.0}
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), without.parameters(), strict=True))


def test_ranges_of_each_batch_stay(tmp_path: Path) -> None:
    def of_batches() -> Normalises:
        module = Normalises()
        for layer in quantized_layers(module).values():
            layer.input_range = "batch"
        return module

    _, ranges = fitted(tmp_path, of_batches, OwnRanges())
    assert set(ranges.values()) == {-1.0}


class Killed(Exception):
    """Raised instead of a kill."""


class KillsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise Killed


class Augmented(TensorDataset):
    """Adds noise that torch draws when a sample is read."""

    def __getitem__(self, place: int) -> Any:
        pixels, label = super().__getitem__(place)
        return pixels + 8 * torch.randn(16), label


class OwnData(LightningDataModule):
    """Shuffled, augmented samples; `kind` says how they are drawn."""

    def __init__(self, kind: str, workers: int) -> None:
        super().__init__()
        self.kind, self.workers, self.draws = kind, workers, torch.Generator().manual_seed(1)

    def train_dataloader(self) -> Any:
        samples = Augmented(PIXELS, LABELS)
        options: dict[str, Any] = {"shuffle": True}
        if self.kind == "weighted":
            options = {"sampler": WeightedRandomSampler(PIXELS[:, 2] + 1, 128, generator=self.draws)}
        loader = DataLoader(samples, 32, num_workers=self.workers, **options)
        return {"a": loader, "b": DataLoader(samples, 64, shuffle=True)} if self.kind == "two" else loader

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(PIXELS, LABELS), 64)


class OneRate(Normalises):
    """Its schedule counts the steps of the fit, for which Lightning asks for loaders before it reads a checkpoint."""

    def training_step(self, batch: Any, number: int) -> Tensor:
        batches = batch.values() if isinstance(batch, dict) else [batch]
        losses = [nn.functional.cross_entropy(*self.answers(each)) for each in batches]
        return torch.stack(losses).sum()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def trained(folder: Path, data: OwnData, *callbacks: Callback, resume: bool = False, **options: Any) -> Normalises:
    """Three epochs of four steps."""
    torch.manual_seed(3)
    module = OneRate()
    callbacks = (OwnRanges(), OwnBatches(indexed=False), *callbacks)
    options = {"logger": False, "max_epochs": 3, "limit_train_batches": None, "enable_checkpointing": True, **options}
    trainer = quiet_trainer(folder, *callbacks, **options)
    torch.manual_seed(3)
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(module, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "workers", "options"),
    [
        ("shuffled", 0, {}),
        pytest.param("shuffled", 2, {}, marks=pytest.mark.process),
        ("weighted", 0, {}),
        ("weighted", 0, {"reload_dataloaders_every_n_epochs": 1}),
        ("two", 0, {}),
        ("shuffled", 0, {"limit_train_batches": 3}),
    ],
)
@pytest.mark.parametrize(("every", "step"), [(1, 6), (None, 5)], ids=["inside", "between"])
def test_a_stopped_fit_of_a_module_goes_on_to_the_same_weights(
    every: int | None, step: int, kind: str, workers: int, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", OwnData(kind, workers), LastCheckpoint(), **options).state_dict()
    folder = tmp_path / "part"
    with pytest.raises(Killed):
        trained(folder, OwnData(kind, workers), LastCheckpoint(every), KillsAt(step), **options)
    torch.rand(7)
    found = trained(folder, OwnData(kind, workers), LastCheckpoint(every), resume=True, **options).state_dict()
    assert [name for name, value in whole.items() if not torch.equal(value, found[name])] == []
