"""Calls that give the tables of `asim chip` and `asim calibrate-adc` for a network that is in memory."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from asim_lightning.checks import check_whole
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.evaluation.chip_layers import chip_layers
from asim_lightning.evaluation.layer_inputs import layer_counts, needed_layers
from asim_lightning.nn.count_histograms import AdcRange, fitted_range
from asim_lightning.report.chip_report import chip_table
from asim_lightning.report.command_tables import range_table
from asim_lightning.surgery import apply_point, macro_layers
from asim_lightning.table import Table


def calibrate_adc_(network: nn.Module, batches: Iterable[Any], images: int = 64) -> Table[AdcRange]:
    """Fit the ADC range (adc_step, adc_low) of every layer to the counts of some inputs, in place.

    Args:
        network: A converted network, with its input ranges.
        batches: Training inputs, or lists and tuples that begin with them, as (images, labels) of a DataLoader.
        images: Inputs that are used, at most.

    Returns:
        The ranges, which print as `asim calibrate-adc` shows them.

    Raises:
        ValueError: No layer is on a macro, a macro can have no range, or no input reaches a layer.
    """
    check_whole("`images`", images, 1)
    model = _model(network)
    layers = needed_layers(model, "calibrate_adc_")
    for layer in layers.values():
        layer.macro.with_fields(adc_step=1, adc_low=0)  # refuses a macro that can have no range
    inputs = (batch[0] if isinstance(batch, (list, tuple)) else batch for batch in batches)
    counts, _ = layer_counts(model, layers, inputs, images, "training")
    if missing := [name for name in layers if name not in counts]:
        raise ValueError(f"`batches` must reach every layer, got none for {missing[0]}")
    ranges = [fitted_range(name, layer, counts[name]) for name, layer in layers.items()]
    fields = {each.name: each.fields for each in ranges}
    apply_point(network, {}, fields, {name: {name} for name in fields})
    return range_table(ranges)


def describe_chip(network: nn.Module, inputs: Tensor, chip: int = 0) -> Table[ChipLayer]:
    """What a chip gives each layer: converters, stuck cells and cells.

    Args:
        network: A converted network whose macros have static effects.
        inputs: Inputs of the network, for the shapes that layers meet.
        chip: Number of the chip.

    Returns:
        The layers, which print as `asim chip` shows them.

    Raises:
        ValueError: No layer is on a macro, or all chips are equal.
    """
    check_whole("`chip`", chip, 0, 2**32 - 1)
    model = _model(network)
    needed_layers(model, "describe_chip")
    if not any(layer.transfer.differs_by_chip for layer in macro_layers(network).values()):
        raise ValueError("No chip differs from another: set `static` of the macro, such as {'offset': '0.3 lsb'}")
    found = chip_layers(model, inputs[:1], chip)
    return chip_table(found)


def _model(network: nn.Module) -> CimModule:
    return network if isinstance(network, CimModule) else GivenNetwork(network)
