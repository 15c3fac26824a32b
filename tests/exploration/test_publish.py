"""What a sweep shows: its table, picture and files, with titles that name what is the same at all points."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import Run
from asim_lightning.exploration.axes import grid_of
from asim_lightning.exploration.publish import _equal_points, _is_of_chips, _title, plot_axis, publish
from asim_lightning.report.labels import in_one_unit
from asim_lightning.report.picture import Paper
from tests.exploration.conftest import MACRO, Make, grid, made_up


def test_publish_writes_a_plot_and_names_the_files_and_noise_in_lsb(make: Make) -> None:
    axes = grid(random_noise=["0.3 lsb", "1 lsb"], adc_bits=[6, 7])
    sweep = make(axes, trials=1, images=2, macro=MACRO.with_fields(column="current"))
    said = publish(sweep.run(), sweep.made, "tiny").splitlines()
    notes = ["note     random_noise in lsb follows", "note     the energy model is fitted "]
    assert [line[:36] for line in said if line.startswith("note")] == notes
    assert said[-3:] == [
        f"numbers  {sweep.folder / 'results.csv'}",
        f"picture  {sweep.folder / 'accuracy_vs_random_noise.png'}",
        f"charts   tensorboard --logdir {sweep.folder.parent.parent}",
    ]
    assert (sweep.folder / "accuracy_vs_random_noise.png").stat().st_size > 10_000
    assert json.loads((sweep.folder / "settings.json").read_text())["axes"] == ["adc_bits", "random_noise"]


def rows_of(axes: dict[str, Any]) -> list[Result]:
    """A result for each point of a grid."""
    return [made_up(point) for point in grid_of(axes).grid()]


@pytest.mark.parametrize(
    ("axes", "are_dots"),
    [
        (grid(chip=[0, 1, 2]), True),
        (grid(chip=[0, 1], static=[{"offset": "3 lsb"}, {"offset": "9 lsb"}]), True),
        (grid(chip=[0, 1], random_noise=[0.3, 1.0]), False),
        (grid(chip=[0, 1], random_noise=["0.3 lsb", "1 lsb"]), False),
    ],
)
def test_single_chips_are_dots_if_no_line_of_each_has_an_order(axes: dict[str, Any], are_dots: bool) -> None:
    rows = rows_of(axes)
    axis = plot_axis(rows)
    assert _is_of_chips(in_one_unit(rows, axis)[0], axis) == are_dots


def test_chips_have_a_picture_of_their_own(make: Make) -> None:
    sweep_axes = grid(chip=[0, 1, 2])
    sweep = make(sweep_axes, trials=1, macro=MACRO.with_fields(static={"offset": "3 lsb"}))
    picture = sweep.folder / "accuracy_of_chips.svg"
    assert f"picture  {picture}" in publish(sweep.run(), sweep.made, "tiny", paper=Paper("svg"))
    assert picture.read_bytes().startswith(b"<?xml")
    ended = make(sweep_axes, trials=1, macro=sweep.macro, settings={"until": "accuracy 50 %"})
    found = ended.run()
    # chips saw different images
    assert "accuracy_vs_chip.svg" in publish(found, ended.made, "tiny", paper=Paper("svg"))
    assert not found.yields


NAMED = "random_noise 0.3, votes {}; random_noise 0.3, votes {}"


@pytest.mark.parametrize(
    ("votes", "note"),
    [
        ([1, 3], NAMED.format(1, 3)),
        ([1, 3, 5, 7, 9], f"{NAMED.format(1, 3)}; {NAMED.format(5, 7)}; 1 more; so do those of 1 more such groups"),
        ([1], None),
    ],
)
def test_points_of_an_axis_that_does_nothing_are_named(votes: list[int], note: str | None) -> None:
    noises = [0.3] if len(votes) == 2 else [0.3, 0]
    rows = rows_of(grid(random_noise=noises, votes=votes))
    found = _equal_points([replace(row, point=str(row.axes["random_noise"])) for row in rows], {})
    assert found == ([] if note is None else ["", f"note     these points compute the same: {note}"])


@pytest.mark.parametrize(
    ("axes", "axis", "title"),
    [
        (grid(random_noise=[0.3], adc_bits=[6, 7]), "adc_bits", "tiny: W4A4, 255 rows, random noise 0.3 %"),
        (grid(random_noise=[0.3, 1.0], rows=[64]), "random_noise", "tiny: W4A4, 64 rows, 8-bit ADC"),
        (grid(adc_bits=[6, 7], votes=[3]), "adc_bits", "tiny: W4A4, 255 rows, votes 3"),
        (grid(weight_bits=[3, 4]), "weight_bits", "tiny: A4, 255 rows, 8-bit ADC"),
    ],
)
def test_titles_name_what_is_the_same_at_all_points(axes: dict[str, Any], axis: str, title: str) -> None:
    rows = rows_of(axes)
    assert plot_axis(rows) == axis
    assert _title("tiny", MACRO, Run(Path("a"), tuple(rows)), others=[axis]) == title
