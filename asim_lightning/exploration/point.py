"""A point of a sweep, described by what its layers compute: equal descriptions are computed once."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any

import torch

from asim_lightning.circuit import MacroConfig, StaticEffects, Transfer, schedule, transfer
from asim_lightning.circuit.adapters import possible_driven
from asim_lightning.circuit.column_models import COLUMNS, own_converters
from asim_lightning.circuit.columns import possible_counts
from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.classifier.network import CimModule
from asim_lightning.engine import Chip, Conv2dProduct, MatmulProduct, SavedChip, check_saved
from asim_lightning.engine.chips.places import Places
from asim_lightning.evaluation.condition import EQUAL_CHIPS, check_one_chip, matched
from asim_lightning.evaluation.results import AxisValue, Kind, axes_text, canonical_json, digest_of
from asim_lightning.exploration.axes import condition_at, patterns_of
from asim_lightning.exploration.contents import plain
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.runner import Work
from asim_lightning.nn import Assignment
from asim_lightning.surgery.families import assignments_at, families_of

_OF_ACTIVATIONS = torch.Size((12, 64, 256))
"""Shape of a usual product of two activations: heads, columns, rows."""


class Points:
    """The points of one network, each worked out without a change to its layers.

    It uses the layers' assignments at its creation. `patterns` are the layer patterns in the names of axes. It refuses
    a point that a layer's macro does not take, and a point whose axis has no effect because rules decide it for every
    layer. `noise_in` is as in a `Condition`; a point may name one of the `corners`.
    """

    def __init__(
        self, model: CimModule, patterns: Iterable[str] = (), noise_in: str = "written", corners: Corners = Corners()
    ) -> None:
        self._chip, self._noise_in, self._corners = model.chip, noise_in, corners
        self._families = families_of(model.backbone, {each: matched(model, each, "axes.rules") for each in patterns})
        self._digests: dict[str, str] = {}
        self._assignments: dict[str, Sequence[Assignment | None]] = {}

    @classmethod
    def of(cls, work: Work, names: Iterable[str]) -> "Points":
        """The points of a study with axes of some names."""
        return cls(work.model, patterns_of(names), work.noise_in, work.corners)

    def is_noisy(self, axes: Mapping[str, AxisValue]) -> bool:
        """Whether any conversion of a simulated point is noisy; refuses a point that is not allowed."""
        self.digest(axes, "simulated")
        pairs = set(self._macros(self._at(axes, "simulated")[0]))
        return any(any(transfer(*pair).noisy) for pair in pairs if pair is not None)

    def macros(self, axes: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on macros at a point, with rules applied."""
        return {pair[0] for pair in self._macros(self._at(axes, "simulated")[0]) if pair is not None}

    def chips_differ(self, axes: Mapping[str, AxisValue]) -> bool:
        """Whether chips differ at a point: a layer has cells or converters that do."""
        return any(transfer(macro, False).differs_by_chip for macro in self.macros(axes))

    def is_quantized(self, axes: Mapping[str, AxisValue]) -> bool:
        """Whether a simulated point surely gives the answers of the quantised network: its bits are the same, no
        cell is stuck, and conversions lose nothing and have no noise."""
        pairs = self._macros(self._at(axes, "simulated")[0])
        circuits = [transfer(*pair) for pair in dict.fromkeys(pairs) if pair is not None]
        is_exact = all(each.exact and not each.macro.static.has_stuck_cells for each in circuits)
        return is_exact and self.digest(axes, "quantized") == self.digest({}, "quantized")

    def digest(self, axes: Mapping[str, AxisValue], kind: Kind) -> str:
        """Digest of `content`, computed once."""
        name = f"{kind} {canonical_json(axes)}"
        if name not in self._digests:
            self._digests[name] = digest_of(self.content(axes, kind))
        return self._digests[name]

    def content(self, axes: Mapping[str, AxisValue], kind: Kind) -> dict[str, object]:
        """Everything in a point that decides the network's answers.

        A float network depends on no macro, a quantised one on bits, a simulated or estimated one on all of each macro.
        """
        assignments, chip = self._at(axes, kind)
        if kind == "float":
            return {"kind": kind}
        pairs = [None] * len(assignments) if kind == "quantized" else self._macros(assignments)
        known = {pair: macro_content(*pair) for pair in dict.fromkeys(pairs) if pair is not None}
        digests = {pair: digest_of(macro) for pair, macro in known.items()}
        # by what layers compute, because patterns of axes may split a family into equal ones
        layers: dict[tuple[str | None, tuple[int, int]], list[str]] = {}
        for family, assignment, pair in zip(self._families, assignments, pairs, strict=True):
            key = None if pair is None else digests[pair], family.bits(assignment)
            layers.setdefault(key, []).extend(family.layers)
        groups = sorted([sorted(names), macro, bits] for (macro, bits), names in layers.items())
        signed = sorted(name for family in self._families if family.signed_input for name in family.layers)
        content: dict[str, object] = {"kind": kind, "layers": groups, "signed": signed}
        if kind == "quantized":
            return content
        pools: dict[MacroConfig, list[str]] = {}
        if any(macro.static.is_reused for macro, _ in known):
            # layers of equal macros share them, with all fields compared: the groups decide where a layer lies
            for family, each in zip(self._families, assignments, strict=True):
                if family.is_on_macro and each is not None:
                    pools.setdefault(replace(each, is_scores=False).macro, []).extend(family.layers)
            content["placed"] = sorted(sorted(names) for names in pools.values())
        if any(transfer(*pair).column.converters_differ for pair in known):
            content["converters"] = self._patterns(pairs, len(pools))
        differs = any(transfer(*pair).differs_by_chip for pair in known)
        if differs:
            content["chips"] = "by number, converters in place"  # chips drawn by other rules need other keys
        if isinstance(self._chip, SavedChip):
            own = self._macros(self._at({}, kind)[0])
            changed = [(before[0], after[0]) for before, after in zip(own, pairs, strict=True) if before and after]
            check_one_chip(self._chip, chip, changed)
            self._check_chip(self._chip, assignments)
        elif chip is not None and chip != self._chip:
            if not differs:
                raise ValueError(EQUAL_CHIPS)
            content["chip"] = chip
        return content

    def _at(self, axes: Mapping[str, AxisValue], kind: Kind) -> tuple[Sequence[Assignment | None], int | None]:
        """The assignment of each family, and the chip."""
        condition = condition_at(self._corners.network_at(axes), kind)
        asked = repr((condition.macro, condition.rules))
        if asked not in self._assignments:  # another chip of the same point needs no new work
            found = assignments_at(self._families, condition.macro, condition.rules, self._noise_in)
            self._assignments[asked] = found
        return self._assignments[asked], condition.chip

    def _patterns(self, pairs: Sequence[tuple[MacroConfig, bool] | None], pools: int) -> str:
        """Digest of gain and offset that users' columns give each layer's converters. For products of two activations,
        whose sizes depend on a call, it has the converters of a product of usual size."""
        digest = hashlib.sha256()
        for family, pair in zip(self._families, pairs, strict=True):
            if pair is None or not transfer(*pair).column.converters_differ:
                continue
            circuit = transfer(*pair)
            shared = [f"macros {number}" for number in range(pools)] if pair[0].static.is_reused else None
            for name, layer in family.layers.items():
                weight = getattr(layer, "weight", None)
                shape, groups = _OF_ACTIVATIONS if weight is None else weight.shape, int(getattr(layer, "groups", 1))
                is_matrix = weight is None or weight.dim() == 2
                product = MatmulProduct() if is_matrix else Conv2dProduct((1, 1), (0, 0), (1, 1), groups)
                for each in shared or [name]:
                    places = Places(Chip(layer=each), product, circuit, shape).of_converters()
                    for values in own_converters(circuit.column, places):
                        digest.update(f"{name} {len(values)}".encode() + values.numpy().tobytes())
        return digest.hexdigest()

    def _check_chip(self, saved: SavedChip, assignments: Sequence[Assignment | None]) -> None:
        """Refuse macros that do not fit a chip in a file."""
        for family, pair in zip(self._families, self._macros(assignments), strict=True):
            if pair is not None and not pair[0].static.is_reused:  # shared macros are checked when placed
                for name in family.layers:
                    check_saved(Chip.at(saved, name), transfer(*pair))

    def _macros(self, assignments: Sequence[Assignment | None]) -> list[tuple[MacroConfig, bool] | None]:
        """The macro of each family and whether its input is signed; None if it is on no macro."""
        return [
            (each.macro, family.signed_input) if family.is_on_macro and each is not None else None
            for family, each in zip(self._families, assignments, strict=True)
        ]


def check_points(given: Iterable[Mapping[str, AxisValue]], setting: str, check: Callable[[Any], object]) -> None:
    """Refuse points of a setting by name, if a check raises a ValueError."""
    for point in given:
        try:
            check(point)
        except ValueError as error:
            raise ValueError(f"{error}, at the point {axes_text(point)} of `{setting}`") from None


def macro_content(macro: MacroConfig, signed_input: bool) -> dict[str, object]:
    """What a macro computes: equal for macros that differ only in fields without effect, such as votes of no cycle."""
    is_users = macro.column not in COLUMNS  # a user's column may use the value of any field
    cycles, (offset, trim_step) = schedule(macro, signed_input), macro.converter_spreads
    content: dict[str, object] = {
        **_values(macro, is_users),
        "column_args": plain(macro.column_args),
        # as engines use them: offset and trim step in LSB, other spreads in percent
        "static": {**_values(macro.static, False), "offset": offset, "trim_step": trim_step},
        "cycles": hashlib.sha256(repr(cycles).encode()).hexdigest(),
        # with `adc_step`, noise in LSB is a different share of each full scale
        "noise": [macro.noise_percents(full_scale) for full_scale in sorted({cycle.full_scale for cycle in cycles})],
        "code_of_votes": macro.vote if any(cycle.votes > 1 for cycle in cycles) else None,
    }
    if macro.weight_coding != "plain":
        content["weight_coding"] = macro.weight_coding
    if is_users or macro.column == "measured":  # voltages of a file depend on `full_scale_mv`
        found = transfer(macro, signed_input)  # the cached column, as engines use it, not one from newer files
        content["tables"] = _tables(found)
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
    """Digest of level and sigma by count (and by driven rows, if the column depends on them), cycle by cycle: all that
    engines know of a column, whatever file or table it comes from."""
    digest = hashlib.sha256(f"{found.column.cell_sigma} {found.cycles}".encode())
    for cycle in {each.kind: each for each in found.cycles}.values():
        counts = possible_counts(cycle).float()
        column, curves = found.column, torch.arange(found.column.curves)[:, None]
        own = column.of_curves(curves, counts, cycle) if len(curves) > 1 else ()
        numbers = possible_driven(found.macro.rows) if column.depends_on_driven else ()
        by_driven = (codes for number in numbers for codes in column.of_driven(number, counts, cycle))
        for codes in chain((column.level(counts, cycle), column.sigma(counts, cycle), *own), by_driven):
            every, _ = torch.broadcast_tensors(codes.detach().double().cpu(), counts)
            digest.update(every.contiguous().numpy().tobytes())
    return digest.hexdigest()
