"""Limits of the properties of a macro: a table and a picture."""

from collections.abc import Sequence

from asim_lightning.circuit.units import noise_percent
from asim_lightning.evaluation.target import Limit
from asim_lightning.report.picture import Axis, Picture, Series
from asim_lightning.table import Column, Table

_COLOURS = {"kept": "#7fcfb5", "undecided": "#c8c8c8", "missed": "#eba47c"}


def limits_table(limits: Sequence[Limit], codes: float | None, full_scale_mv: float | None) -> Table[Limit]:
    """The table of limits, for a macro whose full scale has `codes` codes (None: all) and mV (None: not known)."""

    def percent(row: Limit) -> float | None:
        if row.unit != "lsb" or not row.kept:
            return None
        return noise_percent(f"{row.kept} lsb", row.name, codes, full_scale_mv)

    def in_mv(row: Limit) -> float | None:
        share = percent(row)
        return None if share is None or full_scale_mv is None else share / 100 * full_scale_mv

    def in_others(row: Limit) -> str:
        known = ((percent(row), "%"), (in_mv(row), "mV"))
        said = ", ".join(f"{value:.3g} {unit}" for value, unit in known if value is not None)
        return said and f"kept: {said}"

    columns: list[Column[Limit]] = [
        Column("property", _words, {"property": lambda row: row.name, "unit": lambda row: row.unit}, side="l"),
        Column("kept up to", lambda row: _value(row, row.kept), {"kept": lambda row: row.kept}),
        Column("missed from", lambda row: _value(row, row.missed), {"missed": lambda row: row.missed}),
        Column("in other units", in_others, {"kept_percent": percent, "kept_mv": in_mv}, side="l"),
        Column("between", _between, {"images_to_decide": lambda row: row.images}, side="l"),
    ]
    return Table(columns, limits, title="Limits", file="limits.csv")


def limits_words(limits: Sequence[Limit]) -> str:
    """The last surely kept value of each property, in a line."""
    kept = [
        f"{_words(each)} {each.kept:g}" + f" {each.unit}" * (not each.name.endswith(each.unit))
        for each in limits
        if each.kept is not None
    ]
    none = [_words(each) for each in limits if each.kept is None]
    said = {"surely kept up to": kept, "surely kept by no value of": none}
    return "; ".join(f"{head} {', '.join(some)}" for head, some in said.items() if some)


def limits_picture(limits: Sequence[Limit], title: str) -> Picture:
    """A bar for each property from harmless to harmful values: kept, undecided and missed ones."""
    names, parts = [], []
    for each in limits:
        rungs = each.rungs
        kept = 0.0 if each.kept is None else (rungs.index(each.kept) + 1) / len(rungs)
        missed = 1.0 if each.missed is None else rungs.index(each.missed) / len(rungs)
        parts.append((kept, missed - kept, 1.0 - missed))
        ends = ("none" if end is None else f"{end:g}" for end in (each.kept, each.missed))
        names.append(f"{_words(each)}: {' / '.join(ends)} {each.unit}".rstrip())
    bars = [
        Series(name, x, range(len(limits)), form="bar", colour=colour)
        for (name, colour), x in zip(_COLOURS.items(), zip(*parts, strict=True), strict=True)
    ]
    along = Axis("numbers: kept up to / missed from", "names", ["harmless", "harmful"], ends=(0.0, 1.0))
    return Picture(title, along, Axis("", "names", names), bars)


def _words(limit: Limit) -> str:
    return limit.name.replace("_", " ")


def _value(limit: Limit, value: float | None) -> str:
    return "no value" if value is None else f"{value:g} {limit.unit}".rstrip()


def _between(limit: Limit) -> str:
    if limit.is_decided:
        return "nothing"
    if limit.images is None:
        return "undecided, more chips would decide"
    return f"undecided, {'more than the' if limit.is_over else 'about'} {limit.images:,} images would decide"
