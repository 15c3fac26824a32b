"""Tables of points: of a sweep and of a search as text, and of all points of a run for a page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any, TypeAlias

from asim_lightning.evaluation.axis_settings import CHIP, CORNER
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import KINDS, AxisValue, Result, axes_text, value_words
from asim_lightning.evaluation.run import Run, is_among
from asim_lightning.evaluation.target import Target, has_figure
from asim_lightning.evaluation.worst_corner import WorstResult
from asim_lightning.report.labels import COSTS, head_of, label_of, legend_text
from asim_lightning.report.table_columns import (
    accuracy_columns,
    agreement_columns,
    axis_columns,
    cost_column,
    of,
    target_column,
    valued,
)
from asim_lightning.report.verdict import Choice, choice_facts, choices, front_of, point_words
from asim_lightning.table import Table, TableColumn, count_range, mean_count, plain

Points: TypeAlias = list[TableColumn[Result]]

_LINE_WIDTH = 120
_FEW_IMAGES = 100
"""Below this number of images, right answers are shown, too: one of 20 images is 5 %."""
_MOST_ROWS = 40
"""A search with more points prints only the front."""
_OF_DIFFERENCE = ("difference", "difference_low", "difference_high")
"""Names of a difference and its ends in a CSV."""
_READING = 0.5
"""Points by which a published accuracy may be off, because such numbers are read off a figure."""
_KIND: TableColumn[Result] = plain("kind", lambda row: row.kind, "l")
_READS: Points = [
    plain("trials", lambda row: row.trials),
    plain("images", lambda row: row.images),
    TableColumn("seconds", lambda row: f"{row.seconds:.1f}", {"seconds": lambda row: row.seconds}),
    plain("algorithm", lambda row: row.algorithm, "l"),
]
_RIGHT: TableColumn[Result] = TableColumn(
    "right",
    lambda row: f"{mean_count(row.right)} of {row.images}" + (f" ({count_range(row.right)})" if row.trials > 1 else ""),
    {"right": lambda row: " ".join(map(str, row.right))},
    "l",
)


def _difference(measure: Measure) -> TableColumn[Result]:
    """The difference to the quantised network, with its interval."""

    def text(found: Interval) -> str:
        return f"{measure.change_text(found.mean, '+')} {measure.change_interval(found.low, found.high)}"

    def number(end: str) -> Callable[[Interval], float]:
        return lambda found: measure.plain_change(getattr(found, end))

    unit = f" ({measure.change_unit})" * bool(measure.change_unit)
    numbers = {name: number(end) for name, end in zip(_OF_DIFFERENCE, ("mean", "low", "high"), strict=True)}
    return of(lambda row: row.difference, TableColumn(f"to quantized{unit}", text, numbers))


def results_table(rows: Sequence[Result]) -> Table[Result]:
    """Table of the results: float first, then quantized, then simulated, each in the given order.

    For few images, a last column has the number of right answers: the mean over the trials, and its range.
    """
    known = [name for name in COSTS if name != "yield" and any(name in row.figures for row in rows)]
    costs = [cost_column(name, 3) for name in known]
    right = [_RIGHT] * all(row.right and row.images < _FEW_IMAGES for row in rows)
    targets = dict.fromkeys(target for row in rows for target in row.decisions)
    columns = [_KIND, *_columns(rows, costs, targets), *_READS, *right]
    table = Table(columns, sorted(rows, key=lambda row: KINDS.index(row.kind)))
    return table.in_words(rows[0].measure.words)


def _columns(rows: Sequence[Result], costs: Points, targets: Iterable[str]) -> Points:
    """Axes, accuracies, costs and decisions of points, as text."""
    measure = rows[0].measure
    of_all = ", all chips" * any(CHIP in row.axes for row in rows)  # the row of a chip has the yield of all chips
    decisions = [target_column(each, measure.words(each) + of_all * each.startswith("yield")) for each in targets]
    means = [*accuracy_columns(measure), *agreement_columns(rows)]
    means += [_difference(measure)] if measure.shown_as == "exponential" else []
    return [*axis_columns(rows), *means, *costs, *decisions]


def search_text(found: Run, technology: str) -> str:
    """Table of a search, the cheapest point under each condition, and notes."""

    def mark(row: Result) -> str:
        of_point = "front" if is_among(row, found.front) else ""
        return "cheapest" if is_among(row, found.cheapest) else of_point if row.kind == "simulated" else row.kind

    shown = found.points if len(found.points) <= _MOST_ROWS else list(filter(mark, found.points))
    names = [name for name in COSTS if name != "tops_per_watt" or name in found.objectives]
    costs = [cost_column(name, 4) for name in names if all(has_figure(point, name) for point in found.points)]
    columns = [TableColumn("", mark, side="l"), *_columns(found.points, costs, found.targets)]
    lines = [str(Table(columns, [*found.references, *shown]).in_words(found.measure.words))]
    if len(shown) < len(found.points):
        lines.append(f"{len(found.points) - len(shown):,} more points: see numbers")
    facts = [f"{' and '.join(found.targets)}: {'; '.join(choice_facts(found, each))}." for each in choices(found)]
    notes = [*(facts if found.targets else ()), *_notes(found, technology)]
    said = (fill(found.measure.words(note), _LINE_WIDTH, subsequent_indent="  ") for note in notes)
    return "\n".join([*lines, "", *said])


def _notes(found: Run, technology: str) -> list[str]:
    names, owner, whole = " and ".join(found.objectives), found.references[0].axes, found.all_digital
    same = " at the same noise" if len(found.groups) > 1 else ""
    own = any(name == CORNER or name.startswith("technology.") for name in found.points[0].axes)
    at = "the technology of each point" if own else technology
    digital = "of each point in results.csv" if whole is None else "{:.4g} uJ, {:.3g} to {:.3g}".format(*whole)
    notes = {
        "Points are compared at their worst corners: the worst accuracy, the largest energy and latency.":
            isinstance(found.compared[0], WorstResult),
        f"Front: no other point{same} is at least as good in {names} and better in one of them.": True,
        f"Energy and latency: at {at}; results.csv has their ranges. All products in a digital macro: {digital}.":
            any("all_digital_uj" in point.figures for point in found.points),
        f"Shares of the float or quantized accuracy are of the network at {axes_text(owner)}.":
            owner and any(" of " in target for target in found.targets),
        "Undecided: the target is inside the interval. Each interval holds with 95 % for its own point, so of many "
        "points some are kept or missed by chance.": found.targets,
    }  # fmt: skip
    return [note for note, holds in notes.items() if holds]


def choice_table(run: Run, target: Target) -> Table[Choice] | None:
    """The cheapest point that keeps the target under each combination of conditions; None if there is no choice."""
    found = [] if run.yields else choices(run.decided(target))
    if not found or not found[0].conditions or len(found) == len(run.points):
        return None

    def cheapest(row: Choice) -> str | None:
        return None if row.best is None else point_words(run, row.best, list(row.conditions))

    costs = (cost_column(name, 4, label_of(name)) for name in run.costs if name in COSTS)
    columns: list[TableColumn[Choice]] = [
        plain("conditions", lambda row: legend_text(row.conditions), "l"),
        plain("kept", lambda row: len(row.of("kept"))),
        plain("undecided", lambda row: len(row.of("undecided"))),
        plain("missed", lambda row: len(row.of("missed"))),
        valued("cheapest that is kept", "cheapest", cheapest, side="l"),
        *(of(lambda row: row.best, each) for each in (*accuracy_columns(run.points[0].measure), *costs)),
    ]
    return Table(columns, found, title=f"Points that keep {target}", file="choices.csv")


def point_table(run: Run, target: Target) -> Table[Result]:
    """All points with accuracy, difference to the quantised network, decision, and costs.

    A column in which all simulated points agree becomes a note, so that the table fits a page; its CSV has all columns.
    """
    run = run.decided(target)
    rows = sorted(run.rows, key=lambda row: KINDS.index(row.kind))
    front, measure = front_of(run), rows[0].measure

    def on_front(row: Result) -> bool:
        return is_among(row, front)

    columns = [
        _KIND,
        *axis_columns(rows, is_labelled=True),
        *accuracy_columns(measure),
        *agreement_columns(rows),
        _difference(measure),
        target_column(str(target), "target"),
        *(_only_in_csv(cost_column(name, 4, label_of(name)), name not in COSTS) for name in run.costs),
        TableColumn("front", lambda row: "yes" if on_front(row) else "-", {"on_the_front": on_front}, "l"),
        *(_only_in_csv(column, column.head in ("seconds", "algorithm")) for column in _READS),
        _only_in_csv(_RIGHT),
    ]
    columns, note = _that_differ(columns, run.points or rows)
    marked = [place for place, row in enumerate(rows) if is_among(row, run.cheapest)]
    green = f"Green: the cheapest point that keeps {target}, under each condition. " if marked else ""
    return Table(columns, rows, green + note, "All points", "points.csv", marked)


def _that_differ(columns: Sequence[TableColumn[Result]], points: Sequence[Result]) -> tuple[Points, str]:
    """Columns, with those hidden in which all points agree, and a note on the hidden ones that have a value."""
    kept = {"kind", "target", "95 % interval", *(point.measure.heading for point in points)}
    found, said = [], []
    for column in columns:
        texts = {str(column.text(point)) for point in points} if column.text is not None else set()
        if len(texts) == 1 and len(points) > 1 and column.head not in kept:
            said += [f"{column.head} {text}" for text in texts if text != "-"]
            column = _only_in_csv(column)
        found.append(column)
    return found, f"All simulated points: {', '.join(said)}." if said else ""


def _only_in_csv(column: TableColumn[Result], is_so: bool = True) -> TableColumn[Result]:
    return replace(column, text=None) if is_so else column


@dataclass(frozen=True)
class Difference:
    """The change from one value of an axis to another, on the same images and reads."""

    axes: dict[str, AxisValue]
    """Values of the other axes."""
    before: AxisValue
    after: AxisValue
    change: Interval
    """Accuracy after minus accuracy before, and its 95 % interval, of shares -1..1."""


def differences_text(axis: str, found: Sequence[Difference], measure: Measure = Measure()) -> str:
    """Table of the differences, of shares in points, with a headline."""
    unit = f" ({measure.change_unit})" * bool(measure.change_unit)
    columns: list[TableColumn[Any]] = [
        *(replace(column, side="r") for column in axis_columns(found)),
        TableColumn(f"{axis} from", lambda row: value_words(row.before)),
        TableColumn("to", lambda row: value_words(row.after)),
        TableColumn(f"change{unit}", lambda row: measure.change_text(row.change.mean, "+")),
        TableColumn("95 % interval", lambda row: measure.change_interval(row.change.low, row.change.high, "+")),
    ]
    steps = f"Changes along {head_of(axis)}"
    if axis == CORNER:
        steps = f"Changes from corner {value_words(found[0].before)} to each other one"
    head = f"{steps}, in pairs: the same images and random numbers on both sides"
    return measure.words(f"{head}\n{Table(columns, found)}")


def published_text(results: Sequence[Result], published: Sequence[float], whose: str) -> str:
    """Table of simulated points next to published accuracies in their order, percent, and how many of these agree.

    A point agrees if the published accuracy lies in the 95 % interval of the simulated one, or less than 0.5 points
    outside. `whose` names the published network.
    """
    rows = list(zip((row for row in results if row.kind == "simulated"), published, strict=True))

    def agrees(row: tuple[Result, float]) -> bool:
        return 100 * row[0].low - _READING <= row[1] <= 100 * row[0].high + _READING

    simulated = [result for result, _ in rows]
    columns: list[TableColumn[tuple[Result, float]]] = [
        *(of(lambda row: row[0], each) for each in (*axis_columns(simulated), *accuracy_columns(simulated[0].measure))),
        TableColumn("published (%)", lambda row: f"{row[1]:.2f}"),
        TableColumn(
            "", lambda row: "agrees" if agrees(row) else f"{100 * row[0].accuracy - row[1]:+.1f} points", side="l"
        ),
    ]
    verdict = f"{sum(map(agrees, rows))} of {len(rows)} points agree with {whose}: 95 % interval, and {_READING} points"
    return f"{Table(columns, rows)}\n{verdict} for reading a figure"
