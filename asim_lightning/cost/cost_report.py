"""The cost of a network for one image: its layers, totals, and assumptions."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from html import escape
from typing import Any

from asim_lightning.cost.cost_table import cost_text
from asim_lightning.cost.layer_cost import Energy, LayerCost, tops_per_watt
from asim_lightning.cost.operations import Operations
from asim_lightning.cost.product_shape import WeightLoads
from asim_lightning.cost.technology import Technology, technology_preset
from asim_lightning.surgery.conversion_report import describe
from asim_lightning.surgery.flow import Outside


@dataclass(frozen=True)
class CostReport:
    """Cost of a network for one image."""

    layers: tuple[LayerCost, ...]
    """Layers in the order in which they first run."""
    technology: Technology
    notes: tuple[str, ...] = ()
    """Assumptions and omissions, a line each."""
    reloads: WeightLoads = field(default_factory=WeightLoads)
    """Loads of weights into shared macros; their energy and time are not counted."""
    outside: Outside | None = None
    """Multiplications in float that no layer has; their energy is not counted."""

    def __str__(self) -> str:
        """The tables that `asim cost` prints."""
        return cost_text(self)

    def _repr_html_(self) -> str:
        """The tables in a notebook."""
        return f"<pre>{escape(str(self))}</pre>"

    @cached_property
    def done(self) -> Operations:
        """All operations."""
        return sum((layer.done for layer in self.layers), Operations())

    @cached_property
    def energy(self) -> Energy:
        """Energy by part, fJ."""
        return sum((layer.energy for layer in self.layers), Energy())

    @cached_property
    def on_macro(self) -> "CostReport":
        """The cost of the layers on macros alone."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.macro is not None))

    @property
    def energy_range(self) -> tuple[float, float]:
        """The energy with the typical errors of analog and digital parts, low and high, fJ; no bounds."""
        return self.energy_within(self.technology.factor)

    def energy_within(self, factor: float) -> tuple[float, float]:
        """The energy if its modelled analog parts are off by a factor, low and high, fJ.

        Digital parts are off by `Technology.digital_factor`. An ADC's energy given by `Technology.adc_pj` is exact.
        """
        given = 0.0 if self.technology.adc_pj is None else self.energy.adc
        digital, of_digital = self.energy.digital, self.technology.digital_factor
        analog = self.energy.total - digital - given
        low, high = (given + analog * f + digital * d for f, d in ((1 / factor, 1 / of_digital), (factor, of_digital)))
        return low, high

    @property
    def all_digital(self) -> float:
        """Energy of all multiplications in a digital macro of the same technology, fJ."""
        return sum(layer.all_digital for layer in self.layers)

    @property
    def all_digital_range(self) -> tuple[float, float]:
        """The all-digital energy with low and high by the digital factor, fJ."""
        factor = self.technology.digital_factor
        return self.all_digital / factor, self.all_digital * factor

    @property
    def verdict(self) -> str:
        """Whether layers on macros take less energy than in a digital macro, or the factors cannot tell."""
        here, there = self.on_macro, self.on_macro.all_digital
        if not there:
            return ""
        (low, high), (there_low, there_high) = here.energy_range, here.all_digital_range
        less, more = high < there_low, low > there_high
        ends = "even at the ends of both ranges"
        said = f"less, {ends}" if less else f"more, {ends}" if more else "the ranges of both overlap"
        return f"layers on macros take {here.energy.total / there:.2g} times the energy of a digital macro: {said}"

    @property
    def digital_percent(self) -> float:
        """Percent of the products of bits that are digital: in digital cycles, and in layers on no macro."""
        products = [(each, each.done.macs * each.bits[0] * each.bits[1]) for each in self.layers]
        digital = sum(each.done.digital_bit_macs if each.macro is not None else bits for each, bits in products)
        return 100.0 * digital / (sum(bits for _, bits in products) or 1)

    @property
    def latency(self) -> float:
        """Seconds from image to answer, layer after layer; digital layers take no time."""
        cycles = Counter[float]()  # by their time
        for layer in self.layers:
            cycles[layer.seconds_a_cycle(self.technology)] += layer.done.cycles
        return sum(time * number for time, number in cycles.items())

    @property
    def interval(self) -> float:
        """Seconds from image to image if all layers work at once: the time of the slowest layer."""
        return max((layer.done.cycles * layer.seconds_a_cycle(self.technology) for layer in self.layers), default=0.0)

    @property
    def tops(self) -> float | None:
        """Operations a second, 10^12, of one image after another; a multiplication counts as two. None without time."""
        return 2e-12 * self.done.macs / self.latency if self.latency else None

    @property
    def tops_per_watt(self) -> float | None:
        """Operations a picojoule of the whole network, on the rows that it uses; None without energy."""
        return tops_per_watt(self.done.macs, self.energy.total)

    @property
    def peak_tops_per_watt(self) -> float | None:
        """`tops_per_watt` of layers on macros if every row of every tile held a weight; None without such layers."""
        energy = sum(layer.energy.total for layer in self.on_macro.layers)
        return tops_per_watt(self.on_macro.done.row_macs, energy)

    @property
    def bit_mac_energy(self) -> tuple[float, float, float] | None:
        """Energy for a product of one bit by one bit in the layers on macros, fJ: as used, with all rows used, and in a
        digital macro; None if no layer is on a macro."""
        here = self.on_macro
        of_bits = [(each.done, each.bits[0] * each.bits[1]) for each in here.layers]
        made, peak = (sum(getattr(done, name) * bits for done, bits in of_bits) for name in ("macs", "row_macs"))
        energy = sum(each.energy.total for each in here.layers)
        return (energy / made, energy / peak, here.all_digital / made) if made else None

    @property
    def peak_bit_tops_per_watt(self) -> float | None:
        """Peak operations of one bit by one bit a picojoule, two a product: the number that chips publish."""
        return None if self.bit_mac_energy is None else 2e3 / self.bit_mac_energy[1]

    @property
    def published_bit_tops_per_watt(self) -> float | None:
        """The published number to compare with `peak_bit_tops_per_watt`. None if there is none, or if the technology or
        the macro of a layer differs from the published macro."""
        name = self.technology.preset
        chip = technology_preset(name).chip
        macros = [layer.macro for layer in self.layers if layer.macro is not None]
        if chip is None or not macros or self.technology != Technology(name):
            return None
        return chip.tops_per_watt if all(map(chip.describes, macros)) else None

    @property
    def converters(self) -> int:
        """Number of ADCs; layers share them if they share macros (placement reuse)."""
        return self._arrays[0]

    @cached_property
    def _arrays(self) -> tuple[int, int]:
        """Converters and cells of all arrays."""
        shared = {layer.macro for layer in self.layers if layer.macro is not None and layer.macro.static.is_reused}
        own = [layer.done for layer in self.layers if layer.macro not in shared]
        converters, cells = sum(each.converters for each in own), sum(each.all_cells for each in own)
        for macro in shared:
            macros, columns = macro.static.macros or 0, macro.static.columns or 0
            converters += macros * -(-columns // macro.static.columns_per_adc)
            cells += macros * columns * macro.rows
        return converters, cells

    @property
    def area(self) -> float | None:
        """Area of cells and converters, mm^2; None if the technology lacks one of them."""
        cell, adc = (self.technology.value(name) for name in ("cell_area", "adc_area"))
        if cell is None or adc is None:
            return None
        return 1e-6 * float(self._arrays[1] * cell + self.converters * adc)

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON: technology with sources, layers, totals; energies in pJ, times in s."""
        t = self.technology
        return {
            "technology": {f.name: {"value": t.value(f.name), "source": t.source(f.name)} for f in fields(t)},
            "total": {
                **asdict(self.done),
                "converters": self.converters,
                "weight_loads": self.reloads.loads,
                "weight_cells_loaded": self.reloads.cells,
                **self._numbers,
                "energy_low_pj": 1e-3 * self.energy_range[0],
                "energy_high_pj": 1e-3 * self.energy_range[1],
                "interval_s": self.interval,
                "macs_outside_of_layers": self.outside.count if self.outside else 0,
                "digital_percent": self.digital_percent,
                "digital_percent_on_macros": self.on_macro.digital_percent,
                "peak_tops_per_watt": self.peak_tops_per_watt,
                "peak_bit_tops_per_watt": self.peak_bit_tops_per_watt,
                "published_bit_tops_per_watt": self.published_bit_tops_per_watt,
            },
            "layers": self.rows(),
            "notes": list(self.notes),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A mapping of plain values for each layer; energies in pJ, times in s."""
        return [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "on_macro": layer.macro is not None,
                "macro": "" if layer.macro is None else describe(layer.macro),
                "weight_bits": layer.bits[0],
                "input_bits": layer.bits[1],
                **asdict(layer.done),
                "rows_in_use": layer.done.rows_in_use,
                **replace(self, layers=(layer,))._numbers,
                "why_digital": layer.why_digital,
            }
            for layer in self.layers
        ]

    @property
    def _numbers(self) -> dict[str, Any]:
        """Energy, time and area."""
        return {
            "energy_pj": 1e-3 * self.energy.total,
            **{f"{part}_pj": 1e-3 * value for part, value in self.energy.parts.items()},
            "all_digital_pj": 1e-3 * self.all_digital,
            "latency_s": self.latency,
            "tops": self.tops,
            "tops_per_watt": self.tops_per_watt,
            "area_mm2": self.area,
        }
