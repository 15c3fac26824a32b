"""The page of what an ADC sees, for many cycles and for one."""

from functools import cache
from typing import Any

import pytest
import torch

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.engine.adc_range import Histogram
from asim_lightning.nn.count_histograms import LayerCounts
from asim_lightning.report.count_figure import count_figure
from tests.report.runs import check_inside

MACROS: dict[str, dict[str, Any]] = {
    "80 cycles": {"weight_bits": 10, "adc_bits": 5, "random_noise": 0.5},
    "one": {"weight_bits": 2, "input_bits": 2, "weight_parallel": True},
    "digital": {"weight_bits": 2, "input_bits": 4, "digital_levels": 9},
    "exact": {"weight_bits": 2, "input_bits": 2},
}


@cache
def page(name: str) -> Any:
    """The page of a layer whose counts are few; those of every third cycle are all equal."""
    circuit = transfer(MacroConfig(**MACROS[name]), False)
    values = [torch.arange(5.0 + number if number % 3 else 1.0).double() for number in range(len(circuit.cycles))]
    counts = LayerCounts(circuit, (255, 30), 9)
    counts.histograms = [Histogram(each, torch.ones_like(each)) for each in values]
    return count_figure("fc", counts, "word " * 30)


@pytest.mark.parametrize("name", ["80 cycles", "one"])
def test_every_text_stands_within_the_page(name: str) -> None:
    figure = page(name)
    texts = [*figure.texts, figure._suptitle]
    for plot in figure.axes:
        texts += [plot.title, plot.yaxis.label, plot.xaxis.label]
        for axis, (low, high) in ((plot.xaxis, plot.get_xlim()), (plot.yaxis, plot.get_ylim())):
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    check_inside(figure, [text for text in texts if text.get_text().strip() and text.get_visible()])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one", {"-", "the range ends beyond this picture, at -765, 765"}),
        ("exact", {"-", "exact", "the range ends beyond this picture, at 255"}),
        ("digital", {"-", "digital"}),
    ],
)
def test_words_for_what_no_bar_shows(name: str, said: set[str]) -> None:
    assert {text.get_text() for plot in page(name).axes for text in plot.texts} == said
