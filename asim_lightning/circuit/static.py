"""Static effects: fixed differences between the cells and converters of a chip."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asim_lightning.checks import check_choice, check_number, check_whole, named_fields
from asim_lightning.circuit.fields import setting, settings_of
from asim_lightning.circuit.units import quantity

REFERENCES = ("ratiometric", "absolute", "summing")
TRIMS = ("none", "offset", "gain", "both")
PLACEMENTS = ("unrolled", "reuse")


def checked_inl(value: Any, where: str = "`macro.static.inl`") -> Any:
    """A list of INL by code, LSB, as a tuple: one or more finite numbers; another setting of INL as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    if not value:
        raise ValueError(f"{where} must have a number of LSB for each code, got none")
    for code, each in enumerate(value):
        if isinstance(each, bool) or not isinstance(each, (int, float)) or not math.isfinite(each):
            raise ValueError(f"{where} must have finite numbers of LSB, got {each!r:.60} at code {code}")
    return tuple(float(each) for each in value)


@named_fields("macro.static", "static effect", inl=checked_inl)
@dataclass(frozen=True)
class StaticEffects:
    """Spreads of cells and converters. A chip is one draw of them; an ideal chip has none.

    Sources and typical values: comparator offsets of a 55 nm array have 1.27 LSB before and 0.09 LSB after calibration
    (8 bits, 0.9 V); a unit capacitor of C fF at 28 nm has 0.664 % / sqrt(C).

    Raises:
        ValueError: A field is outside its range, or two fields contradict each other.

    Examples:
        >>> from asim_lightning import MacroConfig, StaticEffects
        >>> macro = MacroConfig(static=StaticEffects(offset="0.3 lsb", gain=0.5))
        >>> macro.static.gain
        0.5
        >>> MacroConfig(static={"trim": "offset", "offset": 0.2}).static.trim
        'offset'
    """

    offset: float | str = setting(0.0, label="offset", has_units=True, role="static", harder=1)
    """Standard deviation of a converter's offset: percent of full scale, or with a unit ("0.3 lsb", "1 mV"); only
    lsb with `adc_step` and several bits a cycle."""
    gain: float | str = setting(0.0, label="gain", unit="%", has_units=True, role="static", harder=1, within=(0, 100))
    """Standard deviation of a converter's gain: percent, 0..100."""
    inl: float | str | list[float] = setting(
        0.0, label="INL", unit="%", has_units=True, role="static", harder=1, within=(0, 20)
    )
    """INL of converters. A number: standard deviation of a unit capacitor of a binary C-DAC, percent, 0..20. A list,
    or a CSV file with a number a line: INL of all converters, LSB, by code from the lowest (2^adc_bits; the first does
    not count). If thresholds are out of order (8 bits: above about 3 %), a search from the nearest code ends at
    the first code with the value between its thresholds."""
    columns_per_adc: int = setting(1, label="columns per ADC")
    """Neighbouring columns (weight bits of an output, then the next output) that share a converter: 1 or more."""
    cell_mismatch: float | str = setting(
        0.0, label="cell mismatch", unit="%", has_units=True, role="static", harder=1, within=(0, 100)
    )
    """Standard deviation of a cell's capacitor or current: percent of its nominal value, 0..100."""
    reference: str = setting("ratiometric", label="reference")
    """Reference of a column's charge: ratiometric (all its cells, as if the array is its own C-DAC), absolute (a fixed
    range) or summing (no charge is shared with idle cells; currents, too)."""
    parasitics: float = setting(
        0.0, label="parasitics", role="static", harder=1, within=(0, 10), no_limit="it needs an absolute reference"
    )
    """Parasitic capacitance of a column, in capacitances of all its cells, for an absolute reference: 0..10."""
    stuck_at_0: float = setting(0.0, label="stuck at 0", role="static", harder=1, within=(0, 1))
    """Share of the cells that are stuck at 0: 0..1."""
    stuck_at_1: float = setting(0.0, label="stuck at 1", role="static", harder=1, within=(0, 1))
    """Share of the cells that are stuck at 1: 0..1."""
    trim: str = setting("none", label="trim")
    """Calibration before use: none, offset, gain or both."""
    trim_step: float | str = setting(0.0, label="trim step", has_units=True)
    """Step of the calibration at the output, in the units of the offset. At most half a step is left; 0: nothing is
    left. The range of the calibration is not limited."""
    placement: str = setting("unrolled", label="placement")
    """Where weights are: unrolled (each tile of each layer has its own macro) or reuse (weights are loaded into
    `macros` macros in turn, so that layers share converters and cells)."""
    macros: int | None = setting(None, label="macros")
    """Macros that layers share, with placement reuse: 1..1048576; null if unrolled."""
    columns: int | None = setting(None, label="columns")
    """Columns of each of these macros: 1..1048576, at least weight_bits; null if unrolled."""

    def __post_init__(self) -> None:
        for name, each in settings_of(StaticEffects).items():
            if each.within and each.has_units and not (name == "inl" and (self.has_file or self.inl_table)):
                _percent(getattr(self, name), name, each.within[1])
            elif each.within and not each.has_units:
                check_number(f"`macro.static.{name}`", getattr(self, name), each.within[1])
        if self.stuck_at_0 + self.stuck_at_1 > 1:
            raise ValueError(
                "`macro.static.stuck_at_0` and `stuck_at_1` must be at most 1 together, got "
                f"{self.stuck_at_0} and {self.stuck_at_1}"
            )
        check_whole("`macro.static.columns_per_adc`", self.columns_per_adc, 1, 2**20)
        check_choice("`macro.static.reference`", self.reference, REFERENCES)
        check_choice("`macro.static.trim`", self.trim, TRIMS)
        check_choice("`macro.static.placement`", self.placement, PLACEMENTS)
        for name in ("macros", "columns"):
            value = getattr(self, name)
            if self.placement == "reuse":
                check_whole(f"`macro.static.{name}`", value, 1, 2**20, " with placement reuse")
            elif value is not None:
                raise ValueError(f"`macro.static.{name}` must be null with placement unrolled, got {value!r}")
        if self.parasitics and self.reference != "absolute":
            raise ValueError(
                f"`macro.static.parasitics` needs an absolute reference, got {self.parasitics} with {self.reference!r}"
            )

    @property
    def has_file(self) -> bool:
        """Whether the INL is the name of a file, which `resolved` reads."""
        return isinstance(self.inl, str) and self.inl.lower().endswith(".csv")

    def resolved(self) -> "StaticEffects":
        """The effects with the numbers of the file of INL; these effects if there is no file."""
        return replace(self, inl=read_inl(str(self.inl))) if self.has_file else self

    @property
    def gain_percent(self) -> float:
        """Standard deviation of the gain, percent."""
        return _percent(self.gain, "gain", 100.0)

    @property
    def inl_percent(self) -> float:
        """Standard deviation s of a unit capacitor of the C-DAC, percent. For a table, s is such that the INL at
        mid-code, ``0.5 s 2^(B/2)``, equals the largest magnitude of the table."""
        if self.inl_table is not None:
            return 200.0 * max(map(abs, self.inl_table)) / math.sqrt(len(self.inl_table))
        return _percent(self.inl, "inl", 20.0)

    @property
    def inl_table(self) -> tuple[float, ...] | None:
        """INL of all converters by code, LSB; None if each converter has its own C-DAC."""
        return tuple(self.inl) if isinstance(self.inl, (list, tuple)) else None

    @property
    def cell_percent(self) -> float:
        """Standard deviation of a cell, percent."""
        return _percent(self.cell_mismatch, "cell_mismatch", 100.0)

    def words(self) -> str:
        """The effects in words, with units; empty if there are none."""
        found = []
        for name, each in settings_of(StaticEffects).items():
            value = getattr(self, name)
            if name == "inl" and self.inl_table is not None:
                found.append(f"INL of all converters by a table, {max(map(abs, self.inl_table)):.3g} LSB at most")
            elif each.harder and name != "parasitics" and self.is_set(name):
                unit = f" {each.unit or '%' * each.has_units}".rstrip() if isinstance(value, (int, float)) else ""
                found.append(f"{name.replace('_', ' ')} {value}{unit}")
        if self.columns_per_adc > 1:
            found.append(f"{self.columns_per_adc} columns share a converter")
        if self.cell_percent:
            parasitics = f" with parasitics {self.parasitics:g}" if self.parasitics else ""
            found.append(f"{self.reference} reference{parasitics}")
        if self.trim != "none":
            kinds = "offset and gain" if self.trim == "both" else self.trim
            unit = " %" if isinstance(self.trim_step, (int, float)) else ""
            found.append(f"{kinds} trimmed to {self.trim_step}{unit}")
        elif self.is_set("trim_step") and found:
            found.append("not trimmed, so that trim_step counts for nothing")
        if self.is_reused and found:
            found.append(f"weights reloaded into {self.macros} macros of {self.columns} columns")
        return ", ".join(found)

    def is_set(self, name: str) -> bool:
        """Whether a spread, or a number in a table of INL, is not 0."""
        value = getattr(self, name)
        if isinstance(value, (list, tuple)):
            return any(value)
        found = quantity(value)
        return found is not None and found[0] > 0

    def is_drawn(self, name: str) -> bool:
        """Whether a spread is not 0 and differs from chip to chip."""
        return self.is_set(name) and not isinstance(getattr(self, name), (list, tuple))

    def trims(self, kind: str) -> bool:
        """Whether offsets or gains are calibrated."""
        return self.trim in (kind, "both")

    def converter_deviations(self, code: float, offset: float, step: float, top: int) -> dict[str, float]:
        """Standard deviation, in codes, of a level at a code by each effect on converters, by the effect's name.

        A calibration leaves a deviation of at most ``step / sqrt 12``. The INL is the INL of a binary C-DAC; gain and
        offset set its end points.
        """
        gain, left = self.gain_percent / 100, step / math.sqrt(12)
        return {
            "offset": min(offset, left) if self.trims("offset") else offset,
            "gain": (min(gain, left / top) if self.trims("gain") else gain) * code,
            "inl": self.inl_percent / 100 * math.sqrt(max(0.0, code * (1 - code / (top + 1)))),
        }

    @property
    def is_reused(self) -> bool:
        """Whether layers share macros."""
        return self.placement == "reuse"

    @property
    def has_stuck_cells(self) -> bool:
        """Whether some cells are stuck."""
        return self.stuck_at_0 > 0 or self.stuck_at_1 > 0


def static_effects(value: Any) -> StaticEffects:
    """The effects that a mapping of fields describes, resolved."""
    if isinstance(value, StaticEffects):
        return value.resolved()
    if not isinstance(value, Mapping):
        raise ValueError(f"`macro.static` must be a mapping of static effects, got {value!r}")
    # keys in YAML may be no texts
    return StaticEffects(**{str(name): each for name, each in value.items()}).resolved()


def read_inl(path: str) -> Any:
    """INL by code from a CSV file of one number a line; # begins a comment."""
    where = f"`macro.static.inl` {path}"
    try:
        if not Path(path).is_file():  # reading a pipe would wait
            raise ValueError("there is no such regular file")
        lines = [line.partition("#")[0].strip() for line in Path(path).read_text("utf-8-sig").splitlines()]
        values = [float(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise ValueError(f"{where} must be a CSV file of a number a line: {error}") from None
    return checked_inl(values, where)


def _percent(value: object, name: str, most: float) -> float:
    found = quantity(value)
    if found is None or found[1] != "%" or not 0 <= found[0] <= most:
        raise ValueError(f"`macro.static.{name}` must be 0..{most:g} %, got {value!r}")
    return found[0]
