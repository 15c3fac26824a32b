"""A classifier's arguments: configurations from mappings of their fields, and checks."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from asim_lightning.checks import check_choice, check_number, check_whole
from asim_lightning.engine import SavedChip
from asim_lightning.nn.quantized import FIDELITIES
from asim_lightning.nn.training_noise import ChipNoise, TrainingNoise
from asim_lightning.quant import METHODS
from asim_lightning.surgery import check_chip


def chip_of(network: nn.Module, number: int, file: str | None, noise: TrainingNoise) -> int | SavedChip:
    """The chip of a converted network: its number, or a chip from a .safetensors file, which the noise must share."""
    if file is None:
        return number
    if isinstance(noise, ChipNoise):
        noise.check_file(file)
    chip = SavedChip.read(file)
    check_chip(network, chip)
    return chip


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse arguments of a classifier, by name, that are not allowed."""
    for name, low, high in (
        ("num_classes", 2, None),
        ("noise_seed", 0, 2**32 - 1),
        ("trial", 0, 2**16 - 1),
        ("chip", 0, 2**32 - 1),
        ("calibration_images", 1, None),
    ):
        check_whole(f"`model.{name}`", settings[name], low, high)
    if settings["chip_file"] is not None and settings["chip"] != 0:
        raise ValueError(
            "`model.chip` must be left out, or 0, with `model.chip_file`, because a file is one chip, got "
            f"{settings['chip']}"
        )
    for name, allowed in (("fidelity", FIDELITIES), ("calibration_method", METHODS)):
        check_choice(f"`model.{name}`", settings[name], allowed)
    for name, most in (("label_smoothing", 1.0), ("mixup", None), ("train_noise", None)):
        check_number(f"`model.{name}`", settings[name], most)


def image_size_of(data: Any) -> int | None:
    """Height and width of images: of a batch, or of the `example` or `image_size` of data; None: they are not known."""
    images = data if isinstance(data, Tensor) else getattr(data, "example", None)
    if isinstance(images, Tensor) and images.dim() == 4 and images.shape[2] == images.shape[3]:
        return images.shape[3]
    return getattr(data, "image_size", None)
