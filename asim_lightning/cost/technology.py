"""The technology of a cost: node, supply, capacitances, cycle time, each with its source."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from asim_lightning.checks import check_choice, check_whole, named_fields
from asim_lightning.circuit.fields import Setting, setting, settings_of
from asim_lightning.circuit.presets import Preset, preset, preset_names
from asim_lightning.circuit.units import number_in

CHARGING = ("fixed", "redistribution", "ground")
_UIUC = "UIUC-IMC-Benchmarking (MIT)"
_FIT = f"fitted to 16 charge-redistribution rows of 12 papers in {_UIUC}"
_ZIGZAG = "ZigZag-IMC, imc_unit.py and imc_array.py"
_JIA_AREA = "Jia, JSSC 2020, by CiMLoop jia_jssc_2020"
_DCT_RAM = f"DCT-RAM, CICC 2022: {_UIUC}, index 78"
_WANG = f"Wang, VLSI 2022: {_UIUC}, index 89"
_JIA_2021 = f"Jia, ISSCC 2021: {_UIUC}, index 25"
_MEDIAN_TIME = f"median of the 15 fitted rows with a time in {_UIUC}, which span 4 to 1750 ns"


@dataclass(frozen=True)
class TechnologyPreset:
    """Values of a node or a chip."""

    known: Mapping[str, tuple[float, str]]
    """Each value with its source."""
    assumed: Collection[str] = ()
    """Names of values that are not published for the chip."""
    chip: Preset | None = None


PRESETS = {
    "28nm": TechnologyPreset({
        "node": (28.0, "the node that digital figures are normalised to"),
        "supply": (0.9, f"Lee, VLSI 2021: {_UIUC}, index 35"),
        "cycle_ns": (50.0, _MEDIAN_TIME),
    }),
    "65nm": TechnologyPreset({
        "node": (65.0, f"{_UIUC}, index 78"),
        "supply": (1.0, _DCT_RAM),
        "cycle_ns": (25.0, _DCT_RAM),
        "cell_area": (4.93, f"{_JIA_AREA}: 2.91 mm^2 over 2304 x 256 cells"),
        "adc_area": (1941.0, f"{_JIA_AREA}: 0.497 mm^2 over 256 converters"),
    }),
    "22nm": TechnologyPreset({"node": (22.0, _WANG), "supply": (1.1, _WANG), "cycle_ns": (4.17, _WANG)}),
    "16nm": TechnologyPreset({"node": (16.0, _JIA_2021), "supply": (0.8, _JIA_2021), "cycle_ns": (50.0, _JIA_2021)}),
}  # fmt: skip
"""Presets of nodes; `technology_preset` has the presets of published macros, too."""
SOURCES = {
    "columns": f"Jia 2020, Jia 2021 and Lee 2021 in {_UIUC}, a converter each",
    "row_capacitance": _FIT,
    "parasitics": "Jia, JSSC 2020: 5.8 fF a row for a unit of 4.5 fF",
    "adc_bit": f"{_ZIGZAG}: 100 fF a bit",
    "adc_noise": f"{_ZIGZAG}: 0.001 fF times the square of the full scale in LSB, 2^bits without an `adc_step`",
    "adc": "the model's coefficients of a converter",
    "bit_ns": "nobody's: the times of the presets are of their own ADCs",
    "driver": f"{_ZIGZAG}: 50 fF a bit, where a cycle takes several",
    "digital_mac": f"median of digital macros of 22 to 65 nm in {_UIUC}, at 28 nm and 0.9 V",
    "full_adder": f"{_ZIGZAG}, at 28 nm",
    "flip_flop": f"{_ZIGZAG}, at 28 nm",
    "cell_write": "nobody's: written cells are counted, and not priced",
    "float_bits": "an assumption: a layer that stays float is computed by integers",
    "factor": "of 15 published results that the model is fitted to, 8 are within a factor of 1.5, 14 within 1.9, all "
    "within 2; one chip that was not used is off by 2.2 to 2.9, and the only ADC that was measured apart by 2.9 "
    "(`technology.adc jia_2020`)",
    "digital_factor": "published digital macros lie within 2",
}
"""Source of the default of each other coefficient."""
WIDE_FACTOR = 1.9
"""Factor of analog energy within which 14 of the 15 published results lie (``asim cost --validate``)."""
MEASURED_ADCS = {
    "jia_2020": (2.86, "Jia, JSSC 2020, by CiMLoop jia_jssc_2020: 8 bits at 65 nm take 1.79 pJ at 0.85 V and 3.56 pJ "
                 "at 1.2 V, 2.86 times the model's energy at both"),
}  # fmt: skip
"""Measured converters: energy as a multiple of the model's, and source."""
_cost = partial(setting, decides_outcomes=False)
"""A setting that decides energy, time or area, and no outcome."""
_of_preset = partial(_cost, None, has_units=True)
"""A setting that the preset decides if it is null."""


@cache  # reads a file of the package
def technology_preset(name: str) -> TechnologyPreset:
    """The preset of a node, or of a published macro; missing supply and time are assumed as for the nearest node.

    Raises:
        ValueError: There is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    chip = preset(name)
    near, of = min(PRESETS.items(), key=lambda each: abs(each[1].known["node"][0] - chip.node))
    source, assumed = f"{chip.chip}: configs/macro_{name}.yaml", {"supply", "cycle_ns"} - chip.technology.keys()
    known = {each: (value, source) for each, value in {"node": chip.node, **chip.technology}.items()}
    for each in assumed:
        value, its_source = of.known[each]
        known[each] = value, f"not published, assumed as of {near}: {its_source}"
    return TechnologyPreset(known, assumed, chip)


@named_fields("technology", "field of a technology")
@dataclass(frozen=True)
class Technology:
    """A technology: node, supply and coefficients of energy, time and area. Each default has a source (`source`).

    Raises:
        ValueError: A field is outside its range, or a name is unknown.

    Examples:
        >>> from asim_lightning.cost.technology import Technology
        >>> technology = Technology("28nm", supply="800 mV", cycle_ns=20)
        >>> technology.volts, technology.value("node")
        (0.8, 28.0)
        >>> technology.source("node")
        'the node that digital figures are normalised to'
    """

    preset: str = _cost("28nm", label="technology")
    """Preset of node, supply, times and areas: 28nm, 65nm, 22nm, 16nm, or one of `asim macros`. Other fields win."""
    node: float | str | None = _of_preset(label="node", unit="nm", within=(3.0, 250.0))
    """Technology node: 3..250, nm or with a unit ("28 nm"); null: the preset's. The model is fitted to 16..65 nm."""
    supply: float | str | None = _of_preset(label="supply", unit="V", within=(0.2, 3.0))
    """Supply: 0.2..3, V or with a unit ("800 mV"); null: the preset's."""
    cycle_ns: float | str | None = _of_preset(label="time of a conversion", unit="ns", within=(0.01, 1e6))
    """Time of a conversion, input to code: 0.01..1000000, ns or with a unit ("2 us"); null: the preset's."""
    bit_ns: float | str = _cost(0.0, label="time of a bit", unit="ns", has_units=True, within=(0.0, 1e6))
    """Time that each bit of the ADC adds to `cycle_ns`, ns or with a unit; 0: the time does not follow the bits."""
    unit_capacitor: float | str | None = _of_preset(label="unit capacitor", unit="fF", within=(0.01, 1e3))
    """Capacitor of a cell: 0.01..1000, fF or with a unit; null: the preset's, or if it has none, `row_capacitance`
    times the node."""
    columns: int | None = _cost(None, label="columns of an array")
    """Columns of an array, which share the drivers of its rows: 1..65536; null: the preset's, or 256 if it has none."""
    row_capacitance: float = _cost(0.0528, label="capacitance of a row", unit="fF/nm", within=(0.0, 1e6))
    """Capacitance that a row of a column switches for each nm of node: fF/nm; `unit_capacitor` replaces it."""
    parasitics: float = _cost(1.3, label="parasitics of a row", within=(1.0, 10.0))
    """Capacitance that a row switches, divided by its unit capacitor: 1..10."""
    adc_bit: float = _cost(100.0, label="converter capacitance a bit", unit="fF", within=(0.0, 1e6))
    """Capacitance that a converter switches for each bit: fF."""
    adc_noise: float = _cost(0.001, label="converter capacitance by noise", unit="fF", within=(0.0, 1e6))
    """Capacitance that a converter switches, times the square of the codes of the full scale: fF."""
    adc: str = _cost("model", label="energy of a converter")
    """Energy of a converter: model, or jia_2020 for 2.86 times as much, like the only one that was measured apart."""
    adc_pj: float | None = _cost(None, label="energy of a conversion in the converter", unit="pJ", within=(0.0, 1e6))
    """Energy of a conversion in the converter, whatever its bits, range and supply: pJ; null: by `adc`."""
    driver: float = _cost(50.0, label="driver capacitance a bit", unit="fF", within=(0.0, 1e6))
    """Capacitance that a row's driver switches for each input bit, if a cycle takes several: fF."""
    digital_mac: float = _cost(1.5, label="digital product of bits", unit="fJ", within=(0.0, 1e6))
    """Energy of a digital product of one bit and one bit, summed, at 28 nm and 0.9 V: fJ."""
    full_adder: float = _cost(4.2, label="full adder", unit="fF", within=(0.0, 1e6))
    """Capacitance that a full adder switches, at 28 nm: fF."""
    flip_flop: float = _cost(2.1, label="flip-flop", unit="fF", within=(0.0, 1e6))
    """Capacitance that a flip-flop switches, at 28 nm: fF."""
    cell_write: float | None = _cost(None, label="write of a cell", unit="fF", within=(0.0, 1e6))
    """Capacitance that writing a cell switches: fF; null: written cells are counted, but have no price."""
    cell_area: float | str | None = _of_preset(label="area of a cell", unit="um^2", within=(0.001, 1e3))
    """Area of a cell: 0.001..1000, um^2 or with a unit; null: the preset's; if it has none, no area is given."""
    adc_area: float | str | None = _of_preset(label="area of a converter", unit="um^2", within=(0.1, 1e7))
    """Area of a converter: 0.1..10000000, um^2 or with a unit; null: as for `cell_area`."""
    float_bits: int = _cost(8, label="bits of float layers")
    """Bits of weights and inputs of float layers in digital hardware: 1..32."""
    factor: float = _cost(1.5, label="factor of analog energy", within=(1.0, 100.0))
    """Typical factor between modelled and true analog energy, either way: 1..100. It is no bound, see `SOURCES`."""
    digital_factor: float = _cost(2.0, label="factor of digital energy", within=(1.0, 100.0))
    """Typical factor between modelled and true digital energy, either way: 1..100."""
    charging: str = _cost("fixed", label="charging")
    """Charge of a column: fixed (fitted), or by counts k of N rows: redistribution, k (N - k) / N cells; ground, k."""
    energy_model: str = _cost("charge", label="energy model")
    """Energy model: charge, or the import path of a class that inherits `asim_lightning.cost.EnergyModel`."""
    energy_model_args: dict[str, Any] = setting(
        default_factory=dict, label="arguments of the energy model", decides_outcomes=False
    )
    """Arguments of the energy model."""

    def __post_init__(self) -> None:
        node, known = re.fullmatch(r"(\d+) ?nm", str(self.preset)), (*PRESETS, *preset_names())
        if node and f"{node[1]}nm" not in known:
            raise ValueError(
                f"`technology.preset` must be {', '.join(PRESETS)}, or a macro that asim macros lists, got "
                f"{self.preset!r}; `technology.node` {node[1]} scales the preset 28nm to another node"
            )
        check_choice("`technology.preset`", self.preset, known)
        for name, each in settings_of(Technology).items():
            if each.within is not None:
                self._check_number(name, each, *each.within)
        if self.columns is not None:
            check_whole("`technology.columns`", self.columns, 1, 65536, " or null")
        check_whole("`technology.float_bits`", self.float_bits, 1, 32)
        check_choice("`technology.charging`", self.charging, CHARGING)
        check_choice("`technology.adc`", self.adc, ("model", *MEASURED_ADCS))
        if self.adc_pj is not None and self.adc != "model":
            raise ValueError(f"`technology.adc_pj` is the whole energy; leave out `technology.adc`, got {self.adc}")
        if not isinstance(self.energy_model_args, dict):
            raise ValueError(
                f"`technology.energy_model_args` must be a mapping of argument names, got {self.energy_model_args!r}"
            )

    def __hash__(self) -> int:
        return hash((self.preset, self.node, self.supply, self.charging, self.energy_model))

    def with_fields(self, **changes: Any) -> "Technology":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def value(self, name: str) -> Any:
        """The value of a field: the preset's if none is given."""
        given = getattr(self, name)
        return self._of_preset(name)[0] if given is None else given

    def _of_preset(self, name: str) -> tuple[Any, str]:
        """The value of a field in the preset, and its source."""
        usual = (256, SOURCES[name]) if name == "columns" else (None, "not known")
        return technology_preset(self.preset).known.get(name, usual)

    @property
    def nanometres(self) -> float:
        """The node, nm."""
        return float(self.value("node"))

    @property
    def volts(self) -> float:
        """The supply, V."""
        return float(self.value("supply"))

    @property
    def cell_capacitance(self) -> float:
        """Capacitance that a row of a column switches, fF."""
        unit = self.value("unit_capacitor")
        return float(self.row_capacitance * self.nanometres if unit is None else self.parasitics * unit)

    def seconds(self, adc_bits: int | None) -> float:
        """Time of a conversion by an ADC, s; None: an ideal converter, whose bits take no time."""
        return 1e-9 * (float(self.value("cycle_ns")) + float(self.bit_ns) * (adc_bits or 0))

    def source(self, name: str) -> str:
        """The source of a field's value."""
        given = getattr(self, name)
        if name == "columns" or (settings_of(Technology)[name].has_units and name not in SOURCES):
            return self._of_preset(name)[1] if given is None else "given"
        if name == "adc" and given in MEASURED_ADCS:
            return MEASURED_ADCS[given][1]
        if name not in SOURCES:
            return "a setting" if name != "adc_pj" or given is None else "given"
        return SOURCES[name] if given == getattr(Technology, name) else "given"

    def __str__(self) -> str:
        """Node, supply and cycle time, such as "28 nm, 0.9 V, 50 ns a conversion", with a mark at assumed ones."""
        volts, time = (
            " (assumed)" if name in technology_preset(self.preset).assumed and getattr(self, name) is None else ""
            for name in ("supply", "cycle_ns")
        )
        bit = f" and {self.bit_ns:g} ns a bit" if self.bit_ns else ""
        return f"{self.nanometres:g} nm, {self.volts:g} V{volts}, {self.value('cycle_ns'):g} ns a conversion{time}{bit}"

    def _check_number(self, name: str, what: Setting, low: float, high: float) -> None:
        """Convert a text with a unit to the field's unit, and refuse numbers out of its range."""
        value = given = getattr(self, name)
        if isinstance(given, str) and what.has_units and (number := number_in(given, what.unit)) is not None:
            object.__setattr__(self, name, value := number)
        if value is None and getattr(Technology, name) is None:
            return
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            allowed = f"{low:.7g}..{high:.7g} {what.unit}".rstrip()
            if isinstance(value, str) and what.has_units:
                allowed += f", a number or with a unit such as '{low:.7g} {what.unit}'"
            raise ValueError(f"`technology.{name}` must be {allowed}, got {given!r}")
