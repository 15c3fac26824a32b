"""Layers that get one macro at every point of a grid, so that a point is worked out once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from asim_lightning.nn import Assignment, OnMacro, QuantConv2d
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.quantized import QuantizedLayer


@dataclass(frozen=True, eq=False)
class Family:
    """Quantised layers of one class that come to their macro, or to their bits, in the same way."""

    layers: Mapping[str, QuantizedLayer]
    """The layers, by full name."""
    assignment: Assignment | None
    """How they come to their macro; None where they follow none."""

    @property
    def is_on_macro(self) -> bool:
        """Whether a macro computes the layers' products."""
        return isinstance(self._first, OnMacro)

    @property
    def signed_input(self) -> bool:
        """Whether the layers' inputs are signed."""
        return self._first.signed_input

    def check(self, assignment: Assignment) -> None:
        """Refuse an assignment that the layers do not take.

        Raises:
            ValueError: They do not.
        """
        if isinstance(self._first, (OnMacro, QuantConv2d)):
            self._first.check_assignment(assignment)

    def bits(self, assignment: Assignment | None) -> tuple[int, int]:
        """Bits of the layers' weights and inputs with an assignment of `assignments_at`."""
        if assignment is None:
            return self._first.weight_bits, self._first.input_bits
        macro = assignment.macro
        return (macro.weight_bits, macro.input_bits) if self.is_on_macro else assignment.digital_bits

    @property
    def _first(self) -> QuantizedLayer:
        return next(iter(self.layers.values()))


def families_of(model: nn.Module) -> tuple[Family, ...]:
    """All quantised layers of a network, family by family, as their assignments are."""
    found: dict[Any, dict[str, QuantizedLayer]] = {}
    for name, layer in quantized_layers(model).items():
        assignment = layer.assignment if isinstance(layer, (OnMacro, QuantConv2d)) else None
        bits = (layer.weight_bits, layer.input_bits) if assignment is None else None
        found.setdefault((type(layer), layer.signed_input, assignment, bits), {})[name] = layer
    return tuple(Family(layers, assignment) for (_, _, assignment, _), layers in found.items())


def assignments_at(families: Sequence[Family], point: Mapping[str, Any]) -> tuple[Assignment | None, ...]:
    """How each family comes to its macro at a point; no layer is changed.

    Raises:
        ValueError: A name is no field, a layer does not take a value, or rules decide a field for every layer.
    """
    before = [family.assignment for family in families if family.assignment is not None]
    bases = {base: base.with_fields(**point) for base in {each.base for each in before}}  # its refusals name no layer
    after: dict[Assignment, Assignment] = {}
    for family in families:
        if family.assignment is not None:
            try:
                if family.assignment not in after:
                    after[family.assignment] = replace(family.assignment, base=bases[family.assignment.base])
                family.check(after[family.assignment])
            except ValueError as error:
                raise ValueError(f"Layer `{next(iter(family.layers))}`: {error}") from None
    on_macro = [each.assignment for each in families if each.is_on_macro and each.assignment is not None]
    for field in point:
        if on_macro and all(field in assignment.ruled for assignment in on_macro):
            raise ValueError(
                f"`{field}` changes nothing, as `plan.rules` decide it for every layer on a macro; change the rules or "
                "leave it out"
            )
    return tuple(None if family.assignment is None else after[family.assignment] for family in families)
