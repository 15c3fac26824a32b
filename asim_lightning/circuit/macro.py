"""The macro: bits, rows, ADC, encoding, noise, hybrid and voting levels, column model."""

import math
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, get_args

from asim_lightning.checks import check_choice, check_flag, check_number, check_whole, named_fields
from asim_lightning.circuit.fields import setting, settings_of
from asim_lightning.circuit.static import StaticEffects, static_effects
from asim_lightning.circuit.units import is_in_lsb, noise_percent, quantity, supply_share

VOTES = ("mode", "median", "mean")
WEIGHT_CODINGS = ("plain", "flip")
_BOLTZMANN = 1.380649e-23  # J/K
_DOUBTFUL = 10.0
"""Noise, percent of full scale, from which LSB may be meant."""
_noise = partial(
    setting, 0.0, unit="% of full scale", role="condition", by_effect=True, harder=1, has_units=True,
    decides_energy=False,
)  # fmt: skip
"""Noise of each conversion."""


def _own(value: Any) -> Any:
    """A copy, because the caller's mapping may change."""
    return dict(value) if isinstance(value, dict) else value


@named_fields("macro", "field of a macro", static=static_effects, column_args=_own)
@dataclass(frozen=True)
class MacroConfig:
    """An SRAM analog compute-in-memory macro: the hardware, not its simulation.

    Noise strings carry a unit ("0.5 lsb", "0.2 %", "1.2 mV"); plain numbers are percent of full scale (ASiM,
    arXiv 2411.11022, section III). A macro is plain data: `circuit.resolved` builds its column and reads the file of a
    measured column.

    Attributes:
        weight_bits: Bits of a stored weight, sign included: 2..16.
        input_bits: Bits of an input, including the sign of a signed input: 1..16.
        rows: Rows that a column sums in one conversion; also its full scale in counts per input level: 1..1048576.
        adc_bits: Resolution of the column's ADC: 1..16 bits, or null for an ideal converter.
        adc_step: Counts an LSB, in every cycle: 1..1048576; null: the largest code is a cycle's full scale.
        adc_low: Count that code 0 stands for: 0..1048576; needs `adc_step`.
        encoding_bits: Input bits that a cycle applies at once (1: bit-serial): 1..input_bits.
        weight_parallel: Whether one conversion takes all weight bits and all input bits at once.
        weight_coding: plain, or flip: a column of a tile with ones in more than half of its rows in use holds the
            complement of each bit. The digital side then adds (sum of the inputs) - (code), so that a column has at
            most ``rows // 2`` ones.
        random_noise: Standard deviation of the noise of a conversion: percent of full scale, or with a unit: 0..100 %.
        nonlinear_noise: Standard deviation of the noise that shrinks as 1/sqrt(active rows + 1): percent of full scale:
            0..100 %.
        full_scale_mv: Full scale of a column in millivolt; needed only if a noise is given in mV. As a share of the
            supply, such as "0.8 of 900 mV", it follows the supply of corners; in a recipe, "0.8 supply" takes
            `technology.supply`.
        unit_capacitor_ff: Capacitor of a cell in femtofarad, for the thermal noise (kT/C) in asim explain; this noise
            is not simulated.
        digital_levels: Anti-diagonals of (weight bit, input group), from the most significant corner, that are digital:
            0 or more.
        digital_adc: Whether digital cycles still pass the ADC, as published (false: they are exact).
        vote_levels: Anti-diagonals, from the most significant corner, that are converted `votes` times: 0 or more.
        votes: Conversions of a voted cycle: 1..65535.
        vote: How votes become one code: mode (ties: the smallest, as published), median or mean.
        column: Column model: charge, current, droop, measured, or the import path of a class.
        column_args: Arguments of the column model: charge takes gain and offset, current also alpha,
            droop also k, measured a file.
        static: Differences between the cells and converters of a chip.

    Raises:
        ValueError: A name is no field, a field is outside its range, or two fields contradict each other.

    Examples:
        >>> from asim_lightning import MacroConfig
        >>> macro = MacroConfig(rows=255, adc_bits=8, random_noise="0.2 lsb")
        >>> macro.with_fields(adc_bits=10).adc_bits
        10
        >>> MacroConfig(adc_bits=17)
        Traceback (most recent call last):
            ...
        ValueError: `macro.adc_bits` must be 1..16 or null, got 17
    """

    weight_bits: int = setting(8, label="weight bits", within=(2, 16), decides_energy=False)
    input_bits: int = setting(8, label="input bits", within=(1, 16), decides_energy=False)
    rows: int = setting(255, label="rows", within=(1, 2**20))
    adc_bits: int | None = setting(8, label="ADC bits", within=(1, 16))
    adc_step: int | None = setting(None, label="counts an LSB", kw_only=True, within=(1, 2**20))
    adc_low: int = setting(0, label="count of code 0", kw_only=True, within=(0, 2**20))
    encoding_bits: int = setting(1, label="input bits a cycle")
    weight_parallel: bool = setting(False, label="weight parallel")
    weight_coding: str = setting("plain", label="weight coding", by_effect=True, kw_only=True)
    random_noise: float | str = _noise(label="random noise")
    nonlinear_noise: float | str = _noise(
        label="nonlinear noise", no_limit="random noise of the same size is at least as hard"
    )
    full_scale_mv: float | str | None = setting(
        None, label="full scale", unit="mV", role="condition", by_effect=True, harder=-1, decides_energy=False
    )
    unit_capacitor_ff: float | None = setting(
        None, label="capacitor of a cell", unit="fF", decides_outcomes=False, decides_energy=False, kw_only=True
    )
    digital_levels: int = setting(0, label="digital levels", by_effect=True)
    digital_adc: bool = setting(False, label="digital cycles pass the ADC", by_effect=True)
    vote_levels: int = setting(0, label="vote levels", by_effect=True)
    votes: int = setting(1, label="votes", by_effect=True, within=(1, 65535))
    vote: str = setting("mode", label="vote", by_effect=True)
    column: str = setting("charge", label="column model", role="condition")
    column_args: dict[str, Any] = setting(default_factory=dict, label="arguments of the column model", role="condition")
    static: StaticEffects = setting(
        default_factory=StaticEffects, label="static", role="static", by_effect=True, decides_energy=False
    )

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_combinations()
        for name, each in settings_of(type(self)).items():
            if each.has_units:
                self._percent(name)
        if not isinstance(self.column_args, dict):
            raise ValueError(f"`macro.column_args` must be a mapping of argument names, got {self.column_args!r}")
        if self.column_args:
            from asim_lightning.circuit.column_models import check_column_arguments  # which imports this module

            check_column_arguments(self)
        self._check_converters()
        self._check_static()

    def __hash__(self) -> int:
        # only the fields in which macros differ most, because layers look up their macro at each call
        noise = self.random_noise, self.nonlinear_noise
        return hash(
            (self.weight_bits, self.input_bits, self.rows, self.adc_bits, self.encoding_bits, noise, self.column)
        )

    @property
    def top_code(self) -> int | None:
        """Largest code of the ADC (weight-parallel: on either side of 0); None for an ideal converter."""
        if self.adc_bits is None:
            return None
        return 2 ** (self.adc_bits - self.weight_parallel) - 1

    @property
    def swing_mv(self) -> float | None:
        """`full_scale_mv` as a number; None if it is not known."""
        if not isinstance(self.full_scale_mv, str):
            return self.full_scale_mv
        share, volts = supply_share(self.full_scale_mv) or (0.0, None)
        return 1000.0 * share * (volts or 0.0)

    @property
    def converter_spreads(self) -> tuple[float, float]:
        """Standard deviation of a converter's offset, and step of its calibration, in codes."""
        codes = self.codes_of_full_scale
        offset, step = (
            noise_percent(getattr(self.static, name), f"macro.static.{name}", codes, self.swing_mv) / 100.0
            for name in ("offset", "trim_step")
        )
        return offset * (codes or 0), step * (codes or 0)

    def converter_deviations(self, code: float) -> dict[str, float]:
        """See `StaticEffects.converter_deviations`."""
        return self.static.converter_deviations(code, *self.converter_spreads, self.top_code or 1)

    @property
    def thermal_noise_mv(self) -> float | None:
        """Thermal noise of a column, ``sqrt(k T / C)`` at 300 K with C of all its cells, mV; None if C is not known."""
        if self.unit_capacitor_ff is None:
            return None
        units = self.rows * (2**self.weight_bits - 1 if self.weight_parallel else 1)
        return 1e3 * math.sqrt(_BOLTZMANN * 300.0 / (units * self.unit_capacitor_ff * 1e-15))

    @property
    def converters_differ(self) -> bool:
        """Whether converters have static effects, after calibration."""
        return any(self.converter_deviations(self.top_code or 1).values())

    @property
    def converters_differ_by_chip(self) -> bool:
        """Whether converters have static effects that differ between chips: a table of INL does not."""
        deviations = self.converter_deviations(self.top_code or 1)
        return any(value for name, value in deviations.items() if name != "inl" or self.static.inl_table is None)

    @property
    def signed_codes(self) -> int:
        """Number of a converter's codes, including the codes below 0 if weight-parallel."""
        return (2 if self.weight_parallel else 1) * (self.top_code or 1) + 1

    @property
    def codes_of_full_scale(self) -> float | None:
        """Codes that the full scale of 1-bit inputs spans (weight-parallel: of all bits, unsigned): `top_code`, or
        ``full_scale / adc_step``; None for an ideal converter."""
        return self.top_code if self.adc_step is None else self._full_scale / self.adc_step

    @property
    def _full_scale(self) -> int:
        if not self.weight_parallel:
            return self.rows
        return self.rows * (2**self.input_bits - 1) * (2 ** (self.weight_bits - 1) - 1)

    @property
    def random_noise_percent(self) -> float:
        """Random noise in percent of full scale. With `adc_step`, noise in LSB refers to `codes_of_full_scale`."""
        return self._percent("random_noise")

    @property
    def nonlinear_noise_percent(self) -> float:
        """Nonlinear noise at count 0, see `random_noise_percent`."""
        return self._percent("nonlinear_noise")

    def noise_percents(self, full_scale: int) -> tuple[float, float]:
        """Random and nonlinear noise in percent of a cycle's full scale.

        They are the same for all cycles, except for noise in LSB with `adc_step`: an LSB is then `adc_step` counts.
        """
        percents = []
        for name in ("random_noise", "nonlinear_noise"):
            in_counts = self.adc_step is not None and is_in_lsb(getattr(self, name))
            percents.append(self._percent(name) * (self._full_scale / full_scale if in_counts else 1.0))
        return percents[0], percents[1]

    @property
    def idle_settings(self) -> dict[str, tuple[str, ...]]:
        """Settings without effect, such as "votes 3 while vote_levels is 0", each with the settings that are off."""
        static, levels = self.static, self.vote_levels
        kinds = tuple(name for name in ("offset", "gain") if static.trims(name))
        trim = f"static.trim {static.trim} while {' and '.join(f'static.{name} is 0' for name in kinds)}"
        idle: dict[str, tuple[str, ...]] = {}
        if self.votes > 1 and not levels:
            idle[f"votes {self.votes} while vote_levels is 0"] = ("vote_levels",)
        if levels and self.votes == 1:
            idle[f"vote_levels {levels} while votes is 1"] = ("votes",)
        if self.votes > 1 and 0 < levels <= self.digital_levels:  # digital cycles are never voted
            idle[f"vote_levels {levels} while digital_levels is {self.digital_levels}"] = (
                "vote_levels", "digital_levels",
            )  # fmt: skip
        if self.digital_adc and not self.digital_levels:
            idle["digital_adc while digital_levels is 0"] = ("digital_levels",)
        return idle if not kinds or any(map(static.is_set, kinds)) else {**idle, trim: kinds}

    @property
    def doubts(self) -> list[str]:
        """Questions on noise that has no unit, and is so large that LSB may be meant."""
        found = []
        for name in ("random_noise", "nonlinear_noise"):
            value, codes = getattr(self, name), self.codes_of_full_scale
            if not isinstance(value, str) and value >= _DOUBTFUL and codes is not None:
                lsb = f"{value:g} % of full scale, {codes * value / 100:.3g} LSB"
                found.append(f"{name} {value:g} is {lsb}; if you mean {value:g} LSB, write '{value:g} lsb'")
        return found

    def with_fields(self, **changes: Any) -> "MacroConfig":
        """A copy with some fields changed; ``static.offset`` and so on name single static effects.

        Raises:
            ValueError: A name is no field (the nearest names are given), or a value is not allowed.
        """
        inner = [name for name in changes if name.startswith("static.")]
        static = {name.removeprefix("static."): changes.pop(name) for name in inner}
        if static:
            given = changes.get("static", self.static)
            changes["static"] = static_effects({**asdict(static_effects(given)), **static})
        return replace(self, **changes) if changes else self

    def _percent(self, name: str) -> float:
        return noise_percent(getattr(self, name), f"macro.{name}", self.codes_of_full_scale, self.swing_mv)

    def _check_numbers(self) -> None:
        kinds = {each.name: get_args(each.type) or (each.type,) for each in fields(self)}
        for name, each in settings_of(type(self)).items():
            value, null = getattr(self, name), " or null" if type(None) in kinds[name] else ""
            if each.within is None or each.has_units or (null and value is None):
                continue
            low, high = each.within
            if float in kinds[name]:
                check_number(f"`macro.{name}`", value, high, low, null)
            else:
                check_whole(f"`macro.{name}`", value, int(low), int(high), null)
        check_whole("`macro.encoding_bits`", self.encoding_bits, 1, self.input_bits, " (input_bits)")
        check_whole("`macro.digital_levels`", self.digital_levels, 0, None)
        check_whole("`macro.vote_levels`", self.vote_levels, 0, None)
        for name in ("weight_parallel", "digital_adc"):
            check_flag(f"`macro.{name}`", getattr(self, name))
        share = supply_share(self.full_scale_mv)
        if share is not None and share[1] is None:
            raise ValueError(
                f"`macro.full_scale_mv` must have its supply, such as '{share[0]:g} of 900 mV' (a recipe's "
                f"model.plan.macro takes that of its technology), got {self.full_scale_mv!r}"
            )
        scale = self.full_scale_mv if share is None else self.swing_mv
        capacitor = self.unit_capacitor_ff
        for name, value, unit in (("full_scale_mv", scale, "mV"), ("unit_capacitor_ff", capacitor, "fF")):
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 < value < math.inf):  # type: ignore[operator]
                also = " or null" if unit == "fF" else ", a share of the supply such as '0.8 of 900 mV', or null"
                given = getattr(self, name)
                raise ValueError(f"`macro.{name}` must be a positive number of {unit}{also}, got {given!r}")

    def _check_converters(self) -> None:
        for name in self.converter_deviations(1.0):
            if self.adc_bits is None and self.static.is_set(name):
                given = getattr(self.static, name)
                raise ValueError(
                    f"`macro.static.{name}` needs a converter with codes, got {given!r} with adc_bits null"
                )
        if self.adc_step is None or not (self.encoding_bits > 1 or self.weight_parallel):
            return
        for name in ("offset", "trim_step"):
            value = getattr(self.static, name)
            number, _ = quantity(value) or (0.0, "")
            if number and not is_in_lsb(value):
                raise ValueError(
                    f"`macro.static.{name}` must be in lsb with `macro.adc_step` and several bits a cycle, because "
                    f"the full scale depends on cycle and input, got {value!r}"
                )

    def _check_static(self) -> None:
        static, columns = self.static, self.static.columns or 0
        if static.cell_percent and self.column_args.get("cell_sigma"):
            raise ValueError(
                "`macro.static.cell_mismatch` and `column_args.cell_sigma` are the same setting (with reference "
                f"summing); use one, got {static.cell_mismatch!r} and {self.column_args['cell_sigma']!r}"
            )
        table = static.inl_table
        if table is not None and self.adc_bits is not None:
            codes = 2**self.adc_bits - self.weight_parallel
            if len(table) != codes:
                raise ValueError(
                    f"`macro.static.inl` must have a number for each of the {codes} codes of the ADC, got {len(table)}"
                )
            if max(map(abs, table)) > codes / 2:
                raise ValueError(
                    f"`macro.static.inl` must be at most half of the {codes} codes, got {max(table, key=abs):g} LSB"
                )
        if static.is_reused and not self.weight_parallel and columns < self.weight_bits:
            raise ValueError(
                f"`macro.static.columns` must be at least `macro.weight_bits`, {self.weight_bits}, got {columns}"
            )

    def _check_combinations(self) -> None:
        check_choice("`macro.vote`", self.vote, VOTES)
        check_choice("`macro.weight_coding`", self.weight_coding, WEIGHT_CODINGS)
        ideal, votes = self.adc_bits is None, self.vote_levels > 0 and self.votes > 1
        has_step, parallel = self.adc_step is not None, self.weight_parallel
        of_ideal = "for an ideal converter (adc_bits null)"
        for refused, name, allowed in (
            (ideal and (self.vote == "median" or (votes and self.vote != "mean")), "vote", f"mean {of_ideal}"),
            (votes and self.vote == "median" and self.votes % 2 == 0, "votes", "odd for a median"),
            (not has_step and self.adc_low, "adc_low", "0 if `macro.adc_step` is null"),
            (has_step and ideal, "adc_step", f"null {of_ideal}"),
            (has_step and self.digital_adc, "adc_step", "null with digital_adc"),
            (parallel and self.adc_low, "adc_low", "0 with weight_parallel"),
            (parallel and self.adc_bits == 1, "adc_bits", "2..16 or null with weight_parallel"),
            (parallel and self.encoding_bits != 1, "encoding_bits", "1 with weight_parallel"),
            (parallel and self.digital_levels, "digital_levels", "0 with weight_parallel"),
            (parallel and self.weight_coding != "plain", "weight_coding", "plain with weight_parallel"),
        ):
            if refused:
                raise ValueError(f"`macro.{name}` must be {allowed}, got {getattr(self, name)!r}")
