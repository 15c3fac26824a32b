"""The scale of an axis follows from its numbers."""

import pytest

from asim_lightning.report.picture import number_axis


@pytest.mark.parametrize(
    ("numbers", "scale", "ticks"),
    [
        ((0, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2), "linear", ()),
        ((8, 6, 7), "linear", [6, 7, 8]),
        ((0.01, 0.02, 0.05, 0.1, 1, 10), "log", ()),
        ((0, 0.01, 0.02, 0.05, 0.1, 1, 10), "symlog", ()),
        ((-1, 0.01, 0.02, 0.05, 0.1, 1, 10), "linear", ()),
        ((0.1,), "linear", ()),
        (tuple(range(40)), "linear", ()),
    ],
)
def test_an_axis_is_logarithmic_if_numbers_span_decades(numbers, scale, ticks):
    axis = number_axis("noise (%)", numbers)
    assert (axis.scale, list(axis.ticks)) == (scale, list(ticks))
    assert axis.label == ("noise (%)" if scale == "linear" else "noise (%), log scale")
    assert scale != "symlog" or axis.least == 0.01
