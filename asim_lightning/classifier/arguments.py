"""A classifier's arguments: configurations from mappings of their fields, and checks."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from asim_lightning.checks import check_choice, check_flag, check_number, check_whole
from asim_lightning.engine import SavedChip
from asim_lightning.nn.inputs import TokenWindows
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
    check_flag("`model.train_adc`", settings["train_adc"])
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


_PADDED = 1023
"""Most tokens of a network that its tokenizer lacks, because tables are rounded up; a tenth in small networks."""


def check_tokens(network: nn.Module, settings: Mapping[str, Any]) -> None:
    """Refuse longer windows, or more tokens, than a language model of transformers takes.

    Args:
        network: The network; a model of transformers has its sizes in `config`.
        settings: Settings of the backbone, which a command takes from the data.
    """
    shape, values, config = settings["input_shape"], settings["input_values"], getattr(network, "config", None)
    if not isinstance(shape, list) or len(shape) != 1 or not isinstance(values, int):
        return
    most, known = (getattr(config, each, None) for each in ("max_position_embeddings", "vocab_size"))
    name = type(network).__name__
    if most is not None and shape[0] > most:
        raise ValueError(
            f"the window of the data, or `model.backbone.input_shape`, must be at most {most:,} tokens for {name}, got "
            f"{shape[0]:,}"
        )
    if known is not None and values > known:
        raise ValueError(
            f"the data, or `model.backbone.input_values`, must have at most the {known:,} tokens of {name}, got "
            f"{values:,}"
        )


def check_text(network: nn.Module, settings: Mapping[str, Any], data: Any) -> None:
    """Refuse a text with other windows or tokens than the network or its settings have; other data passes."""
    if not isinstance(data, TokenWindows):
        return
    for name, own, stated in (
        ("input_shape", "window", settings["input_shape"]),
        ("input_values", "vocabulary", settings["input_values"]),
    ):
        given = getattr(data, own)
        if stated is None or stated in (given, [given]):
            continue
        wanted = stated[0] if isinstance(stated, list) and len(stated) == 1 else stated
        raise ValueError(f"the {own} of the data must be {wanted}, as in `model.backbone.{name}`, got {given}")
    known = getattr(getattr(network, "config", None), "vocab_size", None)
    if known is not None and data.vocabulary < known - min(_PADDED, known // 10):
        raise ValueError(
            f"the tokenizer of the data must have the {known:,} tokens of {type(network).__name__}, got "
            f"{data.vocabulary:,}, so it is another network's"
        )
