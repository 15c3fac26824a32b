"""matplotlib shows what a picture describes, and nothing is cut off."""

import subprocess
import sys
from math import nan

import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from asim_lightning.report.accuracy import accuracy_picture
from asim_lightning.report.draw import figure_of, save_figure
from asim_lightning.report.picture import WIDTH, Axis, Grid, Mark, Picture, Series, number_axis
from asim_lightning.report.plotly_figure import traces_of
from tests.report.runs import check_inside, simulated

X, Y = Axis("x"), Axis("accuracy (%)", ends=(0.0, 100.0))


def drawn_of(*series, **others):
    return figure_of(Picture("Title", X, Y, series, **others)).axes[0]


def test_points_intervals_and_marks():
    line = Series("a", [1, 2], [50, 60], [45, 58], [52, 66], form="line")
    plot = drawn_of(line, marks=[Mark("y", 92.0, "quantized"), Mark("x", 1.5, "from 85 %")])
    points, _, (bars,) = plot.containers[0]
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([1, 2], [50, 60])
    assert [tuple(bar[:, 1]) for bar in bars.get_segments()] == [(45, 52), (58, 66)]
    assert [text.get_text() for text in plot.get_legend().get_texts()] == ["quantized", "from 85 %", "a"]
    left, right = plot.get_xlim()
    assert left < 1 < 2 < right < 3
    assert plot.get_ylim() == (0, 100)


def test_lines_differ_in_black_and_white():
    plot = drawn_of(*(Series(f"{n}", [0, 1], [n, n], form="line", style=n) for n in range(8)))
    lines = [each[0] for each in plot.containers]
    assert len({line.get_marker() for line in lines}) == 8
    assert len({str(line._dash_pattern) for line in lines}) == 4


def test_a_step_has_its_band_and_bars_stand_on_each_other():
    plot = drawn_of(Series("y", [80, 90, 100], [1, 0.5, 0], [0.8, 0.4, 0], [1, 0.7, 0.2], form="step"))
    assert list(plot.lines[0].get_ydata()) == [1, 0.5, 0]
    assert {0.4, 0.7} <= {float(y) for y in plot.collections[0].get_paths()[0].vertices[:, 1]}
    bars = [Series(name, [2.0, 3.0], [0, 1], form="bar", style=style) for style, name in enumerate("ab")]
    plot = figure_of(Picture("", X, Axis("", "names", ["conv", "fc"]), bars)).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in plot.patches] == [(0, 2), (0, 3), (2, 2), (3, 3)]
    assert plot.yaxis_inverted()


def test_labels_do_not_touch():
    labels = [(1.0 + 0.002 * number, 50.0, str(number)) for number in range(4)]
    plot = drawn_of(Series("", [0, 1, 2], [0, 50, 100]), labels=labels)
    boxes = [text.get_window_extent() for text in plot.texts]
    assert [text.get_text() for text in plot.texts] == ["0", "1", "2", "3"]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_decades_are_numbers_and_0_is_among_them():
    noises = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
    for some in (noises, noises[1:]):
        picture = accuracy_picture([simulated(random_noise=each) for each in some], "random_noise", adc_bits=8)
        plot = figure_of(picture).axes[0]
        texts = [text.get_text() for text in plot.get_xticklabels() if text.get_text()]
        assert {"0.001", "0.01", "0.1", "1"} <= set(texts)
        assert ("0" in texts) is (0 in some)
        assert plot.get_xlim()[0] > -0.001


def test_heat_maps_share_their_scale():
    names = Axis("rows", "names", ["64", "255"])
    grid = Grid([[10.0, 90.0], [nan, 20.0]], [["10", "90\ncheapest"], ["", "20"]], "accuracy (%)", (0.0, 100.0))
    figure = figure_of(*(Picture(f"votes {n}", names, names, grid=grid) for n in range(2)), title="both")
    first, second, bar = figure.axes
    assert [text.get_text() for text in first.texts] == ["10", "90\ncheapest", "", "20"]
    assert [text.get_weight() for text in first.texts] == ["normal", "bold", "normal", "normal"]
    assert (first.get_title(), second.get_title(), bar.get_ylabel()) == ("votes 0", "votes 1", "accuracy (%)")


@pytest.mark.parametrize("width", [3.5, WIDTH])
@pytest.mark.parametrize("lines", [1, 8])
@pytest.mark.parametrize(
    "axis", [Axis("noise", above=("LSB", 2.55)), Axis("column", "names", ["a long name of a column"] * 5)]
)
def test_nothing_is_cut_off(lines, axis, width):
    title = "a_network_of_mine: W8A8, 255 rows, 8-bit ADC, nonlinear noise 0.05 %, column SplitCapacitorColumn, 2 rules"
    series = [Series(f"random noise {n} %", [0, 1, 4], [50, 60, 70], form="line", style=n) for n in range(lines)]
    figure = figure_of(Picture(title, axis, Y, series, note="a note " * 20), width=width)
    figure.draw_without_rendering()
    plot = figure.axes[0]
    labels = (plot.xaxis.label, plot.yaxis.label, *(plot.get_xticklabels() if axis.names else ()))
    legends = figure.legends if width < WIDTH else [plot.get_legend()]
    check_inside(figure, [plot.title, *legends, *labels, *figure.texts])
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    assert min(sizes) >= 7


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_files_of_each_format(tmp_path, suffix):
    path = save_figure(
        figure_of(Picture("t", number_axis("x", [1]), Y, [Series("", [1], [2])])), tmp_path / f"new/p.{suffix}"
    )
    start = path.read_bytes()[:5]
    assert start == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[suffix]
    if suffix == "pdf":
        assert [kind in path.read_bytes() for kind in (b"/Type3", b"/Type0")] == [False, True]
    if suffix == "svg":
        assert ">t</text>" in path.read_text()
    if suffix == "png":
        assert imread(path).shape[:2] == (860, 1440)  # 7.2 inches at 200 dots an inch


def test_one_interval_is_a_band_and_several_are_lines():
    def steps(number: int) -> Series:
        return Series(f"{number}", [0, 1], [0.5, 0.5], [0.4, 0.4], [0.6, 0.6], form="step", style=number)

    one, two = (figure_of(Picture("t", X, Y, [*map(steps, range(count))])).axes[0] for count in (1, 2))
    assert (len(one.collections), len(one.lines)) == (1, 1)
    assert (len(two.collections), len(two.lines)) == (0, 6)
    fills = [trace.get("fill") for trace in traces_of(Picture("t", X, Y, [*map(steps, range(2))]))]
    assert fills == [None] * 6


def test_narrow_pictures_stand_below_each_other():
    names = Axis("rows", "names", ["64", "255"])
    grid = Grid([[10.0, 90.0], [20.0, 20.0]], [["10", "90"], ["20", "20"]], "accuracy (%)", (0.0, 100.0))
    three = [Picture(f"votes {n}", names, names, grid=grid) for n in range(3)]
    for width, columns in ((3.5, 1), (WIDTH, 3)):
        figure = figure_of(*three, width=width)
        assert figure.axes[0].get_gridspec().ncols == columns
        assert figure.get_figwidth() == (width if columns == 1 else 1.4 * WIDTH)


@pytest.mark.process
def test_pyplot_and_its_global_state_are_not_touched():
    drawn = "from asim_lightning.report.draw import *; figure_of(Picture('t', Axis('x'), Axis('y')))"
    code = f"import sys; {drawn}; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
