"""Limits of a spec; the map of the loss and the plans of a doctor: pictures, tables and words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf, isfinite, nan
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from asim_lightning.circuit.units import noise_percent
from asim_lightning.evaluation.loss_map import LossMap, block_of
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.notes import differing_words, images_needed
from asim_lightning.evaluation.results import Decision
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Limit, Target
from asim_lightning.report.html_page import Shown
from asim_lightning.report.labels import cost_text
from asim_lightning.report.picture import COLOURS, GREY, Axis, Grid, Marker, Picture, Series
from asim_lightning.surgery.plan import are_many, kinds_of
from asim_lightning.table import Rows, Table, TableColumn, plain

Row: TypeAlias = Mapping[str, Any]
"""Cells of a row by the names of the CSV's columns; a plan and a finding as in doctor.json."""
_ALONE = "single properties: other noise and spreads are 0 or as given"
_STATES: Mapping[str, tuple[str, Marker]] = {
    "kept": (COLOURS[2], "full"), "undecided": (GREY, "open"), "missed": (COLOURS[1], "cross"),
}  # fmt: skip
"""Colour and marker of a value of a property."""
_DECADE, _MOST_WHOLE = 10.0, 32
"""Ratio of the largest to the smallest value from which an axis is logarithmic, and largest of a few whole numbers."""
_TOLD, _OFF = 0.01, 0.2
"""A note is written from this increase of the loss in nats, and from this difference of the sum of shares."""
PRICES = {"energy": "energy_uj", "digital": "digital_percent"}
"""What plans may have little of, and the column of a plan."""
_SAID = 1.0
"""Least percent of the sum for which the table says where most of the share is."""


def document_parts(run: Run, target: Target) -> tuple[str, Shown]:
    """The verdict of a spec or a doctor, and its figures and tables."""
    found = run.document
    if "limits" in found:
        limits, scale = [Limit.of_json(each) for each in found["limits"]], found["full_scale"]
        drawn = limits_pictures(limits, "How bad each property may be")
        kept = [f"{_words(each)} {_value(each, each.kept)}" for each in limits if each.kept is not None]
        never = [_words(each) for each in limits if each.kept is None]
        said = {"surely kept up to": kept, "by no tried value of": never}
        facts = "; ".join(f"{head} {', '.join(some)}" for head, some in said.items() if some)
        return f"{target}: {facts}; {_ALONE}.", [*drawn, limits_table(limits, scale["codes"], scale["mv"])]
    shown: Shown = [plans_table(found)]
    if run.loss_map is not None:
        shown += [loss_map_table(run.loss_map), *loss_map_pictures(run.loss_map, "Where the answers are lost")]
    return plans_verdict(found), shown


def limits_table(limits: Sequence[Limit], codes: float | None, full_scale_mv: float | None) -> Table[Limit]:
    """The table of limits, for a macro whose full scale has `codes` codes (None: all) and mV (None: not known)."""

    def others(row: Limit) -> dict[str, float]:
        """The kept value in other units."""
        if row.unit != "lsb" or not row.kept:
            return {}
        percent = noise_percent(f"{row.kept} lsb", row.name, codes, full_scale_mv)
        return {"%": percent, **({} if full_scale_mv is None else {"mV": percent / 100 * full_scale_mv})}

    def in_others(row: Limit) -> str:
        said = ", ".join(f"{value:.3g} {unit}" for unit, value in others(row).items())
        return said and f"kept: {said}"

    ends = {"kept_percent": lambda row: others(row).get("%"), "kept_mv": lambda row: others(row).get("mV")}
    columns: list[TableColumn[Limit]] = [
        TableColumn("property", _words, {"property": lambda row: row.name, "unit": lambda row: row.unit}, side="l"),
        TableColumn("kept up to", lambda row: _value(row, row.kept), {"kept": lambda row: row.kept}),
        TableColumn("missed from", lambda row: _value(row, row.missed), {"missed": lambda row: row.missed}),
        TableColumn("in other units", in_others, ends, side="l"),
        TableColumn("between", _between, {"images_to_decide": lambda row: row.images}, side="l"),
    ]
    return Table(columns, limits, _ALONE, "Limits", "limits.csv")


def limits_pictures(limits: Sequence[Limit], title: str) -> list[Picture]:
    """A row of points for each property: the values that may be tried, and whether the target is kept there."""
    pictures: list[Picture] = []
    for limit in limits:
        kept, missed = limit.places
        parts = {"kept": slice(0, kept + 1), "undecided": slice(kept + 1, missed), "missed": slice(missed, None)}
        series = []
        for (state, (colour, marker)), part in zip(_STATES.items(), parts.values(), strict=True):
            values = limit.rungs[part]
            name = state * (not pictures)  # one legend is enough
            texts = [f"{state}: {value:g} {limit.unit}" for value in values]
            series.append(Series(name, values, [0.0] * len(values), colour=colour, marker=marker, texts=texts))
        ends = [f"kept up to {_value(limit, limit.kept)}" if limit.kept is not None else "kept by no value"]
        ends.append(f"missed from {_value(limit, limit.missed)}" if limit.missed is not None else "missed by no value")
        along = replace(_axis_of(limit), label=", ".join(ends))
        pictures.append(Picture(title * (not pictures), along, Axis("", "names", [_words(limit)]), series))
    return pictures


def _axis_of(limit: Limit) -> Axis:
    """The axis of a property: logarithmic if its values span a decade and are no few whole numbers; harmless values are
    on the left."""
    first, last = limit.rungs[0], limit.rungs[-1]
    positive = sorted(value for value in limit.rungs if value > 0)
    are_few = max(first, last) <= _MOST_WHOLE and all(float(value).is_integer() for value in limit.rungs)
    if not are_few and positive and positive[-1] >= _DECADE * positive[0]:
        scale: Literal["log", "symlog"] = "symlog" if 0 in limit.rungs else "log"
        factor = 1.3 if last > first else 1 / 1.3
        return Axis("", scale, least=positive[0], ends=None if scale == "symlog" else (first / factor, last * factor))
    aside = 0.05 * (last - first)
    return Axis("", ticks=limit.rungs if are_few else (), ends=(first - aside, last + aside) if aside else None)


def _words(limit: Limit) -> str:
    return limit.name.replace("_", " ")


def _value(limit: Limit, value: float | None) -> str:
    return "no value" if value is None else f"{value:g} {limit.unit}".rstrip()


def _between(limit: Limit) -> str:
    if limit.is_decided:
        return "nothing"
    needed = images_needed([Decision("undecided", limit.images, limit.is_over)])
    return f"undecided: {needed or 'more chips would decide'}"


def loss_map_table(found: LossMap) -> Table[Row]:
    """The table of a map: a row for each layer, or of many layers for each kind, the largest share first, and where
    most of it is."""
    note, kinds = _map_note(found), kinds_of(found.layers)
    found = found.by_kind if are_many(found.layers) else found

    def positions(row: Row) -> str:
        first, last, within, percent = row["first_bit"], row["last_bit"], row["percent_in_them"], row["percent"] or 0.0
        if within is None or percent < _SAID:
            return ""
        share = f": {within:.0f} %" if within <= 100 else " (other bits help)"
        return f"{f'bit {first}' if first == last else f'bits {first} to {last}'}{share}"

    rows: list[Row] = [
        {
            "layer": name, "layers": len(kinds.get(name, [name])), "share": share,
            "percent": 100 * share / found.sum if found.sum > 0 else None,
            **_most_of(found.layers[name]),
        }
        for name, share in found.by_layer.items()
    ]  # fmt: skip
    columns: list[TableColumn[Row]] = [
        plain("layer", itemgetter("layer"), "l"),
        TableColumn("layers", lambda row: str(row["layers"]) * (row["layers"] > 1), _cells("layers")),
        TableColumn("share\n(nats)", lambda row: _cell(row["share"], 4), _cells("share")),
        TableColumn("of the\nsum (%)", lambda row: _cell(row["percent"], 1), _cells("percent")),
        TableColumn("most of it in", positions, _cells("first_bit", "last_bit", "percent_in_them"), side="l"),
    ]
    columns = [each for each in columns if each.head != "layers" or any(row["layers"] > 1 for row in rows)]
    return Table(columns, rows, note, "Shares of layers", "layers_map.csv")


def loss_map_pictures(found: LossMap, title: str) -> list[Picture]:
    """Heat maps: of layers, in the order of the network, and bit positions; of many layers one of kinds of layers and
    bit positions, and one of kinds and blocks."""
    if not are_many(found.layers):
        return [_positions_picture(found, title)]
    kinds, shares, total = kinds_of(found.layers), found.by_layer, _total(found)
    blocks = list(dict.fromkeys(map(block_of, found.layers)))
    cells = [
        [100 * sum(shares[name] for name in names if block_of(name) == block) / total for block in blocks]
        for names in kinds.values()
    ]
    of_positions = replace(_positions_picture(found.by_kind, title), numbers=_positions_picture(found, title).numbers)
    of_blocks = _heat_map("", Axis("block", "names", blocks), list(kinds), cells)
    numbers: Rows = [["layer", "share"], *([name, share] for name, share in shares.items())]
    return [of_positions, replace(of_blocks, note=_map_note(found), numbers=numbers, file="blocks_map.csv")]


def _positions_picture(found: LossMap, title: str) -> Picture:
    """A heat map of layers and bit positions."""
    count, total = max(map(len, found.layers.values())), _total(found)
    percents = ([100 * share / total for share in shares] for shares in found.layers.values())
    cells = [row + [nan] * (count - len(row)) for row in percents]
    numbers: Rows = [["layer", "bit", "share"]]
    numbers += [[name, bit, share] for name, shares in found.layers.items() for bit, share in enumerate(shares)]
    bits = Axis("bit position (weight bit + input digit), 0: least significant", "names", [*map(str, range(count))])
    drawn = _heat_map(title, bits, list(found.layers), cells)
    return replace(drawn, note=_map_note(found), numbers=numbers, file="map.csv")


def _total(found: LossMap) -> float:
    return found.sum if found.sum > 0 else nan


def _heat_map(title: str, x: Axis, rows: Sequence[str], cells: Sequence[Sequence[float]]) -> Picture:
    """A heat map of shares in percent of the sum. # (rows, columns)"""
    texts = [["" if (text := f"{value:.0f}") in ("0", "-0", "nan") else text for value in row] for row in cells]
    known = [0.0, *(value for row in cells for value in row if isfinite(value))]
    grid = Grid(cells, texts, "share of the sum (%)", (min(known), max(known) or 1.0))
    return Picture(title, x, Axis("", "names", rows), grid=grid)


def _cell(number: float | None, digits: int) -> str:
    return "" if number is None else f"{round(number, digits) + 0.0:.{digits}f}"  # avoids -0.0


def _most_of(shares: Sequence[float]) -> Row:
    """The fewest adjacent positions with most of a layer's share: the first, the last, and their percent."""
    names, total = ("first_bit", "last_bit", "percent_in_them"), sum(shares)
    for width in range(1, len(shares) + 1) if len(shares) > 1 and total > 0 else ():
        within, first = max((sum(shares[start : start + width]), start) for start in range(len(shares) - width + 1))
        if within > total / 2:
            return dict(zip(names, (first, first + width - 1, 100 * within / total), strict=True))
    return dict.fromkeys(names)


def _map_note(found: LossMap) -> str:
    """How the sum of the shares compares with the increase, and the images and noise of the map."""
    said = f"shares sum up to {found.sum:.4g} nats; the macro adds {found.increase:.4g} to the mean loss"
    said += f" ({found.images:,} images)"
    if found.increase > _TOLD and abs(found.sum / found.increase - 1) > _OFF:
        said += "; the sum is far off, so take the order of the layers with care"
    if found.increase <= _TOLD:
        said += "; that is too little to rank layers by"
    else:
        said += ". A share is a mean over errors of all sizes: mending one layer alone may gain more than its share"
    if found.stepped_back_to is None:
        return said
    return f"{said}; of noise and spreads times {found.stepped_back_to:.3g}, because the network has collapsed"


def plans_table(found: Row) -> Table[Row]:
    """The macro as it is and the plans; the cheapest plan that keeps the target is highlighted."""
    target, plans = Target.read(found["target"], "`target`"), [found["as_is"], *found["plans"]]
    measure, is_change = _measure(found, target), target.of is not None
    unit = _unit(target, measure)
    number = measure.plain_change if is_change else measure.plain

    def cell(name: str) -> Callable[[Row], float | None]:
        return lambda row: None if row[name] is None else number(row[name])

    columns: list[TableColumn[Row]] = [
        plain("plan", itemgetter("text"), "l"),
        TableColumn("energy", partial(cost_text, "energy_uj"), _cells("energy_uj", "energy_uj_low", "energy_uj_high")),
        TableColumn(
            "\n".join([_measured(target), *([f"({unit})"] if unit else [])]),
            lambda row: _interval(row, target, measure),
            {name: cell(name) for name in ("mean", "low", "high", "threshold")},
        ),
        TableColumn("target", itemgetter("verdict"), _cells("verdict"), side="l"),
        TableColumn("would\ndecide", lambda row: _deciding(row, target), _cells("images_to_decide")),
        TableColumn("file", lambda row: row["file"] or "", _cells("file"), side="l"),
    ]
    if any(map(_digital, plans)):
        columns.insert(
            2, TableColumn("digital\n(%)", lambda row: f"{_digital(row):.3g}", {"digital_percent": _digital})
        )
    bound = "at most" if found["as_is"].get("less_is_better") else "at least"
    text = measure.change_text if is_change else measure.text
    least = f"{text(found['as_is']['threshold'])} {unit}".rstrip()
    note = f"kept: the whole interval is {bound} {least}"
    cheapest = _cheapest(plans, found.get("least", "energy"))
    plans += [digital] if (digital := found.get("digital")) else []
    marked = [place for place, each in enumerate(plans) if each is cheapest]
    return Table(columns, plans, note, f"Plans for {target}", "plans.csv", marked)


def _digital(plan: Row) -> float:
    """Percent of the products of bits on macros that are digital."""
    return float(plan.get("digital_percent", 0.0))


def plans_verdict(found: Row) -> str:
    """The cheapest plan that keeps the target, next to the macro as it is; if no plan does, the nearest."""
    target, as_is = Target.read(found["target"], "`target`"), found["as_is"]
    measure, plans = _measure(found, target), [as_is, *found["plans"]]
    least = found.get("least", "energy")
    best = _cheapest(plans, least)
    facts = [f"the macro as it is: {as_is['verdict']} ({_numbers(as_is, target, measure)})"]
    if best is None:
        is_doubtful = as_is["verdict"] == "undecided"  # then another macro may not be needed
        nearest = as_is if is_doubtful else max(plans, key=_excess)
        facts.append("no plan surely keeps it")
        if nearest is not as_is:
            facts.append(f"nearest is {nearest['text']}, {nearest['verdict']} ({_numbers(nearest, target, measure)})")
        if needed := _deciding(nearest, target):
            facts.append(f"{needed} would decide it")
    elif best is not as_is:
        which = "cheapest" if least == "energy" else f"fewest digital products ({_digital(best):.3g} %)"
        facts.append(f"{which} that keeps it: {best['text']} ({_numbers(best, target, measure)})")
    if digital := found.get("digital"):
        facts.append(f"{digital['text']} takes {cost_text('energy_uj', digital)}, {digital['verdict']}")
    return f"{target}: {'; '.join(facts)}."


def _excess(plan: Row) -> float:
    """How much the worse end of a plan's interval exceeds the target."""
    is_less = plan.get("less_is_better", False)
    end = plan["high" if is_less else "low"]
    if end is None:
        return -inf
    return float(plan["threshold"] - end if is_less else end - plan["threshold"])


def _cheapest(plans: Sequence[Row], least: str) -> Row | None:
    kept = (each for each in plans if each["verdict"] == "kept")
    return min(kept, key=lambda each: each.get(PRICES[least], 0.0), default=None)


def _measured(target: Target) -> str:
    if target.form == "yield":
        return f"yield at {100 * target.accuracy:g} %"
    return target.name if target.of is None else f"difference to {target.of}"


def _measure(found: Row, target: Target) -> Measure:
    """The measure of a doctor's outcome; of a yield that of a share."""
    return Measure(target.name, found.get("shown_as") or ("percent" if target.is_of_share else "number"))


def _unit(target: Target, measure: Measure) -> str:
    """The unit of a measured share, or of the difference of two outcomes; may be empty."""
    return measure.change_unit if target.of is not None else "%" * measure.is_share


def _interval(plan: Row, target: Target, measure: Measure) -> str:
    mean, *ends = plan["mean"], plan["low"], plan["high"]
    low, high = (inf if end is None else end for end in ends)  # JSON has no number for a missing bound
    if target.of is None:
        return f"{measure.text(mean)} {measure.interval(low, high)}"
    return f"{measure.change_text(mean)} {measure.change_interval(low, high)}"


def _numbers(plan: Row, target: Target, measure: Measure) -> str:
    numbers = f"{_measured(target)} {_interval(plan, target, measure)} {_unit(target, measure)}".rstrip()
    few = differing_words(plan.get("differing"))
    return ", ".join(filter(None, [numbers, few, cost_text("energy_uj", plan)]))


def _deciding(plan: Row, target: Target) -> str:
    """How many images or chips would decide a plan; empty if it is decided."""
    needed, what = plan["images_to_decide"], "chips" if target.form == "yield" else "images"
    about = f"more {what}{' or chips' * (what == 'images')}" if needed is None else f"about {needed:,} {what}"
    return about if plan["verdict"] == "undecided" else ""


def _cells(*names: str) -> dict[str, Callable[[Row], object]]:
    return {name: itemgetter(name) for name in names}
