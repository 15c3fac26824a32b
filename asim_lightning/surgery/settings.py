"""Settings of all converted layers of a network at once."""

from typing import Any

from torch import nn

from asim_lightning.nn import OnMacro, TrainingNoise
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.quantized import FIDELITIES, one_of


def macro_layers(model: nn.Module) -> dict[str, OnMacro]:
    """Layers of a network that are on a macro, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, OnMacro)}


def set_fidelity_(model: nn.Module, fidelity: str) -> None:
    """Set the fidelity of every quantised layer, in place.

    Raises:
        ValueError: The fidelity is unknown.
    """
    one_of("fidelity", fidelity, FIDELITIES)
    for layer in quantized_layers(model).values():
        layer.fidelity = fidelity


def change_macros_(model: nn.Module, **changes: Any) -> None:
    """Change fields of the macro of every layer that is on one, in place.

    Raises:
        ValueError: A name is no field, or a layer's macro does not take the value; no layer is changed then.
    """
    changed = {layer: layer.macro.with_fields(**changes) for layer in macro_layers(model).values()}
    for layer, macro in changed.items():
        layer.macro = macro


def set_max_elements_(model: nn.Module, count: int | None) -> None:
    """Set how many counts the reference engine holds at a time in every layer that is on a macro, in place.

    Raises:
        ValueError: The number is below 1.
    """
    for layer in macro_layers(model).values():
        layer.max_elements = count


def set_train_noise_(model: nn.Module, amount: float, noise: TrainingNoise | None = None) -> None:
    """Set the noise of training of every layer that is on a macro, in place.

    Args:
        model: Converted network.
        amount: Strength, 0 or more, in the unit of the noise model.
        noise: Noise model; None leaves it as it is.

    Raises:
        ValueError: The amount is negative or not finite.
    """
    for layer in macro_layers(model).values():
        layer.train_noise = amount
        if noise is not None:
            layer.train_noise_model = noise
