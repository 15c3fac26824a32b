"""Limits of the properties of a macro: a table and a picture."""

from collections.abc import Sequence

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.units import noise_percent
from asim_lightning.evaluation.target import Limit
from asim_lightning.report.picture import Axis, Picture, Series
from asim_lightning.table import Column, Table

_KEPT, _MISSED = "#7fcfb5", "#eba47c"
_CHARACTER = 0.013
"""Width of a character, of the width of the figure."""


def limits_table(limits: Sequence[Limit], macro: MacroConfig) -> Table[Limit]:
    """The table of limits.

    Args:
        limits: One or more.
        macro: The macro, whose ADC and full scale give the other units of a noise in LSB.
    """
    columns: list[Column[Limit]] = [
        Column("property", lambda row: row.name.replace("_", " "), side="l"),
        Column("kept up to", lambda row: _value(row, row.kept, "no value")),
        Column("missed from", lambda row: _value(row, row.missed, "no value")),
        Column("in other units", lambda row: _in_others(row, macro), side="l"),
        Column("between", _between, side="l"),
    ]
    return Table(columns, limits)


def limits_picture(limits: Sequence[Limit], title: str) -> Picture:
    """A bar a property: values that keep the target, those that are undecided, and those that miss it.

    Args:
        limits: One or more.
        title: Its headline.
    """
    ends = [_shares(each) for each in limits]
    places = [float(place) for place in range(len(limits))]
    parts = [
        ("kept", [kept for kept, _ in ends], _KEPT),
        ("undecided", [missed - kept for kept, missed in ends], "#c8c8c8"),
        ("missed", [1.0 - missed for _, missed in ends], _MISSED),
    ]
    labels = []
    for each, place, (kept, missed) in zip(limits, places, ends, strict=True):
        for value, share, side in ((each.kept, kept, -1), (each.missed, missed, 1)):
            if value is not None:
                text = _value(each, value, "")
                left = share - _CHARACTER * (len(text) + 1) if side < 0 else share
                labels.append((min(max(left, 0.0), 1.0 - _CHARACTER * len(text)), place + 0.3, text))
    return Picture(
        title,
        Axis("", "names", ["harmless", "harmful"], ends=(0.0, 1.0)),
        Axis("", "names", [_name(each) for each in limits]),
        [Series(name, x, places, form="bar", style=0, colour=colour) for name, x, colour in parts],
        labels=labels,
        numbers=[
            ["property", "unit", "kept", "missed", "images_to_decide"],
            *list[list[object]]([each.name, each.unit, each.kept, each.missed, each.images] for each in limits),
        ],
        file="spec.csv",
    )


def _name(limit: Limit) -> str:
    first = next(value for value in limit.rungs if value)
    return f"{limit.name.replace('_', ' ')}, {first:g} to {limit.rungs[-1]:g} {limit.unit}".rstrip()


def _value(limit: Limit, value: float | None, none: str) -> str:
    return none if value is None else f"{value:g} {limit.unit}".rstrip()


def _between(limit: Limit) -> str:
    if limit.is_decided:
        return "nothing"
    if limit.images is None:
        return "undecided, more chips would decide"
    return f"undecided, {'more than the' if limit.is_over else 'about'} {limit.images:,} images would decide"


def _in_others(limit: Limit, macro: MacroConfig) -> str:
    """A noise or offset in LSB as percent of full scale and, if the full scale is known, in mV."""
    if limit.unit != "lsb" or not limit.kept:
        return ""
    percent = noise_percent(f"{limit.kept} lsb", limit.name, macro.codes_of_full_scale, macro.full_scale_mv)
    in_mv = "" if macro.full_scale_mv is None else f", {percent / 100 * macro.full_scale_mv:.3g} mV"
    return f"kept: {percent:.3g} %{in_mv}"


def _shares(limit: Limit) -> tuple[float, float]:
    """Where, of all rungs, values are kept no longer, and where they miss: 0..1."""
    count = len(limit.rungs)
    kept = 0 if limit.kept is None else limit.rungs.index(limit.kept) + 1
    missed = count if limit.missed is None else limit.rungs.index(limit.missed)
    return kept / count, missed / count
