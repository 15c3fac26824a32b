"""The results of a sweep as a text table."""

from collections.abc import Mapping, Sequence

from asim_lightning.evaluation.results import KINDS, Result, is_number, value_words
from asim_lightning.report.numbers import count_range, mean_count
from asim_lightning.text_table import text_table

_FEW_IMAGES = 100
"""Below this number of images, right answers are shown too: one of 20 images is 5 %."""


_FIGURES = {"energy_uj": "energy (uJ)", "latency_ms": "latency (ms)", "tops_per_watt": "TOPS/W"}
"""Columns of what a point costs, and their headings."""


def results_table(rows: Sequence[Result]) -> str:
    """Aligned table of the results: float first, then quantized, then simulated, each in the given order.

    Accuracies are in percent. A dash stands for an axis that a point does not have. For few images, a last column has
    the number of right answers: the mean over the trials, and its range. The text ends without a line break.

    Args:
        rows: The results.
    """
    if not rows:
        return "no results"
    cells, sides = result_cells(rows)
    return text_table(cells, 1, sides)


def result_cells(rows: Sequence[Result]) -> tuple[list[list[str]], str]:
    """The cells of that table, its head first, and the side of each column, "l" or "r".

    Args:
        rows: The results, one or more.
    """
    axes = list(dict.fromkeys(name for row in rows for name in row.axes))
    ordered = sorted(rows, key=lambda row: KINDS.index(row.kind))
    has_costs = any(name in row.figures for row in rows for name in _FIGURES)
    costs = list(_FIGURES.values()) if has_costs else []
    targets = list(dict.fromkeys(target for row in rows for target in row.decisions))
    measure = rows[0].measure
    header = ["kind", *axes, measure.heading, "95 % interval", *costs, *map(measure.words, targets)]
    header += ["trials", "images", "seconds", "algorithm"]
    cells = [
        [
            row.kind,
            *(value_words(row.axes[name]) if name in row.axes else "-" for name in axes),
            measure.text(row.accuracy),
            measure.interval(row.low, row.high),
            *(_costs(row.figures) if has_costs else []),
            *(str(row.decisions.get(target, "-")) for target in targets),
            str(row.trials),
            str(row.images),
            f"{row.seconds:.1f}",
            row.algorithm,
        ]
        for row in ordered
    ]
    if all(row.right and row.images < _FEW_IMAGES for row in ordered):
        header.append("right")
        for line, row in zip(cells, ordered, strict=True):
            line.append(_right(row))
    text = {"kind", "algorithm", "right", *targets, *(name for name in axes if not _is_numeric(ordered, name))}
    sides = "".join("l" if name in text else "r" for name in header)
    return [header, *cells], sides


def _costs(found: Mapping[str, float]) -> list[str]:
    return [f"{found[name]:.3g}" if name in found else "-" for name in _FIGURES]


def _is_numeric(rows: Sequence[Result], name: str) -> bool:
    return all(is_number(row.axes[name]) or row.axes[name] is None for row in rows if name in row.axes)


def _right(row: Result) -> str:
    spread = f" ({count_range(row.right)})" if row.trials > 1 else ""
    return f"{mean_count(row.right)} of {row.images}{spread}"
