"""Tables of a run in a report: points, choices, yields, layers, and settings that differ."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from operator import itemgetter
from typing import Any

from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.cost import cost_table
from asim_lightning.cost.cost_table import Layer
from asim_lightning.evaluation.results import axis_text
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.choices import Choice, choices
from asim_lightning.report.labels import cost_label, legend_text, main_costs
from asim_lightning.report.layers import layers_shown
from asim_lightning.report.results_table import point_table
from asim_lightning.report.table_columns import accuracy_columns, cost_column, of
from asim_lightning.report.verdict import point_words
from asim_lightning.report.yield_table import yield_table
from asim_lightning.table import Column, Table, plain


def tables(run: Run, target: Target) -> list[Table[Any]]:
    """The tables of a run's results, in the order of a page."""
    found = (choice_table(run, target), yield_table(run), point_table(run, target), layer_table(run, target))
    return [each for each in found if each is not None]


def choice_table(run: Run, target: Target) -> Table[Choice] | None:
    """The cheapest point that keeps the target under each combination of conditions; None where there is no choice."""
    found = [] if run.yields else choices(run.decided(target))
    if not found or not found[0].conditions or len(found) == len(run.points):
        return None
    costs = (cost_column(name, 4, cost_label(name)) for name in main_costs(run.costs))
    columns: list[Column[Choice]] = [
        plain("conditions", lambda row: legend_text(row.conditions), "l"),
        plain("kept", lambda row: row.kept),
        plain("undecided", lambda row: row.undecided),
        plain("missed", lambda row: row.missed),
        Column(
            "cheapest that is kept",
            lambda row: "-" if row.best is None else point_words(run, row.best, list(row.conditions)),
            {"cheapest": lambda row: "" if row.best is None else point_words(run, row.best, list(row.conditions))},
            "l",
        ),
        *(of(lambda row: row.best, each) for each in (*accuracy_columns(run.points[0].measure), *costs)),
    ]
    return Table(columns, found, title=f"Points that keep {target}", file="choices.csv")


def layer_table(run: Run, target: Target) -> Table[Layer] | None:
    """What each layer takes, of the point that `layers_shown` chooses; None where it is not known."""
    layers, whose = layers_shown(run, target)
    if not layers:
        return None
    return replace(cost_table.layer_table(layers), title="Layers, one image", file="layers.csv", note=whose)


def difference_table(command: CommandRecord) -> Table[Sequence[str]]:
    """Settings in which a command differs from its recipe, and its macro from the preset, if any."""
    rows: list[Sequence[str]] = []
    where = f"recipe {command.recipe}" if command.recipe else "defaults"
    for name, (before, after) in command.differences.items():
        rows.append((name, where, "-" if before is None else setting_text(before), setting_text(after)))
    base = asdict(preset(command.preset).config()) if command.preset else {}
    if not command.recipe and not command.preset:
        base, where = asdict(MacroConfig()), "defaults"
    for name, before in base.items():
        if name in command.macro and setting_text(command.macro[name]) != setting_text(before):
            source = f"preset {command.preset}" if command.preset else where
            rows.append((f"model.plan.macro.{name}", source, setting_text(before), setting_text(command.macro[name])))
    heads = ("setting", "differs from", "there", "here")
    return Table([plain(head, itemgetter(at), "l") for at, head in enumerate(heads)], rows, file="settings.csv")


def setting_text(value: object) -> str:
    """A value as YAML would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {setting_text(each)}" for name, each in value.items()) or "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(setting_text, value))}]"
    return axis_text(value)  # type: ignore[arg-type]  # a text where it is none of YAML's
