"""Levels of a macro's noise: as written by the user, as noise of a network, and in a CSV file with accuracies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asim_lightning.checks import check_choice
from asim_lightning.circuit.units import canonical_quantity, noise_percent
from asim_lightning.circuit.voltage import NOISE_AXES
from asim_lightning.evaluation.results import AxisValue, Result, axis_text, noise_unit
from asim_lightning.nn import Assignment
from asim_lightning.table import Rows

FIELDS = (
    "epoch", "step", "level", "percent", "lsb", "accuracy", "low", "high", "images", "trials", "seconds"
)  # fmt: skip
"""Columns of the file."""
_DIGITS = 9  # decimals: the same level on two macros may differ in its last bit


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level on the macros of a network.

    Attributes:
        value: As the user wrote it.
        percent: Percent of full scale; None if it differs between macros.
        lsb: Steps of the ADC; None if it differs, or if a converter is ideal.
        place: The position of the level on a chart: as written if all levels share LSB or mV, else percent, to four
            digits, if it has one.
    """

    value: float | str
    percent: float | None
    lsb: float | None
    place: AxisValue


def level_name(value: float | str) -> str:
    """A level in the name of a metric, percent without a unit: 0.1, 0.5lsb, 1.2mV."""
    written = canonical_quantity(value)
    return "".join(written.split()) if isinstance(written, str) else axis_text(written)


def checked_levels(levels: Sequence[float | str], axis: str) -> tuple[float | str, ...]:
    """The levels, each once; refuses an axis that is not noise, and levels that no macro takes."""
    check_choice("`axis` of NoiseSweep", axis, NOISE_AXES)
    if not levels:
        raise ValueError(f"`levels` of NoiseSweep must be a list of one or more noise levels, got {levels!r}")
    for level in levels:
        # unlimited converter and full scale: the network decides later whether the unit fits
        noise_percent(level, "levels", 2**16, 1e9)
    return tuple({level_name(level): level for level in levels}.values())


def levels_on(assignments: Iterable[Assignment], axis: str, levels: Sequence[float | str]) -> list[NoiseLevel]:
    """The levels on the macros of a network, from the weakest to the strongest if they can be ordered.

    A level applies to the layers that take it; layers whose rule decides the noise stay as they are.
    """
    follow = [each for each in dict.fromkeys(assignments) if axis not in each.ruled]
    if not follow:
        raise ValueError(
            f"NoiseSweep changes nothing, because `plan.rules`, or learnt ranges of ADCs with noise in LSB, decide "
            f"`{axis}` for every layer on a macro; write `macro.{axis}` in % of full scale, and not in rules"
        )
    found, in_percent = [], noise_unit(levels) in ("%", None)
    for level in levels:
        changed = [assignment.changed(**{axis: level}).macro for assignment in follow]
        percents = [getattr(macro, f"{axis}_percent") for macro in changed]
        codes = [macro.codes_of_full_scale for macro in changed]
        steps = [percent * top / 100 for percent, top in zip(percents, codes, strict=True) if top is not None]
        percent, lsb = _one(percents), _one(steps) if len(steps) == len(changed) else None
        place = level if percent is None or not in_percent else float(f"{percent:.4g}")
        found.append(NoiseLevel(level, percent, lsb, place))
    are_ordered = all(each.percent is not None for each in found)
    return sorted(found, key=lambda each: each.percent or 0.0) if are_ordered else found


def _one(values: Sequence[float]) -> float | None:
    """The value, if all are the same."""
    distinct = {round(value, _DIGITS) for value in values}
    return distinct.pop() if len(distinct) == 1 else None


def rows_of(epoch: int, step: int, levels: Sequence[NoiseLevel], results: Sequence[Result]) -> Rows:
    """The rows of one sweep in the file."""
    rows: Rows = []
    for level, row in zip(levels, results, strict=True):
        means = (f"{number:.6f}" for number in row.plain)
        lsb = ("" if value is None else f"{value:.6g}" for value in (level.percent, level.lsb))
        rows.append([epoch, step, level.value, *lsb, *means, row.images, row.trials, f"{row.seconds:.3f}"])
    return rows
