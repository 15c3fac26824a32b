"""A fit of a user's module stores the ranges of the inputs that its layers see, whatever its batches and steps are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asim_lightning import MacroConfig, Plan, convert_
from asim_lightning.callbacks.own_module import OwnRanges
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
