"""The page of what an ADC sees, for many cycles and for one, and the table of ranges."""

import math
from pathlib import Path

import numpy as np
import pytest

from asim_lightning.nn.count_histograms import AdcRange
from asim_lightning.report.command_tables import range_table
from asim_lightning.report.count_figure import CountPage, CycleCounts, count_figure, plot_counts


def cycle(number: int, lowest: float | None = 0.0, highest: float | None = 31.0, csnr: float = 20.0) -> CycleCounts:
    counts = np.arange(5.0 + number)
    return CycleCounts(f"x0 w{number}", counts, counts * 0 + 1 / len(counts), lowest, highest, 1.0, 0.01, 1e-4, csnr)


PAGES = {
    "64 cycles": [cycle(n) for n in range(64)],
    "200 cycles": [cycle(n % 60) for n in range(200)],
    "one": [cycle(0, -2000.0, 2000.0)],
    "digital": [cycle(n, None, None, math.inf) for n in range(8)],
    "exact and constant": [cycle(0, csnr=math.inf), cycle(-4, csnr=-math.inf)],
}


@pytest.mark.parametrize("name", PAGES)
def test_every_text_stands_within_the_page_and_beside_the_others(name: str) -> None:
    cycles = PAGES[name]
    figure = count_figure(CountPage("What the ADC of fc sees", "word " * 60, cycles, (255, 30), 255))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    whole = figure.bbox
    texts = [*figure.texts, figure._suptitle]  # type: ignore[attr-defined]
    for plot in figure.axes:
        texts += [plot.title, plot.yaxis.label, plot.xaxis.label]
        for axis, (low, high) in ((plot.xaxis, plot.get_xlim()), (plot.yaxis, plot.get_ylim())):
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [t.get_window_extent(renderer) for t in texts if t.get_text().strip() and t.get_visible()]
    for box in boxes:
        assert box.x0 >= whole.x0 - 1, box
        assert box.y0 >= whole.y0 - 1, box
        assert box.x1 <= whole.x1 + 1, box
        assert box.y1 <= whole.y1 + 1, box
    titles = [plot.title.get_window_extent(renderer) for plot in figure.axes]
    head = figure.texts[0].get_window_extent(renderer)
    assert all(not head.overlaps(title) for title in titles)
    assert not any(a.overlaps(b) for place, a in enumerate(titles) for b in titles[:place])


def test_a_range_beyond_the_picture_is_told() -> None:
    figure = count_figure(CountPage("T", "t", PAGES["one"], (9,), 255))
    said = [text.get_text() for plot in figure.axes for text in plot.texts]
    assert "the range ends beyond this picture, at -2000, 2000" in said


def test_the_file(tmp_path: Path) -> None:
    path = plot_counts(CountPage("T", "t", PAGES["64 cycles"], (9,), 255), tmp_path / "page.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_table_of_ranges() -> None:
    rows = [
        AdcRange("layer1.conv", 6, 1, 0, 3.64, math.inf, (0.0, 0.0)),
        AdcRange("fc", 6, 2, 34, -math.inf, 44.04, (0.0, 0.00001, 0.005, 0.123)),
    ]
    assert str(range_table(rows)).splitlines()[:5] == [
        "              ADC             CSNR (dB)         clipped",
        "layer        bits  step  low     before  after  %",
        "-----------  ----  ----  ---  ---------  -----  ------------",
        "layer1.conv     6     1    0        3.6  exact  0",
        "fc              6     2   34          -   44.0  0 <.01 .5 12",
    ]
