"""ADC ranges that a fit learns: their start from training images, and the rules of a checkpoint that has them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities import rank_zero_info

from asim_lightning.classifier.network import CimModule
from asim_lightning.nn.calibration import kept_fidelities
from asim_lightning.nn.inputs import Inputs, moved
from asim_lightning.nn.learnt_range import LearntRange
from asim_lightning.surgery import set_fidelity_
from asim_lightning.surgery.families import layer_rules
from asim_lightning.surgery.settings import learnt_layers, store_adc_ranges_

if TYPE_CHECKING:
    from asim_lightning.nn.count_histograms import AdcRange


@torch.no_grad()
def fitted_starts(model: CimModule, images: Iterable[Inputs]) -> dict[str, "AdcRange"]:
    """The range of each layer that learns its ADC's range and has no start, fitted to images.

    `asim calibrate-adc` fits them alike. Layers that no image reaches are absent.
    """
    layers = {name: layer for name, layer in learnt_layers(model.backbone).items() if not _range(layer).is_started}
    if not layers:
        return {}
    from asim_lightning.nn.count_histograms import count_histograms, fitted_range  # most fits learn no range

    training = {module: module.training for module in model.modules()}
    with kept_fidelities(model.backbone):
        model.eval()
        set_fidelity_(model.backbone, "quantized")
        counts = count_histograms(model, layers, (moved(batch, model.device) for batch in images))
        for module, mode in training.items():
            module.training = mode
    return {name: fitted_range(name, layers[name], own) for name, own in counts.items()}


def begin_adc_ranges_(model: CimModule, starts: Mapping[str, "AdcRange"]) -> None:
    """Start the learnt ranges of layers, and give their macros the ranges, in place.

    A line names layers whose gradient does not follow the loss (`AdcRange.coarse`).

    Raises:
        ValueError: A layer that learns its range has no start.
    """
    for name, layer in learnt_layers(model.backbone).items():
        if name in starts:
            _range(layer).begin(starts[name].step, starts[name].low, layer.macro.adc_bits)
        elif not _range(layer).is_started:
            raise ValueError(f"no training input reaches the layer {name}, so the range of its ADC has no start")
    store_adc_ranges_(model.backbone)
    if coarse := [f"{name} ({each.step} counts)" for name, each in starts.items() if each.coarse > 0.5]:
        rank_zero_info(
            f"train_adc: the gradient of the step does not follow the loss in {', '.join(coarse)}, because an LSB is "
            "over 3 times the deviation of the counts; more `adc_bits` give a smaller step"
        )


def learnt_values(model: CimModule) -> dict[str, float]:
    """Counts an LSB and count of code 0 of each layer that learns its ADC's range, by the name in logs."""
    found: dict[str, float] = {}
    for name, layer in learnt_layers(model.backbone).items():
        found[f"adc_step/{name}"], found[f"adc_low/{name}"] = map(float, _range(layer).whole)
    return found


def store_rules_(model: CimModule, checkpoint: dict[str, Any]) -> None:
    """Put the ranges of the weights in a checkpoint into its plan, in place."""
    settings = checkpoint.get("hyper_parameters", {})
    if "plan" in settings:
        plan = settings["plan"]
        rules = rules_of_checkpoint(model, checkpoint["state_dict"], bool(plan["rules"]))
        checkpoint["hyper_parameters"] = {**settings, "plan": {**plan, "rules": rules}}


def rules_of_checkpoint(model: CimModule, state: dict[str, Any], has_rules: bool) -> list[dict[str, Any]]:
    """Rules of a plan with the ranges in a state dict of the classifier, which may hold averaged weights.

    A callback copies the network before ranges have a start, and may average only later; the state gets the start.
    """
    changes = {}
    for name, layer in learnt_layers(model.backbone).items():
        prefix = f"backbone.{name}.adc_range."
        state |= {f"{prefix}start": _range(layer).start, f"{prefix}bits": _range(layer).bits}
        held = LearntRange()
        held.load_state_dict({key: state[prefix + key].cpu() for key in held.state_dict()})
        changes[name] = {"adc_bits": layer.macro.adc_bits, **held.fields(layer.macro, layer.signed_input)}
    return layer_rules(model.backbone, changes, has_rules)


def _range(layer: Any) -> LearntRange:
    found: LearntRange = layer.adc_range
    return found
