"""A tiny classifier, its data, and a quiet trainer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer, seed_everything

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule
from asim_lightning.classifier import BackboneConfig, OptimizerConfig
from asim_lightning.data import FashionMNIST
from asim_lightning.nn.calibration import quantized_layers

KWARGS = {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64]}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
    "num_sanity_val_steps": 0,
}
"""Options of a trainer that prints nothing."""
MakeTrainer = Callable[..., Trainer]


def make_model(**options: Any) -> CimClassifier:
    """The classifier, from dataclasses, as one writes it in Python."""
    seed_everything(0, verbose=False)
    rules = [Rule("layer4.*", {"adc_bits": 9}), Rule("head", MacroConfig(rows=64))]
    defaults: dict[str, Any] = {
        "backbone": BackboneConfig("resnet10t", KWARGS, small=True, image_size=28),
        "plan": Plan(MacroConfig(weight_bits=4, input_bits=4, random_noise="0.5 lsb"), rules, keep=["layer2.0.conv1"]),
        "optimizer": OptimizerConfig(lr=0.05, schedule="constant"),
        "fidelity": "quantized",
        "calibration_images": 20,
    }
    return CimClassifier(**{**defaults, **options})


def save(model: CimClassifier, path: Path) -> Path:
    """A checkpoint of a classifier that is not trained; returns its path."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def ranges(model: CimClassifier) -> dict[str, float]:
    """The input range of each layer, -1 where it has none."""
    return {name: float(layer.input_max) for name, layer in quantized_layers(model.backbone).items()}


def make_data(**options: Any) -> FashionMNIST:
    return FashionMNIST(**{"test_images": 25, "batch_size": 20, "eval_batch_size": 10, **options})


@pytest.fixture
def make_trainer(tmp_path: Path) -> MakeTrainer:
    def trainer(**options: Any) -> Trainer:
        few = {"max_epochs": 1, "limit_train_batches": 2, "logger": False, "enable_checkpointing": False}
        return Trainer(**{**QUIET, **few, "default_root_dir": tmp_path, **options})

    return trainer
