"""Single chips as dots: sorted, with the mean of each group and the thresholds, and no line from chip to chip."""

import numpy as np

from asim_lightning.evaluation.results import Result
from asim_lightning.report.chip_dots_figure import chip_dots_figure, groups_of_chips

OFFSET, CELLS = {"offset": "0.09 lsb"}, {"cell_mismatch": "3 %", "stuck_at_1": 1e-4}


def chip(number: int, accuracy: float, **axes: object) -> Result:
    return Result({**axes, "chip": number}, "simulated", 1, 100, accuracy, accuracy, accuracy, 1, "")  # type: ignore[dict-item]


ROWS = [
    Result({}, "float", 1, 100, 0.9, 0.9, 0.9, 1, ""),
    Result({}, "quantized", 1, 100, 0.9, 0.9, 0.9, 1, ""),
    *(chip(number, share, static=OFFSET, rows=64) for number, share in enumerate((0.8, 0.6, 0.7))),
    *(chip(number, share, static=CELLS, rows=64) for number, share in enumerate((0.5, 0.3))),
]


def test_groups_are_of_what_differs_beside_the_chips() -> None:
    first, second = groups_of_chips(ROWS)
    assert (first[0], [row.accuracy for row in first[1]]) == ({"static": OFFSET}, [0.6, 0.7, 0.8])
    assert (second[0], [row.accuracy for row in second[1]]) == ({"static": CELLS}, [0.3, 0.5])


def test_dots_means_and_thresholds() -> None:
    figure = chip_dots_figure(ROWS, "title", (0.75, 0.55))
    (plot,) = figure.axes
    dots = [line for line in plot.lines if line.get_marker() == "o"]
    assert [line.get_linestyle() for line in dots] == ["None", "None"]
    assert np.allclose(np.asarray(dots[0].get_ydata(), float), [60, 70, 80])
    assert np.all(np.diff(np.asarray(dots[0].get_xdata(), float)) > 0)
    assert [round(float(group.get_segments()[0][0][1]), 6) for group in plot.collections] == [70.0, 40.0]
    assert [text.get_text() for text in plot.texts] == ["70.00", "40.00"]
    assert [text.get_text().replace("\n", " ") for text in plot.get_xticklabels()] == [
        "offset 0.09 lsb", "cell mismatch 3 %, stuck at 1 0.0001",
    ]  # fmt: skip
    legend = plot.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "chips", "mean of them", "float and quantized 90.00 %", "thresholds of a good chip",
    ]  # fmt: skip
    levels = [float(line.get_ydata()[0]) for line in plot.lines if line.get_marker() != "o"]  # type: ignore[index,arg-type]
    assert np.allclose(levels, [90, 75, 55])


def test_chips_alone_are_one_group() -> None:
    (plot,) = chip_dots_figure([chip(3, 0.5), chip(1, 0.7)], "title").axes
    assert [text.get_text() for text in plot.get_xticklabels()] == ["2 chips"]
    assert plot.get_xlabel() == ""
