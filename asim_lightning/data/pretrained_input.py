"""The images that a pretrained network of timm expects; no network is made and no weights are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainedInput:
    """Size, normalisation and resizing that a pretrained network was evaluated with."""

    size: int
    """Height and width in pixels."""
    mean: tuple[float, ...]
    """Mean of each channel, in 0..1."""
    deviation: tuple[float, ...]
    """Standard deviation of each channel, in 0..1."""
    interpolation: str
    """Interpolation of the resizing: bilinear, bicubic, ..."""
    crop_pct: float
    """Share of the resized image's shorter side that the middle crop keeps, 0..1."""
    squash: bool
    """Whether the image is made square first, whatever its shape."""


def pretrained_input(name: str) -> PretrainedInput:
    """The input of a pretrained network, by timm's records.

    Args:
        name: Name of the network in timm, with or without the tag of its weights.

    Raises:
        ValueError: timm knows no such network, or its images are cropped in a way that this package does not know.
    """
    from timm.data.config import resolve_data_config
    from timm.models import get_pretrained_cfg

    try:
        found = get_pretrained_cfg(name)
    except RuntimeError:  # the network is known, the tag is not
        found = None
    if found is None:
        raise ValueError(
            "pretrained_cfg must be the name of a network that timm knows, such as resnet18 or resnet18.a1_in1k, got "
            f"{name!r}."
        )
    config = resolve_data_config({}, pretrained_cfg=found.to_dict())
    if config["crop_mode"] not in ("center", "squash") or config["input_size"][0] != 3:
        raise ValueError(
            "pretrained_cfg must name a network of colour images cropped by center or squash, got "
            f"{name!r} of {config['input_size'][0]} channels cropped by {config['crop_mode']}."
        )
    return PretrainedInput(
        size=config["input_size"][-1],
        mean=tuple(config["mean"]),
        deviation=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
        squash=config["crop_mode"] == "squash",
    )
