"""plotly shows what a picture describes."""

from asim_lightning.report.picture import Axis, Grid, Mark, Picture, Series
from asim_lightning.report.plotly_figure import layout_of, traces_of

Y = Axis("accuracy (%)", ends=(0.0, 100.0))


def test_points_intervals_marks_and_texts():
    line = Series("a <b>", [1, 2], [50, 60], [45, 58], [52, 66], form="line", texts=["<1>\n50 %", "2"])
    picture = Picture("t", Axis("x"), Y, [line], [Mark("y", 92.0, "quantized"), Mark("x", 1.5)])
    (drawn,) = traces_of(picture)
    assert (drawn["x"], drawn["y"], drawn["mode"], drawn["name"]) == ([1, 2], [50, 60], "lines+markers", "a &lt;b&gt;")
    assert (drawn["error_y"]["array"], drawn["error_y"]["arrayminus"]) == ([2, 6], [5, 2])
    assert drawn["hovertext"][0] == "&lt;1&gt;<br>50 %"
    layout = layout_of(picture)
    assert [(shape["x0"], shape["y0"]) for shape in layout["shapes"]] == [(0, 92.0), (1.5, 0)]
    assert [(shape["name"], shape["showlegend"]) for shape in layout["shapes"]] == [("quantized", True), ("", False)]
    assert layout["yaxis"]["range"] == [0.0, 100.0]


def test_a_step_has_its_band():
    low, high, step = traces_of(
        Picture("", Axis("x"), Y, [Series("y", [80, 90], [1, 0.5], [0.8, 0.4], [1, 0.7], form="step")])
    )
    assert (low["y"], high["y"], high["fill"]) == ([0.8, 0.4], [1, 0.7], "tonexty")
    assert (step["y"], step["line"]["shape"]) == ([1, 0.5], "vh")


def test_an_axis_with_0_and_decades_has_its_values_in_order():
    series = [Series("a", [0.1, 1.0], [1, 2]), Series("b", [0.0, 0.1], [1, 2])]
    picture = Picture("", Axis("noise", "symlog", least=0.1), Y, series)
    assert [trace["x"] for trace in traces_of(picture)] == [["0.1", "1"], ["0", "0.1"]]
    assert layout_of(picture)["xaxis"]["categoryarray"] == ["0", "0.1", "1"]


def test_labels_and_marked_cells_are_written():
    picture = Picture("title", Axis("x"), Axis("y"), labels=[(1.0, 2.0, "3 & 4")])
    (texts,) = traces_of(picture)
    assert (texts["mode"], texts["x"], texts["y"], texts["text"]) == ("text", [1.0], [2.0], ["\u00a03 &amp; 4\u00a0"])
    grid = Grid([[0.1, 0.2]], [["0.1", "0.2\ncheapest"]], "loss", (0.1, 0.2))
    (cells,) = traces_of(Picture("title", Axis("x"), Axis("y"), grid=grid))
    assert cells["text"] == [["0.1", "0.2<br>cheapest"]]
    assert cells["texttemplate"] == "%{text}"
