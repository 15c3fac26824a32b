"""A chip as text: what none of its converters has is a dash, in the table of layers and of the worst alike."""

import pytest
import torch

from asim_lightning.evaluation.chip_layer import ChipLayer
from asim_lightning.report.chip_report import chip_figure, chip_table, histogram_picture, output_picture


def test_an_error_that_no_converter_has_is_a_dash() -> None:
    offset, place = torch.tensor([0.1, -0.3]), torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0]])
    gain, inl = torch.tensor([1.01, 1.0]), torch.tensor([[0.0, 0.2], [0.5, 0.0]])
    found = {}
    for name, errors in {"offset": (offset, None, None), "rest": (None, gain, inl)}.items():
        layers = [ChipLayer("fc", "fc", place, *errors, 2, (0, 0), 0.0)]
        table = chip_table(layers)
        found[name] = table.shown[1][2:6], [line.split()[-3:] for line in table.note.splitlines()[3:]]
    assert found["offset"][1] == [["-0.3", "-", "-"], ["+0.1", "-", "-"]]
    assert found["rest"][1] == [["-", "+0", "0.5"], ["-", "+1", "0.2"]]
    assert [cell == "-" for cell in found["offset"][0]] == [False, False, True, True]
    assert [cell == "-" for cell in found["rest"][0]] == [True, True, False, False]


def test_a_gradient_along_the_outputs_is_seen() -> None:
    (line,) = output_picture("offset (LSB)", torch.tensor([0.1, 0.3, 0.4, 0.6]), torch.tensor([0, 0, 1, 1])).series
    assert list(line.x) == [-0.5, 0.5, 1.5]
    assert list(line.y) == pytest.approx([0.2, 0.2, 0.5])
    assert list(line.low) == pytest.approx([0.1, 0.1, 0.4])
    (steps,) = histogram_picture("offset (LSB)", torch.arange(100.0)).series
    assert sum(steps.y) == 100


def test_a_figure_has_two_pictures_of_each_kind_of_error() -> None:
    place, offset = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0]]), torch.tensor([0.1, 0.2])
    for errors, count in (((offset, None), 2), ((offset, torch.tensor([1.01, 1.0])), 4), ((None, None), 0)):
        figure = chip_figure([ChipLayer("fc", "fc", place, *errors, None, 2, (0, 0), 0.0)], "")
        assert (0 if figure is None else len(figure.axes)) == count
