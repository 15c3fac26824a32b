"""Plans of `asim doctor`: a table, and a text on the cheapest plan that keeps the target."""

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from asim_lightning.evaluation.target import Target
from asim_lightning.report.labels import cost_text
from asim_lightning.table import Column, Table, plain

Plan: TypeAlias = Mapping[str, Any]
"""A plan as in doctor.json."""


def plans_table(found: Mapping[str, Any]) -> Table[Plan]:
    """The macro as it is and the plans; the cheapest plan that keeps the target is highlighted."""
    target, plans = _target(found), [found["as_is"], *found["plans"]]
    columns: list[Column[Plan]] = [
        plain("plan", itemgetter("text"), "l"),
        Column("energy", _energy, _cells("energy_uj", "energy_low_uj", "energy_high_uj")),
        Column(f"{_measured(target)}\n(%)", _interval, _cells("mean", "low", "high", "threshold")),
        Column("target", itemgetter("verdict"), _cells("verdict"), side="l"),
        Column("would\ndecide", lambda row: _deciding(row, target), _cells("images_to_decide")),
        Column("file", lambda row: row["file"] or "", _cells("file"), side="l"),
        Column("", None, {"macro": _json("macro"), "rules": _json("rules"), **_cells("checkpoint")}),
    ]
    note = f"kept: the whole interval is at least {100 * found['as_is']['threshold']:.2f} %"
    if found["gap"] is not None:
        note += f"; energies of the layers' options are within {100 * found['gap']:.2g} % of the least"
    cheapest = _cheapest(plans)
    marked = [place for place, each in enumerate(plans) if each is cheapest]
    return Table(columns, plans, note, f"Plans for {target}", "plans.csv", marked)


def findings_table(found: Mapping[str, Any]) -> Table[Mapping[str, Any]]:
    """Findings of a doctor without simulation, a row each."""
    finding = {"kind": itemgetter("kind"), "finding": itemgetter("text")}
    more = {"layers": lambda row: " ".join(row["layers"]), "numbers": _json("numbers")}
    columns: list[Column[Mapping[str, Any]]] = [Column("finding", itemgetter("text"), {**finding, **more}, side="l")]
    return Table(columns, found["findings"], title="Findings", file="findings.csv")


def plans_verdict(found: Mapping[str, Any]) -> str:
    """The cheapest plan that keeps the target, next to the macro as it is; if no plan does, the nearest."""
    target, as_is = _target(found), found["as_is"]
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


def _target(found: Mapping[str, Any]) -> Target:
    return Target.read(found["target"], "`target`")


def _cheapest(plans: Sequence[Plan]) -> Plan | None:
    return min((each for each in plans if each["verdict"] == "kept"), key=lambda each: each["energy_uj"], default=None)


def _measured(target: Target) -> str:
    if target.form == "yield":
        return f"yield at {100 * target.accuracy:g} %"
    return "accuracy" if target.of is None else f"difference to {target.of}"


def _interval(plan: Plan) -> str:
    mean, low, high = (f"{100 * plan[name]:.2f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


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
