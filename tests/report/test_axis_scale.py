"""Where values stand, and which have room for a label."""

import pytest

from asim_lightning.report.axis_scale import axis_scale, number_ticks


def texts(values, width=800.0, factor=1.0):
    return number_ticks(axis_scale(values), width, lambda text: 8.0 * len(text), factor)[1]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2], "linear"),
        ([6, 7, 8, 12], "linear"),
        ([16, 32, 64, 128, 255], "linear"),
        ([i / 100 for i in range(101)], "linear"),
        ([0.1], "linear"),
        ([0], "linear"),
        ([0, 100], "linear"),
        ([0, 0.01, 0.1, 1, 10], "log"),
        ([16, 32, 64, 128, 256, 512, 1024], "log"),
        ([6, 7, 8, None], "names"),
        ([False, True], "names"),
        (["0.1 %", "0.3 lsb"], "names"),
    ],
)
def test_kind(values, kind):
    assert axis_scale(values).kind == kind


def test_numbers_stand_at_their_values():
    scale = axis_scale([0, 0.05, 0.2])
    assert scale.positions == [0, 0.05, 0.2]
    assert scale.position(0.1) == 0.1


def test_logarithms_have_a_place_for_0_left_of_all():
    scale = axis_scale([0, 0.01, 0.1, 1, 10])
    assert scale.positions == pytest.approx([0, 1, 2, 3, 4])
    assert axis_scale([0.01, 0.1, 1, 10]).positions == pytest.approx([0, 1, 2, 3])
    left, right = scale.ends
    assert left < 0 < 4 < right


def test_names_stand_in_order():
    assert axis_scale([6, 8, None, "charge"]).positions == [0, 1, 2, 3]
    assert not axis_scale(["charge", "current"]).joined
    assert axis_scale([6, None]).joined


def test_labels_are_the_values_where_they_have_room_else_round_numbers():
    assert texts([6, 7, 8, 12]) == ["6", "7", "8", "12"]
    assert texts([0, 0.05, 0.06, 0.2], 400) == ["0", "0.05", "0.1", "0.15", "0.2"]
    assert texts(list(range(0, 64)), 300) == ["0", "10", "20", "30", "40", "50", "60"]
    assert texts([0, 0.1, 0.2], factor=2.55) == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert texts([0.1], factor=2.55) == ["0.255"]


def test_labels_of_a_logarithmic_axis():
    decades = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    assert texts(decades) == ["0", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"]
    assert texts(decades, 400) == ["0", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"]
    assert texts([0, 0.001, 0.12345, 0.1236, 3.14159, 77], 500) == ["0", "0.001", "0.01", "0.1", "1", "10"]
    positions, found = number_ticks(axis_scale(decades), 800, lambda text: 8.0 * len(text), 2.55)
    scale = axis_scale(decades)
    assert found[0] == "0"
    assert positions == pytest.approx([scale.position(float(text) / 2.55) for text in found])
