"""Yields of chips as text and as a CSV file."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from asim_lightning.evaluation.binomial import dkw
from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.results import axes_text, axis_text, value_words
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.whole_file import write_lines
from asim_lightning.report.numbers import interval_text
from asim_lightning.text_table import text_table

_WIDTH = 120


def yield_text(found: Sequence[ChipYield], thresholds: Sequence[float], question: Target | None) -> str:
    """Mean and spread of the chips, their yields at some accuracies, what both mean, and the answer to a question.

    Args:
        found: The chips of each combination of the other axes of a sweep, one or more.
        thresholds: Accuracies, 0..1.
        question: What the sweep was to answer, if anything.
    """
    parts = [_spreads(found), _yields(found, thresholds), _notes(found, question is not None)]
    if question is not None:
        parts.append("\n".join(_answer(each, question) for each in found))
    return "\n\n".join(parts)


def write_yields(found: Sequence[ChipYield], thresholds: Sequence[float], path: Path) -> Path:
    """Write the yields as CSV, a row for each combination of the other axes and each accuracy; all as shares 0..1.

    Mean over chips and images with its interval, and spreads from chip to chip and read to read, are the combination's.

    Args:
        found: The chips of each combination, one or more.
        thresholds: Accuracies, 0..1.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    axes = list(found[0].axes)
    ends = ("low", "high", "low_all_images", "high_all_images")
    rows: list[Sequence[object]] = [[*axes, "accuracy", "good", "chips", "reads", "images", "yield", *ends, "bounds"]]
    rows[0] = [*rows[0], "mean", "mean_low", "mean_high", "chip_sd", "read_sd"]
    for each in found:
        spreads = [f"{value:.6f}" for value in (each.mean.mean, each.mean.low, each.mean.high, each.spread)]
        spreads.append("" if each.read_spread is None else f"{each.read_spread:.6f}")
        for threshold in thresholds:
            at = each.at(threshold)
            ends_at = [f"{end:.6f}" for end in (at.share, at.low, at.high, at.low_all, at.high_all)]
            counts = (at.good, at.total, each.reads, each.images)
            bounds = "sequence" if each.stopped_by_outcomes else "Clopper-Pearson"
            rows.append([*map(axis_text, each.axes.values()), f"{threshold:.6g}", *counts, *ends_at, bounds, *spreads])
    write_lines(path, rows, "\n")
    return path


def _spreads(found: Sequence[ChipYield]) -> str:
    axes = list(found[0].axes)
    header = [*axes, "chips", "reads", "mean (%)", "95 % interval", "chip sd", "read sd", "lowest", "median", "highest"]
    rows = []
    for each in found:
        percents = 100 * each.accuracies
        rows.append(
            [
                *map(value_words, each.axes.values()),
                str(len(each.chips)),
                str(each.reads),
                f"{100 * each.mean.mean:.2f}",
                interval_text(each.mean.low, each.mean.high),
                f"{100 * each.spread:.2f}",
                "-" if each.read_spread is None else f"{100 * each.read_spread:.2f}",
                *(f"{value:.2f}" for value in (percents.min(), np.median(percents), percents.max())),
            ]
        )
    return text_table([header, *rows], 1, "r" * len(header))


def _yields(found: Sequence[ChipYield], thresholds: Sequence[float]) -> str:
    axes = list(found[0].axes)
    header = [*axes, "at least (%)", "good chips", "yield", "on these images", "on all images"]
    rows = []
    for each in found:
        for threshold in thresholds:
            at = each.at(threshold)
            rows.append(
                [
                    *map(value_words, each.axes.values()),
                    f"{100 * threshold:g}",
                    f"{at.good} of {at.total}",
                    f"{at.share:.3f}",
                    *(f"[{low:.3f}, {high:.3f}]" for low, high in ((at.low, at.high), (at.low_all, at.high_all))),
                ]
            )
    return text_table([header, *rows], 1, "r" * len(header))


def _notes(found: Sequence[ChipYield], stops: bool) -> str:
    images, reads = found[0].images, max(each.reads for each in found)
    mean = f", as the mean of {reads} reads" if reads > 1 else ""
    bounds = (
        "each end holds with 95 % at any number of chips, as outcomes decided how many there are"
        if stops
        else "95 %, Clopper and Pearson's"
    )
    lines = [
        f"Good: so many of these {images:,} images are right{mean}. On these images: bounds of the share of all chips "
        f"that are good on these very images ({bounds}). On all images: of the share of all chips that have this "
        "accuracy over all images of the kind, of which these are a sample.",
        "Mean: over all chips and all images; its interval covers the choice of both. Chip sd: points from chip "
        "to chip on these images, "
        + (
            "read noise taken out (read sd: of one chip from read to read)."
            if all(each.read_spread is not None for each in found)
            else "with read noise, if there is any, where there is one read alone."
        ),
    ]
    if not stops:
        totals = [len(each.chips) for each in found]
        shown = dict.fromkeys(f"{dkw(total):.3f}" for total in (max(totals), min(totals)))
        lines.append(
            f"A whole curve of yield over accuracy lies within {' to '.join(shown)} of the one drawn (95 %, DKW)."
        )
    return "\n".join(fill(line, _WIDTH, subsequent_indent="  ") for line in lines)


def _answer(found: ChipYield, question: Target) -> str:
    total, good = len(found.chips), found.good(question.accuracy)
    low, high = found.bounds(good)
    where = f", {axes_text(found.axes)}" if found.axes else ""
    answer = {
        True: f"yes, at least {low:.3f}",
        False: f"no, at most {high:.3f}",
        None: f"undecided at the limit, {low:.3f} to {high:.3f}",
    }[question.answer_of_chips(good, total)]
    return (
        f"answer   {question}{where}: {answer}, after {total} chips with {good} good on these {found.images:,} images"
    )
