"""What a sweep shows: its table, picture and files, with titles that name what is the same at all points."""

import json
from typing import Any

import pytest

from asim_lightning import MacroConfig, Rule
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.publish import publish
from asim_lightning.report.accuracy import accuracy_picture
from asim_lightning.report.picture import Picture
from tests.exploration.conftest import Make


def test_publish_writes_a_plot_and_names_the_files(make: Make) -> None:
    sweep = make()
    said = publish(sweep.run(), sweep, "tiny", 10).splitlines()
    assert said[-3:] == [
        f"numbers  {sweep.folder / 'results.csv'}",
        f"picture  {sweep.folder / 'accuracy_vs_random_noise.png'}",
        f"charts   tensorboard --logdir {sweep.folder.parent.parent}",
    ]
    assert (sweep.folder / "accuracy_vs_random_noise.png").stat().st_size > 10_000
    assert json.loads((sweep.folder / "settings.json").read_text())["axes"] == ["random_noise"]


@pytest.mark.parametrize(
    ("axes", "picture"),
    [
        (SweepAxes(chip=[0, 1, 2]), "accuracy_of_chips.png"),
        (SweepAxes(chip=[0, 1], static=[{"offset": "3 lsb"}, {"offset": "9 lsb"}]), "accuracy_of_chips.png"),
        (SweepAxes(chip=[0, 1], random_noise=[0.3, 1.0]), "accuracy_vs_random_noise.png"),
        (SweepAxes(chip=[0, 1], random_noise=["0.3 lsb", "1 lsb"]), "accuracy_vs_random_noise.png"),
    ],
)
def test_single_chips_are_dots_where_no_line_of_each_has_an_order(axes: SweepAxes, picture: str, make: Make) -> None:
    macro = MacroConfig(weight_bits=4, input_bits=4, static={"offset": "3 lsb"})  # type: ignore[arg-type]
    sweep = make(axes, trials=1, macro=macro)
    said = publish(sweep.run(), sweep, "tiny", 10)
    assert f"picture  {sweep.folder / picture}" in said
    assert [path.name for path in sweep.folder.glob("*.png")] == [picture]


@pytest.mark.parametrize(
    ("axes", "note"),
    [
        (SweepAxes(random_noise=[0.3], votes=[1, 3]), "random_noise 0.3, votes 1; random_noise 0.3, votes 3"),
        (
            SweepAxes(random_noise=[0.3, 0], votes=[1, 3, 5, 7, 9]),
            "random_noise 0.3, votes 1; random_noise 0.3, votes 3; random_noise 0.3, votes 5; random_noise 0.3, "
            "votes 7; 1 more; so do those of 1 more such groups",
        ),
        (SweepAxes(random_noise=[0.3, 0]), None),
    ],
)
def test_points_of_an_axis_that_does_nothing_are_named(axes: SweepAxes, note: str | None, make: Make) -> None:
    sweep = make(axes, trials=1)
    said = publish(sweep.run(), sweep, "tiny", 10).splitlines()
    notes = [line for line in said if "compute the same" in line]
    assert notes == ([] if note is None else [f"note     these points compute the same: {note}"])


def test_noise_in_lsb_over_adc_bits_is_named_below_the_table(make: Make) -> None:
    sweep = make(SweepAxes(random_noise=["0.3 lsb"], adc_bits=[6, 7]), trials=1, images=2)
    said = publish(sweep.run(), sweep, "tiny", 10).splitlines()
    assert [line[:36] for line in said if line.startswith("note")] == ["note     random_noise 0.3 lsb follow"]


@pytest.mark.parametrize(
    ("axes", "picture", "title"),
    [
        (SweepAxes(random_noise=[0.3], adc_bits=[6, 7]), "adc_bits", "tiny: W4A4, 255 rows, random noise 0.3 %"),
        (SweepAxes(random_noise=[0.3, 1.0], rows=[64]), "random_noise", "tiny: W4A4, 64 rows, 8-bit ADC"),
        (SweepAxes(adc_bits=[6, 7], votes=[3]), "adc_bits", "tiny: W4A4, 255 rows, votes 3"),
        (SweepAxes(weight_bits=[3, 4]), "weight_bits", "tiny: A4, 255 rows, 8-bit ADC"),
    ],
)
def test_titles_name_what_is_the_same_at_all_points(
    axes: SweepAxes, picture: str, title: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def spy(rows: Any, axis: str, title: str, *others: Any) -> Picture:
        titles.append(title)
        return accuracy_picture(rows, axis, title, *others)

    monkeypatch.setattr("asim_lightning.exploration.publish.accuracy_picture", spy)
    sweep = make(axes, trials=1)
    assert f"accuracy_vs_{picture}.svg" in publish(sweep.run(), sweep, "tiny", 10, suffix="svg")
    assert (sweep.folder / f"accuracy_vs_{picture}.svg").read_bytes().startswith(b"<?xml")
    assert titles == [title]


def test_a_folder_with_noise_in_several_units_is_drawn_in_percent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def spy(rows: Any, axis: str, *others: Any) -> Picture:
        drawn.append([row.axes[axis] for row in rows if row.axes])
        return accuracy_picture(rows, axis, *others)

    monkeypatch.setattr("asim_lightning.exploration.publish.accuracy_picture", spy)
    rules = [Rule("fc", {"random_noise": 0}), Rule("layer4.*", {"rows": 64})]
    for values in ([0, 0.5], ["0.51 lsb"]):
        sweep = make(SweepAxes(random_noise=values), trials=1, rules=rules)
        publish(sweep.run(), sweep, "tiny", 10)
    assert drawn == [[0, 0.5], [0, 0.5, 0.2]]
    for values in ([0.5], ["0.51 lsb"]):  # which is another percentage in layers of other ADCs
        sweep = make(SweepAxes(random_noise=values), trials=1, rules=[Rule("fc", {"adc_bits": 9})])
        publish(sweep.run(), sweep, "tiny", 10)
    assert drawn[-1] == [0.5, "0.51 lsb"]
