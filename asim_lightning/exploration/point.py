"""A point of a sweep, described by what its layers compute: equal descriptions are computed once."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from asim_lightning.circuit import MacroConfig, StaticEffects, Transfer, transfer
from asim_lightning.circuit.column_models import COLUMNS, own_converters
from asim_lightning.circuit.columns import ColumnInRange, possible_counts
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, SavedChip, check_saved
from asim_lightning.engine.chips.places import Places
from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.condition import EQUAL_CHIPS, matched
from asim_lightning.evaluation.results import AxisValue, Kind, canonical_json, digest_of
from asim_lightning.exploration.axes import condition_at
from asim_lightning.exploration.described_values import Contents
from asim_lightning.nn import Assignment
from asim_lightning.surgery.families import Family, assignments_at, families_of

Layers: TypeAlias = tuple[Family, Assignment | None, Transfer | None]
"""A family at a point, its assignment, and the circuit of its macro; None if it is on no macro."""


class Points:
    """The points of one network, each worked out without a change to its layers.

    It uses the layers' assignments at its creation. `contents` describes users' columns, and `patterns` are the layer
    patterns in the names of axes. It refuses a point that a layer's macro does not take, and a point whose axis has no
    effect because rules decide it for every layer.
    """

    def __init__(self, model: CimModule, contents: Contents, patterns: Iterable[str] = ()) -> None:
        self._contents, self._chip = contents, model.chip
        self._families = families_of(model.backbone, {each: matched(model, each, "axes.rules") for each in patterns})
        self._digests: dict[str, str] = {}
        self._known: dict[str, list[Layers]] = {}

    def add(self, axes: Mapping[str, AxisValue], kind: Kind) -> bool:
        """Work a point out; return whether any of its conversions is noisy."""
        self.digest(axes, kind)
        return kind == "simulated" and any(any(circuit.noisy) for circuit in self._circuits(axes))

    def macros(self, axes: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on macros at a point, with rules applied."""
        return {circuit.macro for circuit in self._circuits(axes)}

    def chips_differ(self, axes: Mapping[str, AxisValue]) -> bool:
        """Whether chips differ at a point: a layer has cells or converters that do."""
        return any(circuit.differs_by_chip for circuit in self._circuits(axes))

    def digest(self, axes: Mapping[str, AxisValue], kind: Kind) -> str:
        """Digest of `content`, computed once."""
        name = f"{kind} {canonical_json(axes)}"
        if name not in self._digests:
            self._digests[name] = digest_of(self.content(axes, kind))
        return self._digests[name]

    def content(self, axes: Mapping[str, AxisValue], kind: Kind) -> dict[str, object]:
        """Everything in a point that decides the network's answers.

        A float network depends on no macro, a quantised one on bits, a simulated one on all of each macro.
        """
        layers, found = self._at(axes), dict[str, object]()
        if kind == "float":
            return {"kind": kind}
        if kind == "quantized":
            layers = [(family, assignment, None) for family, assignment, _ in layers]
        known = {each: digest_of(macro_content(each, self._contents)) for *_, each in layers if each is not None}
        for family, assignment, circuit in layers:
            own: list[object] = [family.bits(assignment), family.signed_input]
            if circuit is not None and assignment is not None:
                own.append(known[circuit])
                if circuit.macro.static.is_reused:
                    # layers share macros if they were given equal ones, with all fields compared
                    given = replace(assignment, is_scores=False).macro
                    own += [{**_values(given, True), "static": _values(given.static, True), "column_args": None}]
                elif isinstance(self._chip, SavedChip):  # shared macros are checked when placed
                    for name in family.layers:
                        check_saved(Chip.at(self._chip, name), circuit)
            found |= dict.fromkeys(family.layers, own)
            if circuit is not None and circuit.column.converters_differ:
                found |= {name: [*own, self._pattern(name, family, circuit)] for name in family.layers}
        chip, differs = axes.get(CHIP), any(circuit.differs_by_chip for circuit in known)
        content: dict[str, object] = {"kind": kind, "layers": found}
        if differs:
            content["chips"] = "by number, converters in place"  # chips drawn by other rules need other keys
        if kind == "quantized" or chip is None or chip == self._chip:
            return content
        if isinstance(self._chip, SavedChip):
            raise ValueError(
                f"`chip` and `chips` must be left out with `model.chip_file` {self._chip.path}, which is one chip, got "
                f"chip {chip}"
            )
        if not differs:
            raise ValueError(EQUAL_CHIPS)
        return {**content, "chip": chip}

    def _at(self, axes: Mapping[str, AxisValue]) -> list[Layers]:
        """Each family at a point."""
        condition = condition_at(axes, "simulated")
        asked = repr((condition.macro, condition.rules))
        if asked not in self._known:  # another chip of the same point needs no new work
            assignments = assignments_at(self._families, condition.macro, condition.rules)
            self._known[asked] = [
                (family, each, transfer(each.macro, family.signed_input) if family.is_on_macro and each else None)
                for family, each in zip(self._families, assignments, strict=True)
            ]
        return self._known[asked]

    def _circuits(self, axes: Mapping[str, AxisValue]) -> set[Transfer]:
        return {circuit for _, _, circuit in self._at(axes) if circuit is not None}

    def _pattern(self, name: str, family: Family, circuit: Transfer) -> str:
        """Digest of gain and offset that a user's column gives a layer's converters. For a product of two activations,
        whose size depends on a call, it has the content of the column."""
        layer, digest = family.layers[name], hashlib.sha256()
        weight: Tensor | None = getattr(layer, "weight", None)
        if weight is None:
            return self._contents.of({**vars(circuit.column), "macro": None}, f"macro.column {circuit.macro.column}")
        groups = int(getattr(layer, "groups", 1))
        product = MatmulProduct() if weight.dim() == 2 else Conv2dProduct((1, 1), (0, 0), (1, 1), groups)
        shared = [f"macros {number}" for number in range(len(self._families))]  # its own macros are among them
        for each in shared if circuit.macro.static.is_reused else [name]:
            places = Places(Chip(layer=each), product, circuit, weight.shape).of_converters()
            for values in own_converters(circuit.column, places):
                digest.update(f"{len(values)}".encode() + values.numpy().tobytes())
        return digest.hexdigest()


def macro_content(circuit: Transfer, contents: Contents) -> dict[str, object]:
    """What a macro computes: equal for macros that differ only in fields without effect, such as votes of no cycle."""
    macro, cycles, column = circuit.macro, circuit.cycles, circuit.column
    is_users = macro.column not in COLUMNS  # a user's column may use the value of any field
    offset, trim_step = macro.converter_spreads
    content: dict[str, object] = {
        **_values(macro, is_users),
        "column_args": contents.of(macro.column_args, f"macro.column {macro.column}"),
        # as engines use them: offset and trim step in LSB, other spreads in percent
        "static": {**_values(macro.static, False), "offset": offset, "trim_step": trim_step},
        "cycles": hashlib.sha256(repr(cycles).encode()).hexdigest(),
        # with `adc_step`, noise in LSB is a different share of each full scale
        "noise": [macro.noise_percents(full_scale) for full_scale in sorted({cycle.full_scale for cycle in cycles})],
        "code_of_votes": macro.vote if any(cycle.votes > 1 for cycle in cycles) else None,
    }
    if is_users:
        # the cached column, as engines use it, not one from newer files; a class without a file is noted
        contents.of(
            type(column.column if isinstance(column, ColumnInRange) else column), f"macro.column {macro.column}"
        )
        content["tables"] = _tables(circuit)
    return content


def _values(config: MacroConfig | StaticEffects, with_all: bool) -> dict[str, object]:
    """Values of the settings that decide outcomes, equal quantities written alike; without `with_all`, some are
    left out because their effect is known."""
    return {
        name: canonical_quantity(getattr(config, name))
        for name, each in settings_of(type(config)).items()
        if each.decides_outcomes and (with_all or not each.by_effect)
    }


@lru_cache(maxsize=1024)  # like the tables of engines: neither sees a file that changes later
def _tables(found: Transfer) -> str:
    """Digest of level and sigma by count, cycle by cycle: all that engines know of a column, whatever file or table
    it comes from."""
    digest = hashlib.sha256(f"{found.column.cell_sigma} {found.cycles}".encode())
    for cycle in {each.kind: each for each in found.cycles}.values():
        counts = possible_counts(cycle).float()
        curves = torch.arange(found.column.curves)[:, None]
        own = found.column.of_curves(curves, counts, cycle) if len(curves) > 1 else ()
        for codes in (found.column.level(counts, cycle), found.column.sigma(counts, cycle), *own):
            every, _ = torch.broadcast_tensors(codes.detach().double().cpu(), counts)
            digest.update(every.contiguous().numpy().tobytes())
    return digest.hexdigest()
