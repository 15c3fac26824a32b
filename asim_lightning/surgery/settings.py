"""Settings of all converted layers of a network together."""

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from asim_lightning.checks import check_choice
from asim_lightning.circuit import MacroConfig
from asim_lightning.engine import SavedChip
from asim_lightning.nn import OnMacro, TrainingNoise
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.learnt_range import LearntRange
from asim_lightning.nn.quantized import FIDELITIES
from asim_lightning.surgery.families import assignments_at, families_of


def macro_layers(model: nn.Module) -> dict[str, OnMacro]:
    """Layers of a network that are on a macro, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, OnMacro)}


def place_tiles_(model: nn.Module) -> None:
    """Assign the tiles of all layers to the macros that they share, in place, if the placement is reuse.

    Layers with one macro configuration share macros 0, layers with another one (a rule's) macros 1, and so on, in the
    order of the network's modules. These macros get the tiles in turn: layer after layer, tile after tile, group after
    group. A product of two activations starts after the layers before it, but counts no tiles, because its size may
    change from call to call: the next layer starts at the same tile. Conversion and changes of macros by this package
    call this function; call it again after assigning a layer's `macro` by hand.
    """
    pools: dict[MacroConfig, int] = {}
    tiles: list[int] = []
    for layer in macro_layers(model).values():
        if not layer.macro.static.is_reused:
            continue
        # products of attention scores have other inputs, but use the same macros
        macro = replace(layer.assignment, is_scores=False).macro
        pool = pools.setdefault(macro, len(pools))
        tiles += [0] * (pool == len(tiles))
        layer.pool, layer.first_tile = pool, tiles[pool]
        tiles[pool] += layer.tiles


def set_fidelity_(model: nn.Module, fidelity: str) -> None:
    """Set the fidelity of every quantised layer, in place.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, convert_, set_fidelity_
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> report = convert_(network, Plan(), torch.rand(1, 4))
        >>> set_fidelity_(network, "quantized")
        >>> network[0].fidelity
        'quantized'
    """
    check_choice("`fidelity`", fidelity, FIDELITIES)
    for layer in quantized_layers(model).values():
        layer.fidelity = fidelity


def change_macros_(model: nn.Module, **changes: Any) -> None:
    """Change fields of the plan's macro, in place; `apply_point` with the changes as arguments.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, change_macros_, convert_
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> report = convert_(network, Plan(), torch.rand(1, 4))
        >>> change_macros_(network, adc_bits=6, static={"offset": "0.3 lsb"})
        >>> network[0].macro.adc_bits
        6
    """
    apply_point(model, changes)


def apply_point(
    model: nn.Module,
    point: Mapping[str, Any],
    rules: Mapping[str, Mapping[str, Any]] = {},
    patterns: Mapping[str, Collection[str]] = {},
    noise_in: str = "written",
) -> None:
    """Change fields of the plan's macro, in place: the network is then as if converted with that plan.

    Fields that a layer's rule sets do not change, attention scores keep their bits, and a digital stem changes as in a
    conversion. A macro that was assigned to a layer by hand changes like the plan's macro.

    Args:
        model: Converted network.
        point: Values of macro fields.
        rules: Values of macro fields for the layers of a pattern; they override the plan's rules.
        patterns: Full names of the layers that each pattern matches.
        noise_in: See `assignments_at`.

    Raises:
        ValueError: A name is no field, a layer does not take a value, rules decide a field for every layer, or a rule
            decides nothing; no layer is changed then.
    """
    families = families_of(model, patterns)
    for family, assignment in zip(families, assignments_at(families, point, rules, noise_in), strict=True):
        for layer in family.layers.values():
            if assignment is not None:
                layer.assignment = assignment
    place_tiles_(model)


@contextmanager
def kept_assignments(model: nn.Module) -> Iterator[None]:
    """Restores the assignment of every layer at the end."""
    before = {layer: layer.assignment for layer in quantized_layers(model).values()}
    try:
        yield
    finally:
        for layer, assignment in before.items():
            if assignment is not None:
                layer.assignment = assignment
        place_tiles_(model)


def check_chip(model: nn.Module, chip: int | SavedChip) -> None:
    """Refuse a chip file that does not fit a network's macros, or changes nothing; any chip number passes."""
    if not isinstance(chip, SavedChip):
        return
    layers = macro_layers(model)
    chip.check_layers([layer.chip_part for layer in layers.values()])
    if not any(layer.transfer.differs_by_chip for layer in layers.values()):
        raise ValueError(f"{chip.path} changes nothing, because chips with this `macro.static` do not differ")
    for layer in layers.values():
        layer.chip_of(chip)


def set_max_elements_(model: nn.Module, count: int | None) -> None:
    """Set how many counts the reference engine holds at a time in every layer that is on a macro, in place."""
    for layer in macro_layers(model).values():
        layer.max_elements = count


def set_train_noise_(model: nn.Module, amount: float, noise: str | TrainingNoise | None = None) -> None:
    """Set the noise of training of every layer that is on a macro, in place.

    Args:
        model: Converted network.
        amount: Strength, 0 or more, in the unit of the noise model.
        noise: Noise model: proportional, macro, an import path or an instance; None does not change it.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, convert_, set_train_noise_
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> report = convert_(network, Plan(), torch.rand(1, 4))
        >>> set_train_noise_(network, 1.0, "macro")
        >>> network[0].train_noise
        1.0
    """
    for layer in macro_layers(model).values():
        layer.train_noise = amount
        if noise is not None:
            layer.train_noise_model = noise


def train_adc_(model: nn.Module, train: bool = True) -> None:
    """Give every layer whose macro has an ADC a range that is trained (`nn.learnt_range`), or none, in place.

    A state dict with ranges gives them to the macros, too.

    Call it before an optimizer is made. Training then needs the chip in the loop, so the noise of training must be
    "chip", of any strength.

    Raises:
        ValueError: A layer's macro can have no range of its ADC, or no layer has an ADC.
    """
    layers = macro_layers(model)
    if train and all(each.macro.adc_bits is None or not _converts(each) for each in layers.values()):
        raise ValueError(
            "`train_adc` must be false, because no layer is on a macro with an ADC: `macro.adc_bits` are null, or all "
            "cycles are digital"
        )
    for name, layer in layers.items():
        layer.adc_range = None
        if train and layer.macro.adc_bits is not None and _converts(layer):
            try:
                layer.macro.with_fields(adc_step=1, adc_low=0)
            except ValueError as error:
                raise ValueError(f"Layer `{name}`: {error}") from None
            weight = getattr(layer, "weight", None)
            device = weight.device if isinstance(weight, Tensor) else None
            layer.adc_range = LearntRange(not layer.macro.weight_parallel, device)
            layer.register_load_state_dict_post_hook(_store_loaded)


def _converts(layer: OnMacro) -> bool:
    return any(cycle.converted for cycle in layer.transfer.cycles)


def learnt_layers(model: nn.Module) -> dict[str, OnMacro]:
    """Layers whose range of the ADC is trained, by full name."""
    return {name: layer for name, layer in macro_layers(model).items() if layer.adc_range is not None}


def store_adc_ranges_(model: nn.Module) -> None:
    """Give each layer's macro the range that was learnt so far, in place."""
    for layer in learnt_layers(model).values():
        _store_loaded(layer)


def _store_loaded(layer: Any, _: Any = None) -> None:
    if layer.adc_range is None:
        return
    held, bits = int(layer.adc_range.bits), layer.macro.adc_bits
    if held and held != bits:
        warnings.warn(
            f"The weights have ADC ranges that were learnt with `macro.adc_bits` {held}, and the macro has {bits}: "
            f"these ranges are left out; write {held} to use them",
            stacklevel=2,
        )
        layer.adc_range.begin(0, 0)
    if layer.adc_range.is_started:
        layer.assignment = layer.assignment.ruled_by(layer.adc_range.fields(layer.macro, layer.signed_input))


@contextmanager
def kept_train_noise(model: nn.Module) -> Iterator[None]:
    """Restores the noise of training of every layer that is on a macro at the end."""
    before = {layer: (layer.train_noise, layer.train_noise_model) for layer in macro_layers(model).values()}
    try:
        yield
    finally:
        for layer, (amount, noise) in before.items():
            layer.train_noise, layer.train_noise_model = amount, noise
