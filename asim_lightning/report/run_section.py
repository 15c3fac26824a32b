"""The part of a report that is about one run: what it shows, figures, tables, and what it was computed from."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import axis_text, distinct_values, is_number, value_words
from asim_lightning.evaluation.run import CommandRecord, Run
from asim_lightning.evaluation.target import Target, meaning_of_early_end
from asim_lightning.report.accuracy import AccuracyPlot, accuracy_picture
from asim_lightning.report.axis_labels import head_of
from asim_lightning.report.choices import digital_energy, energy_of, front_of, varied
from asim_lightning.report.html_page import figure_html, list_html, page, table_html
from asim_lightning.report.layers import layers_picture
from asim_lightning.report.numbers import duration
from asim_lightning.report.picture import Picture, Rows
from asim_lightning.report.run_tables import Table, difference_rows, tables, text_of
from asim_lightning.report.trade_off import map_pictures, trade_off_picture
from asim_lightning.report.verdict import verdict
from asim_lightning.report.yields import yield_picture

_FEW = 3
"""Values that a title lists."""
_SETTINGS = "settings.csv"
"""Settings that differ from recipe and preset."""
_MOST_AXES = 8
"""Axes that get a figure of their own."""


def section_html(run: Run, target: Target, number: int, title: str = "") -> str:
    """The part of a page about one run.

    Args:
        run: The run.
        target: The accuracy to keep.
        number: Place of the run on the page, from 1; 0: alone, under the headline of the page.
        title: Its headline where it is not alone; empty: `run_title`.

    Raises:
        ValueError: The run lacks what the target is a share of.
        ModuleNotFoundError: plotly is not installed.
    """
    figures = [
        figure_html(picture, f"figure-{number}-{place}") for place, picture in enumerate(pictures(run, target), 1)
    ]
    parts = [
        *([f"<h2>{escape(title or run_title(run))}</h2>"] if number else []),
        f'<p class="verdict">{escape(verdict(run, target))}</p>',
        list_html(facts(run)),
        '<div class="figures">',
        *figures,
        "</div>",
        *[part for table in tables(run, target) for part in _table_html(table)],
        "<h3>What it was computed from</h3>",
        *_origin(run),
    ]
    return f'<section id="run-{number}">\n' + "\n".join(parts) + "\n</section>"


def report_of(judged: Sequence[tuple[Run, Target]], title: str | None = None) -> tuple[str, dict[str, Any]]:
    """The page of a report of some runs, and all of its numbers: of each run its verdict, and tables by their CSV.

    Args:
        judged: Runs, each with the accuracy to keep.
        title: Headline; None: the names of the runs.

    Raises:
        ValueError: A run lacks what its target is a share of.
        ModuleNotFoundError: plotly is not installed.
    """
    runs = [run for run, _ in judged]
    title = title or "; ".join(dict.fromkeys(map(run_title, runs)))
    contents: list[str] = []
    sections: list[str] = []
    numbers: list[dict[str, Any]] = []
    first = 1 if len(runs) > 1 else 0
    for number, ((run, target), name) in enumerate(zip(judged, run_titles(runs), strict=True), first):
        said = verdict(run, target)
        contents.append(f'<li><a href="#run-{number}">{escape(name)}</a><br>{escape(said)}</li>')
        sections.append(section_html(run, target, number, name))
        of_run = {"title": name, "folder": str(run.folder), "verdict": said}
        numbers.append({**of_run, **section_numbers(run, target)})
    listed = ["<ol>", *contents, "</ol>"] if first else []
    body = "\n".join([f"<h1>{escape(title)}</h1>", *listed, *sections])
    return page(title, body), {"title": title, "runs": numbers}


def run_title(run: Run) -> str:
    """Name of the recipe, what was done, and the axes that vary: "quickstart: sweep of ADC bits, random noise"."""
    recipe = run.commands[-1].recipe if run.commands else run.folder.resolve().parent.name
    kind = "yield" if run.yields else "search" if run.folder.name.startswith("search") else "sweep"
    names = [head_of(name) for name in varied(run) if name != CHIP or kind != "yield"] or run.axes
    return f"{recipe}: {kind} of {', '.join(names)}" if names else f"{recipe}: {kind}"


def run_titles(runs: Sequence[Run]) -> list[str]:
    """Names of the runs of a report, which tell them apart: of several, with the values of axes and the folder."""
    if len(runs) == 1:
        return [run_title(runs[0])]
    return [f"{_title_with_values(each)} ({each.folder.name})" for each in runs]


def _title_with_values(run: Run) -> str:
    """As `run_title`, with the values of all axes: "search of ADC bits 6 to 9; random noise 0.3 lsb"."""
    rows = list(run.points)
    said = []
    for name in (name for name in run.axes if name != CHIP or not run.yields):
        values = distinct_values(row.axes[name] for row in rows if name in row.axes)
        if len(values) > 1 and all(map(is_number, values)):
            text = f"{axis_text(values[0])} to {axis_text(values[-1])}"
        else:
            text = ", ".join(map(value_words, values)) if len(values) <= _FEW else f"({len(values)} values)"
        said.append(f"{head_of(name)} {text}")
    head = run_title(run).partition(" of ")[0]
    return f"{head} of {'; '.join(said)}" if said else head


def pictures(run: Run, target: Target) -> list[Picture]:
    """The figures of a run; energy by layer is that of the cheapest point that keeps the target, if one is known to."""
    found: list[Picture | None] = []
    energy = energy_of(run)
    if energy is not None and front_of(run):
        found.append(trade_off_picture(replace(run.decided(target), objectives=("accuracy", energy))))
    if run.yields:
        found.append(yield_picture(run.yields, thresholds=run.thresholds))
    else:
        for axis in (list(varied(run)) or run.axes[:1])[:_MOST_AXES]:
            found.append(accuracy_picture(run.results, AccuracyPlot(axis)))
        found += map_pictures(run)[:1] if len(varied(run)) == 2 else []
    return [each for each in (*found, layers_picture(run, target)) if each is not None]


def facts(run: Run) -> list[tuple[str, str]]:
    """What the numbers are of."""
    results = list(run.results)
    backbone = run.settings.get("model", {}).get("backbone", {}).get("name")
    images = sorted({row.images for row in results})
    simulated = [row for row in results if row.kind == "simulated"]
    trials = sorted({row.trials for row in simulated})
    found = [("network", backbone)] if backbone else []
    if weights := run.settings.get("weights"):
        found.append(("weights", f"SHA-256 {weights[:16]}"))
    if data := run.settings.get("data", {}).get("class"):
        found.append(("images", f"{_ends(images)} of {data.rpartition('.')[2]}"))
    else:
        found.append(("images", _ends(images)))
    if (energy := digital_energy(run)) is not None:
        found.append(("all-digital macro", f"{energy:.4g} µJ an image for the same products"))
    decided = any(point.difference is not None or point.decisions for point in run.results)
    pairs = (
        ""
        if decided or run.yields or run.until is not None
        else "; targets are decided without pairs of images, as none are in the folder"
    )
    reads = "1 read" if trials == [1] else f"{_ends(trials)} reads" if trials else ""
    found += [
        ("points", f"{len(simulated):,} simulated, {reads} each" if simulated else "none simulated"),
        ("intervals", _intervals(run) + pairs),
        ("files", f"results.csv and those beside it in {run.folder}"),
    ]
    return found


def _intervals(run: Run) -> str:
    """What the intervals of a run hold for."""
    if run.until is not None:
        images = max(each.images for each in run.results)
        return meaning_of_early_end(Target.read(run.until, "`until`"), images).rstrip(".")
    if run.settings.get("search", {}).get("chips") is not None:
        return "95 %, over images and chips; nothing in them knows of other data"
    if run.yields:
        return "95 %, of each chip over images, and of yields over chips; nothing in them knows of other data"
    return "95 %, over images; nothing in them knows of other chips or other data"


def section_numbers(run: Run, target: Target) -> dict[str, Rows]:
    """What the figures and tables of a run show, in full, by the name of the CSV that its section offers.

    Args:
        run: The run.
        target: The accuracy to keep.

    Raises:
        ValueError: The run lacks what the target is a share of.
    """
    found = {picture.file: list(picture.numbers) for picture in pictures(run, target) if picture.numbers}
    found |= {table.file: list(table.numbers) for table in tables(run, target)}
    for command in run.commands:
        if len(rows := difference_rows(command)) > 1:
            found.setdefault(_SETTINGS, rows[:1]).extend(rows[1:])
    return found


def _table_html(table: Table) -> list[str]:
    note = [f'<p class="note">{escape(table.note)}</p>'] if table.note else []
    return [f"<h3>{escape(table.title)}</h3>", *note, table_html(table.shown, table.file, table.marked, table.numbers)]


def _origin(run: Run) -> list[str]:
    """Commands with their differences to recipe and preset, seeds, versions, machine and time."""
    if not run.commands:
        versions = run.settings.get("versions", {})
        said = '<p class="note">The folder has no record of a command, as that of a sweep in Python has none.</p>'
        return [said, list_html([("versions", _pairs(versions))])] if versions else [said]
    found = []
    for command in run.commands:
        found += [f"<pre><code>{escape(command.command)}</code></pre>", list_html(_account(command))]
        rows = difference_rows(command)
        if len(rows) > 1:
            found.append(table_html(rows, _SETTINGS))
    return found


def _account(command: CommandRecord) -> list[tuple[str, str]]:
    machine = command.machine
    time = "not finished" if command.seconds is None else duration(command.seconds)
    calls = f", {command.calls} calls" if command.calls > 1 else ""
    found = [("recipe", command.recipe or "none"), ("preset", command.preset or "none")]
    found += [("seeds", _pairs(command.seeds)), ("versions", _pairs(command.versions))]
    if machine:
        threads = f"{machine.get('threads')} of {machine.get('processors')} threads"
        kernels = f"{machine.get('capability')}, C++ kernels {machine.get('kernels')}, device {machine.get('device')}"
        found.append(("machine", f"{machine.get('cpu')}, {threads}, {kernels}, {machine.get('system')}"))
    return [*found, ("wall time", f"{time}{calls}, started {command.started}")]


def _pairs(values: Any) -> str:
    return ", ".join(f"{name} {text_of(value)}" for name, value in values.items()) or "none recorded"


def _ends(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
