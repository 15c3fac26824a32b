"""Noise in the units of circuit design (LSB, percent of full scale, millivolt), and other quantities with a unit."""

import math
import re

NOISE_UNITS = ("%", "lsb", "mV")
_DECIMALS = {"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "": 0}
_UNIT = re.compile(r"(?P<prefix>[afpnum]?)(?P<base>[VFsm])(?P<square>\^2)?")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")


_SHARE = re.compile(r"\s*(\d+\.?\d*|\.\d+) (?:supply|of (.+))")


def supply_share(text: object) -> tuple[float, float | None] | None:
    """Share of a supply, and the supply in V if it is known: "0.8 supply" is 0.8 and None, "0.8 of 900 mV" 0.8 and 0.9.
    None if it is no such text."""
    found = _SHARE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    volts = None if found[2] is None else number_in(found[2], "V")
    return None if found[2] is not None and not volts else (float(found[1]), volts)


def share_of_supply(share: float, volts: float) -> str:
    """A share of a known supply as text, such as "0.8 of 900 mV"."""
    return f"{share:g} of {round(1000 * volts, 9):g} mV"


def number_in(text: str, unit: str) -> float | None:
    """The number of a text such as "28nm" or "4.9 um^2" in a unit: V, fF, ns, nm or um^2. "800 mV" is 0.8 in V. None if
    the text has no such unit."""
    found, wanted = _NUMBER.fullmatch(text), _UNIT.fullmatch(unit)
    given = _UNIT.fullmatch(found[2]) if found else None
    if not found or not given or not wanted or given.group("base", "square") != wanted.group("base", "square"):
        return None
    power = (_DECIMALS[given["prefix"]] - _DECIMALS[wanted["prefix"]]) * (2 if wanted["square"] else 1)
    # dividing by a whole power of ten makes 800 mV exactly 0.8 V
    return float(found[1]) * 10**power if power >= 0 else float(found[1]) / 10**-power


def canonical_quantity(value: float | str) -> float | str:
    """One spelling of a quantity: "0.3LSB" and "0.30 lsb" become "0.3 lsb", "0.2 %" becomes 0.2; other values stay."""
    read = quantity(value)
    if read is None or not isinstance(value, str):
        return value
    number, unit = read
    if unit == "%":
        return number
    return f"{int(number) if number.is_integer() else number} {unit}"


def quantity(value: object) -> tuple[float, str] | None:
    """Number and unit (one of `NOISE_UNITS`) of a noise; a plain number is percent. None if the value is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value), "%"
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    unit = {each.lower(): each for each in NOISE_UNITS}.get(match[2].lower()) if match else None
    return None if match is None or unit is None else (float(match[1]), unit)


def is_in_lsb(value: object) -> bool:
    """Whether a noise is given in LSB."""
    read = quantity(value)
    return read is not None and read[1] == "lsb"


def noise_percent(value: float | str, field: str, codes: float | None, full_scale_mv: float | None) -> float:
    """A noise, such as "0.5 lsb", "1.2 mV" or a number of percent, converted to percent of full scale: 0..100.

    ``percent = 100 * lsb / codes = 100 * mV / full_scale_mv``. `codes`: codes of the full scale; None: an ideal
    converter. `full_scale_mv` None: not known. `field` is the name of the setting.
    """
    read = quantity(value)
    if read is None:
        units = ", ".join(NOISE_UNITS)
        raise ValueError(f"`{field}` must be a number (percent) or a number with a unit of {units}, got {value!r}")
    number, unit = read
    if unit == "lsb":
        if codes is None:
            raise ValueError(f"`{field}` must be in % or mV for an ideal converter (adc_bits null), got {value!r}")
        percent = 100.0 * number / codes
    elif unit == "mV":
        if full_scale_mv is None:
            raise ValueError(f"`{field}` in mV needs `macro.full_scale_mv`, got {value!r} without it")
        percent = 100.0 * number / full_scale_mv
    else:
        percent = number
    if not (math.isfinite(percent) and 0.0 <= percent <= 100.0):
        hint = f"; did you mean '{number:g} lsb'?" if percent > 100 and not isinstance(value, str) and codes else ""
        raise ValueError(f"`{field}` must be 0..100 % of full scale, got {value!r}{hint}")
    return percent
