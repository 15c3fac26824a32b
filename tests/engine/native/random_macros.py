"""Random macros: bits, rows, ADC, encoding, noise, votes, columns of all kinds and static effects."""

from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig
from asim_lightning.circuit.columns import Droop

_ROWS = (1, 2, 3, 4, 7, 9, 15, 16, 17, 20, 31, 32, 33, 63, 64, 65, 90, 100, 127, 128, 200, 255, 256, 300)
_EXACT = ((255, 1, 8), (85, 1, 8), (15, 1, 4), (7, 1, 3), (3, 1, 8), (1, 1, 4), (85, 2, 8), (21, 2, 6), (9, 3, 6))
"""Rows, encoding bits and ADC bits of macros whose codes are counts."""


class Wavy(Column):
    """A column whose levels are no formula."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Up to 0.2 codes more."""
        return super().level(count, cycle) + 0.2 * torch.sin(count.float()) ** 2


class Lifted(Column):
    """A column that reads a code of 1 at count 0, with noise at large counts alone."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """More by an LSB."""
        return super().level(count, cycle) + 1.0

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """0 below a sixteenth of the full scale."""
        return (count > cycle.full_scale / 16).float() * super().sigma(count, cycle)


class Sagging(Column):
    """A column whose level falls with the driven rows, at count 0, too, and whose noise rises."""

    def level(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        """Less by up to 3 LSB."""
        return super().level(count, cycle) + 2.0 - 5.0 * driven / self.macro.rows

    def sigma(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        """Up to twice the noise."""
        return super().sigma(count, cycle) * (1.0 + driven / self.macro.rows)


class Sinking(Droop):
    """A droop of another law, by the square of the driven rows, with noise of its own."""

    def left(self, driven: Tensor) -> Tensor:
        """Less by up to a tenth."""
        return 1.0 - 0.1 * (driven / self.macro.rows) ** 2

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Less for larger counts."""
        return super().sigma(count, cycle) * (1.0 - 0.5 * count / cycle.full_scale)


class Shivering(Column):
    """A column whose noise alone depends on the driven rows; without them it has none."""

    def sigma(self, count: Tensor, driven: Tensor, cycle: Cycle) -> Tensor:  # type: ignore[override]
        """Up to the usual noise."""
        return super().sigma(count, cycle) * (driven / self.macro.rows)


def random_macro(draw: Random, column_file: Path) -> MacroConfig:
    """A macro; a measured column is written to a file."""
    settings = _fields(draw)
    _add_column(draw, settings, column_file)
    return MacroConfig(**settings, static=_static(draw, settings))


def _fields(draw: Random) -> dict[str, Any]:
    """Fields of a macro, its column and static effects aside."""
    adc_bits: int | None
    if is_exact := draw.random() < 0.35:
        rows, encoding, adc_bits = draw.choice(_EXACT)
        input_bits = draw.choice([encoding * n for n in (1, 2, 3, 4)])
    else:
        rows, input_bits = draw.choice(_ROWS), draw.choice([1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 8, 9, 12])
        encoding = min(input_bits, draw.choice([1, 1, 1, 2, 2, 3, 4, 4, 5, 8, 10]))
        adc_bits = draw.choice([*range(1, 11), 5, 6, 8, 8, 12])
    found: dict[str, Any] = {
        "weight_bits": draw.choice([2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 9, 12, 16]),
        "input_bits": input_bits, "rows": rows, "adc_bits": adc_bits, "encoding_bits": encoding,
    }  # fmt: skip
    if draw.random() < 0.04 and not is_exact:
        found |= draw.choice([{"weight_bits": 4, "adc_bits": 16}, {"weight_bits": 3, "input_bits": 16}])
    kind = draw.random()
    if kind < 0.01:
        found["adc_bits"] = None
    elif kind < 0.02 and adc_bits != 1:
        found |= {"weight_parallel": True, "encoding_bits": 1}
    elif kind < 0.3 and not is_exact:
        found |= {"adc_step": draw.choice([1, 1, 2, 3, 4, 5, 8])}
        found |= {"adc_low": draw.choice([0, 0, 1, 3, 7, 20])} if draw.random() < 0.5 else {}
    plain = found["adc_bits"] is not None and not found.get("weight_parallel")
    if plain and draw.random() < 0.2:
        found |= {"digital_levels": draw.choice([1, 2, 3, 5, 99])}
        found |= {"digital_adc": "adc_step" not in found and draw.random() < 0.5}
    if plain and draw.random() < 0.25:
        rule = draw.choice(["mode", "mean", "median"])
        votes = draw.choice([2, 3, 4, 5, 8, 65] if draw.random() < 0.1 else [2, 3, 4])
        found |= {"vote_levels": draw.choice([1, 2, 4, 99]), "vote": rule, "votes": votes | (rule == "median")}
    if draw.random() < 0.3 and not found.get("weight_parallel"):
        found["weight_coding"] = "flip"
    is_noisy = draw.random() < 0.5
    for name in ("random_noise", "nonlinear_noise"):
        if is_noisy and draw.random() < 0.65:
            in_lsb = _lsb(found, draw.choice([0.02, 0.1, 0.3, 0.6, 2.0])) if plain else ""
            found[name] = draw.choice([in_lsb, 0.01, 0.05, 0.2, 1.0, 5.0]) if plain else 0.2
    return found


def _add_column(draw: Random, settings: dict[str, Any], file: Path) -> None:
    """Adds a column to the fields of a macro."""
    kind = draw.choice(
        ["charge"] * 5 + ["current", "measured", "Wavy", "Lifted", "droop", "Sagging", "Sinking", "Shivering"]
    )
    if kind == "droop":
        settings |= {"column": "droop", "column_args": {"k": draw.choice([1e-3, 0.02, 0.3])}}
    if kind == "current":
        settings |= {"column": "current", "column_args": {"alpha": draw.choice([0.0, 1e-4, 1e-3])}}
    if kind in ("charge", "current", "droop") and settings["adc_bits"] is not None and draw.random() < 0.3:
        shared = {"gain": draw.choice([1.0, 0.97, 1.2]), "offset": draw.choice([0.0, -0.4, 0.3])}
        settings["column_args"] = settings.get("column_args", {}) | shared
    elif kind in ("Wavy", "Lifted", "Sagging", "Sinking", "Shivering"):
        settings |= {"column": f"{__name__}.{kind}"}
        for name in ("random_noise", "nonlinear_noise"):  # a sigma of its own takes no LSB of an ADC with a step
            settings[name] = 0.3 if isinstance(settings.get(name), str) else settings.get(name, 0.0)
    elif kind == "measured" and settings["adc_bits"] is not None and not settings.get("weight_parallel"):
        for name in ("adc_step", "adc_low", "random_noise", "nonlinear_noise"):
            settings.pop(name, None)
        settings |= {"encoding_bits": 1, "rows": min(settings["rows"], 100), "column": "measured"}
        curves = draw.choice([1] * 9 + [2])
        file.write_text(_measured(draw, settings, curves))
        settings["column_args"] = {"file": str(file)} | ({"converter": "each"} if curves > 1 else {})


def _measured(draw: Random, settings: dict[str, Any], curves: int) -> str:
    """A file of means and deviations: of one code, or of two that are as frequent."""
    top, lines = 2 ** settings["adc_bits"] - 1, ["count,mean,std" + ",column" * (curves > 1)]
    noisy = draw.choice([0.0, 0.5])
    for curve in range(curves):
        for count in range(settings["rows"] + 1):
            code = round(top * count / settings["rows"])
            half = 0.5 if code < top and draw.random() < noisy else 0.0
            lines.append(f"{count},{code + half},{half}" + f",{curve}" * (curves > 1))
    return "\n".join(lines)


def _static(draw: Random, settings: dict[str, Any]) -> dict[str, Any]:
    """Static effects, more often small ones, for rare errors."""
    found: dict[str, Any] = {}
    adc_bits = settings["adc_bits"]
    is_exact = (settings["rows"], settings["encoding_bits"], adc_bits) in _EXACT
    if adc_bits is not None and draw.random() < (0.65 if is_exact else 0.4):
        small = draw.random() < 0.5
        if draw.random() < 0.7:
            found["offset"] = _lsb(settings, draw.choice([0.04, 0.1] if small else [0.3, 0.6, 1.5]))
        if draw.random() < 0.4:
            found["gain"] = draw.choice([0.05, 0.2] if small else [1.0, 4.0])
        if draw.random() < 0.4 and adc_bits <= 8 and not settings.get("weight_parallel") and draw.random() < 0.4:
            found["inl"] = [draw.uniform(-0.4, 0.4) * min(1, 2 ** (adc_bits - 2)) for _ in range(2**adc_bits)]
        elif draw.random() < 0.4:
            found["inl"] = draw.choice([0.3, 0.7] if small else [2.0, 10.0])
        found["columns_per_adc"] = draw.choice([1, 1, 2, 3, 8])
        if draw.random() < 0.3:
            found |= {"trim": draw.choice(["offset", "gain", "both"])}
            found |= {"trim_step": _lsb(settings, draw.choice([0.0, 0.25]))}
    if draw.random() < 0.15:
        found |= {"stuck_at_0": draw.choice([0.0, 0.1]), "stuck_at_1": draw.choice([0.01, 0.2])}
    if draw.random() < 0.12:
        found["cell_mismatch"] = draw.choice(["0.5 %", "3 %", "30 %"])
        found["reference"] = draw.choice(["ratiometric", "ratiometric", "summing", "absolute"])
        if found["reference"] == "absolute" and settings.get("weight_parallel"):
            found["reference"] = "summing"
    if found and draw.random() < 0.3:
        columns = settings["weight_bits"] * draw.choice([1, 2, 5]) + draw.choice([0, 1])
        found |= {"placement": "reuse", "macros": draw.choice([1, 2, 3]), "columns": columns}
    return found


def _lsb(settings: dict[str, Any], number: float) -> str:
    """So many LSB, or nearly the full scale where that is less."""
    full = settings["rows"] / settings["adc_step"] if "adc_step" in settings else 2 ** settings["adc_bits"] - 1
    return f"{min(number, 0.9 * full):.3g} lsb"
