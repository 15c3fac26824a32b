"""The picture shows the numbers, and its labels can be read."""

import subprocess
import sys
from itertools import pairwise

import pytest
from matplotlib.image import imread

from asim_lightning.evaluation.results import Result
from asim_lightning.report.accuracy_figure import AccuracyPlot, plot_sweep, sweep_figure
from tests.report.conftest import simulated

FLOAT = Result({}, "float", 1, 2000, 0.93, 0.92, 0.94, 1, "torch")
QUANTIZED = Result({}, "quantized", 1, 2000, 0.92, 0.91, 0.93, 1, "exact")
LEVELS = {
    "default": (0, 0.05, 0.1, 0.2),
    "decades": (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    "one": (0.1,),
    "regular": tuple(round(0.025 * i, 3) for i in range(41)),
    "awkward": (0, 0.001, 0.12345, 0.1236, 3.14159, 77),
    "names": ("charge", "current", "my_laboratory.columns.SplitCapacitorColumn", "silicon.Measured"),
    "mixed": (6, 7, 8, None),
}
SLANTED = [("names", 8)]  # a legend leaves too little room for labels beside each other


def rows_for(axis, values):
    return [FLOAT, QUANTIZED, *(simulated(0.9 - 0.01 * place, **{axis: value}) for place, value in enumerate(values))]


def data_lines(plot):
    return [line for line in plot.containers if hasattr(line, "has_yerr")]


@pytest.mark.parametrize("others", [1, 8])
@pytest.mark.parametrize("levels", LEVELS)
def test_tick_labels_do_not_overlap(levels, others):
    values = LEVELS[levels]
    rows = [FLOAT, *(simulated(random_noise=value, votes=votes) for value in values for votes in range(others))]
    figure = sweep_figure(rows, AccuracyPlot("random_noise", "Levels", adc_bits=8))
    figure.canvas.draw()
    plot = figure.axes[0]
    rows_of_labels = [plot.get_xticklabels(), *(child.get_xticklabels() for child in plot.child_axes)]
    level = [ticks for ticks in rows_of_labels if ticks[0].get_rotation() == 0]
    assert len(rows_of_labels) - len(level) == ((levels, others) in SLANTED)
    for ticks in level:
        boxes = [tick.get_window_extent() for tick in ticks]
        assert [right.x0 - left.x1 > 2 for left, right in pairwise(boxes)] == [True] * (len(ticks) - 1)


def test_values_and_error_bars():
    figure = sweep_figure(
        rows_for("random_noise", (0, 0.05, 0.1, 0.2)), AccuracyPlot("random_noise", "Title", num_classes=10)
    )
    plot = figure.axes[0]
    (line,) = data_lines(plot)
    points, _, (bars,) = line
    assert list(points.get_xdata()) == [0, 0.05, 0.1, 0.2]
    assert list(points.get_ydata()) == pytest.approx([90, 89, 88, 87])
    assert [tuple(bar[:, 1]) for bar in bars.get_segments()] == [
        pytest.approx((y - 2, y + 1)) for y in (90, 89, 88, 87)
    ]
    assert plot.get_xlabel() == "random noise (% of full scale)"
    assert plot.get_ylabel() == "accuracy (%)"
    assert plot.get_title() == "Title"
    texts = [text.get_text() for text in plot.get_legend().get_texts()]
    assert texts == ["float 93.00 %", "quantized 92.00 %", "chance 10 % (below)", "simulated"]
    low, high = plot.get_ylim()
    assert low < 85 < 93 < high < 95


def test_chance_is_in_the_picture_where_accuracy_comes_near():
    plot = sweep_figure(
        [FLOAT, simulated(random_noise=0), simulated(0.2, random_noise=1)], AccuracyPlot("random_noise", num_classes=10)
    ).axes[0]
    assert "chance 10 %" in [text.get_text() for text in plot.get_legend().get_texts()]
    assert plot.get_ylim()[0] < 10


def test_numbers_stand_at_their_values():
    levels = (0, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2)
    plot = sweep_figure(rows_for("random_noise", levels), AccuracyPlot("random_noise")).axes[0]
    assert list(data_lines(plot)[0][0].get_xdata()) == list(levels)
    assert plot.get_xlabel() == "random noise (% of full scale)"
    for tick in plot.get_xticklabels():
        assert float(tick.get_text()) == pytest.approx(tick.get_position()[0])
    assert list(plot.xaxis.get_minor_locator().locs) == list(levels)


def test_a_logarithmic_axis_shows_0():
    plot = sweep_figure(rows_for("random_noise", LEVELS["decades"]), AccuracyPlot("random_noise")).axes[0]
    assert plot.get_xlabel() == "random noise (% of full scale), log scale"
    found = list(data_lines(plot)[0][0].get_xdata())
    assert found[0] == 0.0
    assert found == sorted(found)
    assert found[-1] - found[4] == pytest.approx(2.0)  # decades from 0.1 to 10
    assert [tick.get_text() for tick in plot.get_xticklabels()][:4] == ["0", "0.01", "0.02", "0.05"]
    left, right = plot.get_xlim()
    assert left < found[0] < found[-1] < right


def test_many_lines_become_those_of_the_strongest_axis_and_say_so():
    rows = [
        simulated(0.5 + 0.05 * b - 0.01 * v, random_noise=n, adc_bits=b, votes=v)
        for n in (0, 0.1) for b in (6, 7, 8) for v in (1, 3, 5)
    ]  # fmt: skip
    figure = sweep_figure(rows, AccuracyPlot("random_noise"))
    lines = data_lines(figure.axes[0])
    assert [line.get_label() for line in lines] == ["ADC bits 6", "ADC bits 7", "ADC bits 8"]
    points, _, (bars,) = lines[0]
    assert list(points.get_ydata()) == pytest.approx([77, 77])
    assert [tuple(bar[:, 1]) for bar in bars.get_segments()] == [pytest.approx((75, 79))] * 2
    assert figure.get_supxlabel() == "points: mean over votes; bars: lowest to highest of these"


def test_bars_are_said_to_be_intervals():
    figure = sweep_figure(rows_for("random_noise", (0, 0.1)), AccuracyPlot("random_noise"))
    assert figure.get_supxlabel() == "bars: 95 % intervals"


@pytest.mark.parametrize("lines", [1, 8])
def test_nothing_is_clipped(lines):
    title = "a_network_of_mine: W8A8, 255 rows, 8-bit ADC, nonlinear noise 0.05 %, column SplitCapacitorColumn, 2 rules"
    rows = [FLOAT, *(simulated(random_noise=n, votes=v) for n in (0, 0.05, 0.1) for v in range(lines))]
    figure = sweep_figure(rows, AccuracyPlot("random_noise", title, num_classes=10, adc_bits=8))
    figure.draw_without_rendering()
    plot = figure.axes[0]
    (above,) = plot.child_axes
    for text in (plot.title, plot.xaxis.label, plot.yaxis.label, above.xaxis.label, plot.get_legend()):
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= 900
        assert 0 <= box.y0 < box.y1 <= 540


def test_lines_differ_in_black_and_white():
    rows = [simulated(random_noise=n, votes=v) for n in (0, 0.1) for v in range(8)]
    drawn = [line[0] for line in data_lines(sweep_figure(rows, AccuracyPlot("random_noise")).axes[0])]
    assert len({line.get_marker() for line in drawn}) == 8
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in drawn}) == 4


def test_noise_in_lsb_on_top_where_the_resolution_is_known():
    rows = rows_for("random_noise", (0, 0.1, 0.2))
    (above,) = sweep_figure(rows, AccuracyPlot("random_noise", adc_bits=8)).axes[0].child_axes
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    for tick in above.get_xticklabels():
        assert float(tick.get_text()) == pytest.approx(2.55 * tick.get_position()[0])
    assert above.get_xlabel() == "noise in LSB of the 8-bit ADC"
    same = [simulated(random_noise=0, adc_bits=6), simulated(random_noise=100, adc_bits=6)]
    (above,) = sweep_figure(same, AccuracyPlot("random_noise")).axes[0].child_axes
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["0", "10", "20", "30", "40", "50", "60"]
    assert not sweep_figure(rows, AccuracyPlot("random_noise")).axes[0].child_axes
    mixed = [*same, simulated(random_noise=0, adc_bits=8)]
    assert not sweep_figure(mixed, AccuracyPlot("random_noise")).axes[0].child_axes
    ideal = [simulated(random_noise=0, adc_bits=None)]
    assert not sweep_figure(ideal, AccuracyPlot("random_noise", adc_bits=8)).axes[0].child_axes
    assert not sweep_figure([simulated(adc_bits=8), simulated(adc_bits=7)], AccuracyPlot("adc_bits")).axes[0].child_axes


def noise_plot(values):
    """The plot of noises in falling order, with the texts of its ticks."""
    rows = [FLOAT, QUANTIZED, *(simulated(random_noise=value) for value in reversed(values))]
    plot = sweep_figure(rows, AccuracyPlot("random_noise", adc_bits=8)).axes[0]
    assert not plot.child_axes  # no second axis in LSB
    return plot, [tick.get_text() for tick in plot.get_xticklabels()]


@pytest.mark.parametrize(
    ("values", "label", "ticks"),
    [
        ((0, "0.3 lsb", "1 lsb"), "random noise (LSB)", ["0", "0.3", "1"]),
        (("1 mV", "2.5 mV"), "random noise (mV)", ["1", "2.5"]),
    ],
)
def test_noise_is_labelled_in_the_unit_that_it_is_given_in(values, label, ticks):
    plot, found = noise_plot(values)
    assert (plot.get_xlabel(), found) == (label, ticks)
    assert list(data_lines(plot)[0][0].get_xdata()) == [float(tick) for tick in ticks]


def test_noise_in_several_units_is_labelled_one_by_one():
    plot, found = noise_plot((0.1, "0.3 lsb"))
    assert (plot.get_xlabel(), sorted(found)) == ("random noise", ["0.1 %", "0.3 lsb"])


def test_one_line_for_each_combination_of_the_others():
    rows = [simulated(adc_bits=b, random_noise=n, column="charge") for b in (6, 7, 8, None) for n in (0, 0.1)]
    plot = sweep_figure(rows, AccuracyPlot("adc_bits")).axes[0]
    assert [line.get_label() for line in data_lines(plot)] == ["random noise 0 %", "random noise 0.1 %"]
    assert [tick.get_text() for tick in plot.get_xticklabels()] == ["6", "7", "8", "null"]
    assert plot.get_xlabel() == "ADC bits"
    assert data_lines(plot)[0][0].get_linestyle() == "-"


def test_names_are_not_joined_by_a_line():
    plot = sweep_figure(
        rows_for("column", LEVELS["names"]), AccuracyPlot("column", "", {"column": "column model"})
    ).axes[0]
    assert data_lines(plot)[0][0].get_linestyle() == "None"
    assert [tick.get_text() for tick in plot.get_xticklabels()][2] == "SplitCapacitorColumn"
    assert plot.get_xlabel() == "column model"


def test_quantized_points_along_the_axis_are_a_line():
    quantized = [Result({"weight_bits": w}, "quantized", 1, 100, 0.1 * w, 0, 1, 1, "exact") for w in (8, 2, 4)]
    plot = sweep_figure([*quantized, *(simulated(weight_bits=w) for w in (2, 4))], AccuracyPlot("weight_bits")).axes[0]
    (line,) = [line for line in plot.lines if line.get_label() == "quantized"]
    assert list(line.get_xdata()) == [2, 4, 8]
    assert list(line.get_ydata()) == pytest.approx([20, 40, 80])


def test_png_at_readme_size(tmp_path):
    path = plot_sweep(
        rows_for("random_noise", LEVELS["decades"]), AccuracyPlot("random_noise", "Title"), tmp_path / "new" / "p.png"
    )
    assert imread(path).shape[:2] == (540, 900)


def test_pyplot_and_its_global_state_are_not_touched(tmp_path):
    code = f"""
import sys
from asim_lightning.report.accuracy_figure import AccuracyPlot, plot_sweep
from asim_lightning.evaluation.results import Result
point = Result({{"rows": 3}}, "simulated", 1, 9, 0.5, 0.4, 0.6, 1, "exact")
plot_sweep([point], AccuracyPlot("rows"), {str(tmp_path / "p.png")!r})
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_axis():
    with pytest.raises(ValueError, match=r"\(random_noise\), got 'rows'"):
        sweep_figure([simulated(random_noise=0)], AccuracyPlot("rows"))
