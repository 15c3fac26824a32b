"""Limits of a spec; the map of the loss and the plans of a doctor: pictures, tables and words."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from operator import itemgetter
from typing import Any, TypeAlias

from asim_lightning.circuit.units import noise_percent
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import Decision, Measure, images_needed
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Limit, Target
from asim_lightning.report.html_page import Shown
from asim_lightning.report.labels import cost_text
from asim_lightning.report.picture import Axis, Grid, Picture, Series
from asim_lightning.table import Column, Rows, Table, plain

Plan: TypeAlias = Mapping[str, Any]
"""A plan as in doctor.json."""
Share: TypeAlias = tuple[str, float]
"""A layer, or several in one row, and the share of the loss increase, nats."""
_COLOURS = {"kept": "#7fcfb5", "undecided": "#c8c8c8", "missed": "#eba47c"}
_MOST_ROWS = 15
_LEAST = 0.5
"""Least percent that is written into a cell."""
_SAID = 1.0
"""Least percent of the sum for which the table says where most of the share is."""


def document_parts(run: Run, target: Target) -> tuple[str, Shown]:
    """The verdict of a spec or a doctor, and its figures and tables."""
    found = run.document
    if "limits" in found:
        limits, scale = [Limit.of_json(each) for each in found["limits"]], found["full_scale"]
        drawn = limits_picture(limits, "How bad each property may be")
        return f"{target}: {limits_words(limits)}.", [drawn, limits_table(limits, scale["codes"], scale["mv"])]
    shown: Shown = [plans_table(found), findings_table(found) if found["findings"] else None]
    if run.loss_map is not None:
        shown += [loss_map_table(run.loss_map), loss_map_picture(run.loss_map, "Where the answers are lost")]
    return plans_verdict(found), shown


def limits_table(limits: Sequence[Limit], codes: float | None, full_scale_mv: float | None) -> Table[Limit]:
    """The table of limits, for a macro whose full scale has `codes` codes (None: all) and mV (None: not known)."""

    def percent(row: Limit) -> float | None:
        is_in_lsb = row.unit == "lsb" and row.kept
        return noise_percent(f"{row.kept} lsb", row.name, codes, full_scale_mv) if is_in_lsb else None

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
    needed = images_needed([Decision("undecided", limit.images, limit.is_over)])
    return f"undecided, {needed or 'more chips would decide'}"


def loss_map_table(found: LossMap) -> Table[Share]:
    """The table of a map: a row for each layer, the largest share first, and where most of it is."""

    def percent(row: Share) -> float | None:
        return 100 * row[1] / found.sum if found.sum > 0 else None

    def most(row: Share) -> tuple[int | None, int | None, float | None]:
        return _most_of(found.layers.get(row[0], ()))

    def positions(row: Share) -> str:
        first, last, within = most(row)
        if within is None or (percent(row) or 0.0) < _SAID:
            return ""
        where = f"bit {first}" if first == last else f"bits {first} to {last}"
        return f"{where}: {within:.0f} %"

    shares = list(found.by_layer.items())
    rest = [share for _, share in shares[_MOST_ROWS:]]
    if rest:
        shares = [*shares[:_MOST_ROWS], (f"{len(rest)} other layer{'s' * (len(rest) > 1)}", sum(rest))]
    ends: dict[str, Callable[[Share], object]] = {
        "first_bit": lambda row: most(row)[0], "last_bit": lambda row: most(row)[1],
        "percent_in_them": lambda row: most(row)[2],
    }  # fmt: skip
    columns: list[Column[Share]] = [
        plain("layer", itemgetter(0), "l"),
        Column("share\n(nats)", lambda row: _cell(row[1], 4), {"share": itemgetter(1)}),
        Column("of the\nsum (%)", lambda row: _cell(percent(row), 1), {"percent": percent}),
        Column("most of it in", positions, ends, side="l"),
    ]
    return Table(columns, shares, _map_note(found), "Shares of layers", "layers_map.csv")


def loss_map_picture(found: LossMap, title: str) -> Picture:
    """A heat map of layers, in the order of the network, and bit positions."""
    count = max(map(len, found.layers.values()))
    cells = [
        [nan if place >= len(shares) or found.sum <= 0 else 100 * shares[place] / found.sum for place in range(count)]
        for shares in found.layers.values()
    ]
    texts = [[f"{value:.0f}" if abs(value) >= _LEAST else "" for value in row] for row in cells]
    known = [0.0, *(value for row in cells for value in row if isfinite(value))]
    numbers: Rows = [["layer", "bit", "share"]]
    numbers += [[name, bit, share] for name, shares in found.layers.items() for bit, share in enumerate(shares)]
    return Picture(
        title,
        Axis("bit position (weight bit + input digit), 0: least significant", "names", [*map(str, range(count))]),
        Axis("", "names", list(found.layers)),
        grid=Grid(cells, texts, "share of the sum (%)", (min(known), max(known) or 1.0)),
        note=_map_note(found),
        numbers=numbers,
        file="map.csv",
    )


def _cell(number: float | None, digits: int) -> str:
    return "" if number is None else f"{round(number, digits) + 0.0:.{digits}f}"  # avoids -0.0


def _most_of(shares: Sequence[float]) -> tuple[int | None, int | None, float | None]:
    """The fewest adjacent positions with most of a layer's share: the first, the last, and their percent."""
    total = sum(shares)
    if len(shares) < 2 or total <= 0:
        return None, None, None
    for width in range(1, len(shares) + 1):
        within, first = max((sum(shares[start : start + width]), start) for start in range(len(shares) - width + 1))
        if within > total / 2:
            break
    return first, first + width - 1, 100 * within / total


def _map_note(found: LossMap) -> str:
    """How the sum of the shares compares with the increase, and the images and noise of the map."""
    of = [f"{found.images:,} images"] if found.images else []
    if found.stepped_back_to is not None:
        of.append(f"noise and spreads times {found.stepped_back_to:.3g}")
    said = f"shares sum up to {found.sum:.4g} nats; the macro adds {found.increase:.4g} to the mean loss"
    return f"{said} ({', '.join(of)})" if of else said


def plans_table(found: Mapping[str, Any]) -> Table[Plan]:
    """The macro as it is and the plans; the cheapest plan that keeps the target is highlighted."""
    target, plans = Target.read(found["target"], "`target`"), [found["as_is"], *found["plans"]]
    recipe = {"macro": _json("macro"), "rules": _json("rules"), **_cells("checkpoint")}
    columns: list[Column[Plan]] = [
        plain("plan", itemgetter("text"), "l"),
        Column("energy", _energy, _cells("energy_uj", "energy_low_uj", "energy_high_uj")),
        Column(f"{_measured(target)}\n(%)", _interval, _cells("mean", "low", "high", "threshold")),
        Column("target", itemgetter("verdict"), _cells("verdict"), side="l"),
        Column("would\ndecide", lambda row: _deciding(row, target), _cells("images_to_decide")),
        Column("file", lambda row: row["file"] or "", {**_cells("file"), **recipe}, side="l"),
    ]
    note = f"kept: the whole interval is at least {100 * found['as_is']['threshold']:.2f} %"
    if found["gap"] is not None:
        note += f"; energies of the layers' options are within {100 * found['gap']:.2g} % of the least"
    cheapest = _cheapest(plans)
    marked = [place for place, each in enumerate(plans) if each is cheapest]
    return Table(columns, plans, note, f"Plans for {target}", "plans.csv", marked)


def findings_table(found: Mapping[str, Any]) -> Table[Mapping[str, Any]]:
    """Findings of a doctor without simulation, a row each."""
    numbers: dict[str, Callable[[Mapping[str, Any]], object]] = {
        **_cells("kind"), "finding": itemgetter("text"), "layers": lambda row: " ".join(row["layers"]),
        "numbers": _json("numbers"),
    }  # fmt: skip
    text = Column[Mapping[str, Any]]("finding", itemgetter("text"), numbers, "l")
    return Table([text], found["findings"], title="Findings", file="findings.csv")


def plans_verdict(found: Mapping[str, Any]) -> str:
    """The cheapest plan that keeps the target, next to the macro as it is; if no plan does, the nearest."""
    target, as_is = Target.read(found["target"], "`target`"), found["as_is"]
    plans = [as_is, *found["plans"]]
    best = _cheapest(plans)
    facts = [f"the macro as it is: {as_is['verdict']} ({_numbers(as_is, target)})"]
    if best is None:
        nearest = max(plans, key=lambda each: each["low"] - each["threshold"])
        facts.append("no plan surely keeps it")
        if nearest is not as_is:
            facts.append(f"nearest is {nearest['text']}, {nearest['verdict']} ({_numbers(nearest, target)})")
        if needed := _deciding(nearest, target):
            facts.append(f"about {needed} would decide it")
    elif best is not as_is:
        facts.append(f"cheapest that keeps it: {best['text']} ({_numbers(best, target)})")
    return f"{target}: {'; '.join(facts)}."


def _cheapest(plans: Sequence[Plan]) -> Plan | None:
    return min((each for each in plans if each["verdict"] == "kept"), key=lambda each: each["energy_uj"], default=None)


def _measured(target: Target) -> str:
    if target.form == "yield":
        return f"yield at {100 * target.accuracy:g} %"
    return "accuracy" if target.of is None else f"difference to {target.of}"


def _interval(plan: Plan) -> str:
    return f"{Measure().text(plan['mean'])} {Measure().interval(plan['low'], plan['high'])}"


def _energy(plan: Plan) -> str:
    ends = {f"energy_uj_{end}": plan[f"energy_{end}_uj"] for end in ("low", "high")}
    return cost_text("energy_uj", {"energy_uj": plan["energy_uj"], **ends})


def _numbers(plan: Plan, target: Target) -> str:
    return f"{_measured(target)} {_interval(plan)} %, {_energy(plan)}"


def _deciding(plan: Plan, target: Target) -> str:
    """How many images or chips would decide a plan; empty if it is decided, or if they do not decide it."""
    needed = plan["images_to_decide"]
    return "" if needed is None else f"{needed:,} {'chips' if target.form == 'yield' else 'images'}"


def _cells(*names: str) -> dict[str, Callable[[Plan], object]]:
    return {name: itemgetter(name) for name in names}


def _json(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: json.dumps(row[name])
