"""The part of a report for one run: verdict, figures, tables, and the origin of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.results import axis_text, distinct_values, is_number
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.target import Target
from asim_lightning.report.accuracy import accuracy_picture
from asim_lightning.report.energies import energy_picture, layers_table
from asim_lightning.report.html_page import Shown, figure_html, list_html, page, table_html
from asim_lightning.report.labels import head_of, quantity_of
from asim_lightning.report.origin import difference_table, facts, origin_html
from asim_lightning.report.picture import Picture
from asim_lightning.report.results_table import choice_table, point_table
from asim_lightning.report.spec_doctor import document_parts
from asim_lightning.report.trade_off import map_pictures, trade_off_picture
from asim_lightning.report.verdict import front_of, varied, verdict
from asim_lightning.report.yields import yield_picture, yield_table
from asim_lightning.table import Rows, Table

_MOST_VALUES = 3
_MOST_AXES = 8


@dataclass(frozen=True)
class Section:
    """The part of a page for one run."""

    run: Run
    title: str
    verdict: str
    pictures: Sequence[Picture]
    tables: Sequence[Table[Any]]

    @classmethod
    def of(cls, run: Run, target: Target) -> "Section":
        """The section of a run, for the accuracy to keep; a spec or a doctor has its own.

        Raises:
            ValueError: The run lacks the reference of the target, or its target is fixed to another one.
        """
        if run.document and target != run.own_target:
            raise ValueError(
                f"`--target` must be left out for {run.folder}, which has its own, '{run.own_target}', got '{target}'"
            )
        said, shown = document_parts(run, target) if run.document else _of_points(run, target)
        pictures = [each for each in shown if isinstance(each, Picture)]
        tables = [each for each in shown if isinstance(each, Table)]
        return cls(run, run_title(run), run.measure.words(said), pictures, tables)

    def html(self, number: int = 0) -> str:
        """The part of the page: `number` counts from 1; 0 for the only run, which has the headline of the page."""
        words = replace(self.run.measure, name=escape(self.run.measure.name)).words
        before = [
            *([f"<h2>{escape(self.title)}</h2>"] if number else []),
            f'<p class="verdict">{escape(self.verdict)}</p>',
            list_html(facts(self.run)),
        ]
        is_one = len(self.pictures) == 1 or any(each.is_strip for each in self.pictures)
        figures = [
            f'<div class="figures{" one" * is_one}">',
            *(figure_html(each, f"figure-{number}-{place}", words) for place, each in enumerate(self.pictures, 1)),
            "</div>",
        ]
        after = [*map(table_html, self.tables), "<h3>What it was computed from</h3>", *origin_html(self.run)]
        parts = [*map(words, before), *figures, *map(words, after)]
        return f'<section id="run-{number}">\n' + "\n".join(parts) + "\n</section>"

    @property
    def numbers(self) -> dict[str, Rows]:
        """All numbers of figures and tables, by the name of the CSV in the section."""
        found = {each.file: each.numbers for each in self.pictures if each.numbers}
        found |= {each.file: each.numbers for each in self.tables}
        for differences in filter(None, map(difference_table, self.run.commands)):
            head, *rows = differences.numbers
            found.setdefault(differences.file, [head]).extend(rows)
        return found


def report_of(judged: Sequence[tuple[Run, Target]], title: str | None = None) -> tuple[str, dict[str, Any]]:
    """The page of a report of some runs, each with the accuracy to keep, under a title or their names; and all of its
    numbers: for each run its verdict, and tables by their CSV. It needs plotly."""
    sections, several = [Section.of(*each) for each in judged], len(judged) > 1
    title = title or "; ".join(dict.fromkeys(each.title for each in sections))
    if several:
        sections = [replace(each, title=f"{each.title} ({each.run.folder.name})") for each in sections]
    links = [
        f'<li><a href="#run-{number}">{escape(each.title)}</a><br>{escape(each.verdict)}</li>'
        for number, each in enumerate(sections, 1)
    ]
    parts = [each.html(number) for number, each in enumerate(sections, int(several))]
    body = [f"<h1>{escape(title)}</h1>", *(["<ol>", *links, "</ol>"] if several else []), *parts]
    numbers = [
        {"title": each.title, "folder": str(each.run.folder), "verdict": each.verdict, **each.numbers}
        for each in sections
    ]
    return page(title, "\n".join(body)), {"title": title, "runs": numbers}


def run_title(run: Run) -> str:
    """Name of the recipe, kind of study, and values of axes: "quickstart: search of ADC bits 6 to 9; rows 64"."""
    recipe = run.commands[-1].recipe if run.commands else run.folder.resolve().parent.name
    if run.document:
        return f"{recipe}: {run.kind}"
    said = []
    for name in (name for name in run.axes if name != CHIP or not run.yields):
        values = distinct_values(point.axes[name] for point in run.points if name in point.axes)
        texts = [quantity_of(name, value) for value in values]
        if len(values) > 1 and all(map(is_number, values)):
            listed = f"{axis_text(values[0])} to {texts[-1]}"
        else:
            listed = ", ".join(texts) if len(values) <= _MOST_VALUES else f"({len(values)} values)"
        said.append(f"{head_of(name)} {listed}".strip())
    return f"{recipe}: {run.kind}{' of ' * bool(said)}{'; '.join(said)}"


def _of_points(run: Run, target: Target) -> tuple[str, Shown]:
    """The verdict of a sweep, a search or a yield, and its figures and tables."""
    shown: Shown = []
    if front_of(run):
        shown.append(trade_off_picture(replace(run.decided(target), objectives=("accuracy", "energy"))))
    if run.yields:
        shown.append(yield_picture(run.yields, thresholds=run.thresholds))
    else:
        shown += [accuracy_picture(run.rows, axis) for axis in (list(varied(run)) or run.axes[:1])[:_MOST_AXES]]
        shown += map_pictures(run)[:1] if len(varied(run)) == 2 else []
    if (layers := layers_table(run, target)) is not None:
        whole = energy_picture(layers.rows, run.network_cost.get("technology", {}), "Energy by layer")
        shown.append(replace(whole, note=layers.note, numbers=layers.numbers, file=layers.file))
    shown += [choice_table(run, target), yield_table(run), point_table(run, target), layers]
    return verdict(run, target), shown
