"""Tables of a run in a report: points, choices, yields, layers, and settings that differ."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from asim_lightning.circuit.macro import MacroConfig
from asim_lightning.circuit.presets import preset
from asim_lightning.evaluation.results import Result, axis_text
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.choices import Choice, choices, target_words
from asim_lightning.report.labels import cost_label, legend_text, main_costs
from asim_lightning.report.layers import layer_numbers, layers_shown
from asim_lightning.report.picture import Rows
from asim_lightning.report.results_table import point_table
from asim_lightning.report.table import Column, Table, interval, number_rows, plain, shown_rows
from asim_lightning.report.verdict import point_words
from asim_lightning.report.yield_table import yield_table


def tables(run: Run, target: Target) -> list[Table]:
    """The tables of a run's results, in the order of a page.

    Args:
        run: The run.
        target: The accuracy to keep.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    found = (choice_table(run, target), yield_table(run), point_table(run, target), layer_table(run, target))
    return [each for each in found if each is not None]


def choice_table(run: Run, target: Target) -> Table | None:
    """The cheapest point that keeps the target under each combination of conditions; None where there is no choice."""
    found = [] if run.yields else choices(run.decided(target))
    if not found or not found[0].conditions or len(found) == len(run.points):
        return None

    def best(number: Callable[[Choice, Result], object], none: str = "") -> Callable[[Choice], object]:
        return lambda row: none if row.best is None else number(row, row.best)

    def cost(name: str) -> Column[Choice]:
        text = best(lambda _, point: f"{point.figures[name]:.4g}" if name in point.figures else "-", "-")
        return Column(cost_label(name), text, {name: best(lambda _, point: point.figures.get(name, ""))})

    def words(row: Choice, point: Result) -> str:
        return point_words(run, point, list(row.conditions))

    columns: list[Column[Choice]] = [
        plain("conditions", lambda row: legend_text(row.conditions)),
        plain("kept", lambda row: row.kept),
        plain("undecided", lambda row: row.undecided),
        plain("missed", lambda row: row.missed),
        Column("cheapest that is kept", best(words, "-"), {"cheapest": best(words)}),
        Column(
            "accuracy (%)",
            best(lambda _, point: f"{100 * point.accuracy:.2f}", "-"),
            {"accuracy": best(lambda _, point: point.accuracy)},
        ),
        interval("95 % interval", lambda row: None if row.best is None else (row.best.low, row.best.high)),
        *map(cost, main_costs(run.costs)),
    ]
    title = f"Points that keep {target_words(target)}"
    return Table(title, "choices.csv", shown_rows(columns, found), number_rows(columns, found))


_LAYER: list[Column[Any]] = [
    Column("layer", lambda layer: layer["layer"]),
    Column("on a macro", lambda layer: "yes" if layer["on_macro"] else "no"),
    Column("multiplications", lambda layer: f"{layer['macs']:,}"),
    Column("conversions", lambda layer: f"{layer['conversions']:,}"),
    Column("energy (nJ)", lambda layer: f"{layer['energy_pj'] / 1000:.4g}"),
    Column("latency (µs)", lambda layer: f"{1e6 * layer['latency_s']:.4g}"),
    Column("why digital", lambda layer: layer.get("why_digital", "")),
]


def layer_table(run: Run, target: Target) -> Table | None:
    """What each layer takes, of the point that `layers_shown` chooses; None where it is not known."""
    layers, whose = layers_shown(run, target)
    if not layers:
        return None
    total = sum(layer["energy_pj"] for layer in layers)
    share: Column[Any] = Column("share (%)", lambda layer: f"{100 * layer['energy_pj'] / total:.1f}" if total else "-")
    rows = shown_rows([*_LAYER[:5], share, *_LAYER[5:]], layers)
    return Table("Layers, one image", "layers.csv", rows, layer_numbers(layers), note=whose)


def difference_rows(command: CommandRecord) -> Rows:
    """Settings in which a command differs from its recipe, and its macro from the preset, if any."""
    rows: Rows = [["setting", "differs from", "there", "here"]]
    where = f"recipe {command.recipe}" if command.recipe else "defaults"
    for name, (before, after) in command.differences.items():
        rows.append([name, where, "-" if before is None else setting_text(before), setting_text(after)])
    base = asdict(preset(command.preset).config()) if command.preset else {}
    if not command.recipe and not command.preset:
        base, where = asdict(MacroConfig()), "defaults"
    for name, before in base.items():
        if name in command.macro and setting_text(command.macro[name]) != setting_text(before):
            source = f"preset {command.preset}" if command.preset else where
            rows.append([f"model.plan.macro.{name}", source, setting_text(before), setting_text(command.macro[name])])
    return rows


def setting_text(value: object) -> str:
    """A value as YAML would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {setting_text(each)}" for name, each in value.items()) or "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(setting_text, value))}]"
    return axis_text(value)  # type: ignore[arg-type]  # a text where it is none of YAML's
