"""Noise and offsets in LSB, at the voltage that they have with another ADC."""

from asim_lightning.circuit.fields import settings_of
from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.schedule import schedule
from asim_lightning.circuit.static import StaticEffects
from asim_lightning.circuit.units import canonical_quantity, quantity

NOISE_IN = ("written", "volts")
"""What a noise in LSB means if bits or range of the ADC change: that many LSB of each ADC, or one voltage."""
NOISE_AXES = tuple(name for name, each in settings_of(MacroConfig).items() if each.has_units)
"""Fields with noise of each conversion."""
_SPREADS = tuple(f"static.{name}" for name, each in settings_of(StaticEffects).items() if each.has_units)
IN_VOLTS = (*NOISE_AXES, *_SPREADS)
"""Fields with a unit, so that they may be in LSB, by the name of their axis."""


def at_voltage_of(macro: MacroConfig, before: MacroConfig, signed_input: bool) -> dict[str, float | str]:
    """Noise, offset and trim step of a macro in LSB, for the voltage of as many LSB of the macro before.

    A voltage is a share of the full scale of the array: all rows with the largest input of a cycle. Percents stay; an
    LSB of an ADC range with `adc_step` is a number of counts.

    Args:
        macro: The macro with other bits or another range of the ADC.
        before: The macro in whose LSB the noise is meant.
        signed_input: Whether the inputs are signed.

    Returns:
        The fields of `macro` to change, by the name of their axis, in percent of full scale or in its own LSB.

    Raises:
        ValueError: The macro before has no ADC, so that an LSB has no voltage.
    """
    values = {name: getattr(macro, name) for name in NOISE_AXES}
    values |= {name: getattr(macro.static, name.removeprefix("static.")) for name in _SPREADS}
    found, codes, had_step = dict[str, float | str](), _codes(before, signed_input), before.adc_step is not None
    has_step, own_codes = macro.adc_step is not None, _codes(macro, signed_input)
    if (own_codes, has_step) == (codes, had_step):
        return {}
    for name, value in values.items():
        number, unit = quantity(value) or (0.0, "")
        if not number or unit != "lsb":
            continue
        if codes is None or own_codes is None:
            raise ValueError(f"`macro.{name}` must be in % or mV to keep its voltage without an ADC, got {value!r}")
        # noise in percent is the same share of each cycle's full scale, and noise in LSB the same number of counts
        in_counts = has_step and (had_step or name in _SPREADS)
        found[name] = canonical_quantity(f"{number / codes * own_codes} lsb") if in_counts else 100 * number / codes
    return found


def with_adc_range(macro: MacroConfig, signed_input: bool, step: int, low: int) -> MacroConfig:
    """A macro with another range of its ADC (`adc_step`, `adc_low`), and with the same noise in volts."""
    written = macro.with_fields(adc_step=step, adc_low=low)
    return written.with_fields(**at_voltage_of(written, macro, signed_input))


def _codes(macro: MacroConfig, signed_input: bool) -> float | None:
    """Codes of the full scale of the array; None for an ideal converter."""
    if macro.adc_step is None:
        return macro.top_code
    return max(cycle.full_scale for cycle in schedule(macro, signed_input)) / macro.adc_step
