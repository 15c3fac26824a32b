"""Corners are sets of fields that points name: what they compute is what the fields compute."""

from pathlib import Path
from typing import Any

import pytest

from asim_lightning.circuit import MacroConfig
from asim_lightning.cost import Technology
from asim_lightning.evaluation.run import read_run
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.publish import publish
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.sweep import Sweep, SweepSettings, open_sweep
from tests.conftest import rows_of
from tests.exploration.conftest import grid, small_work, stored
from tests.exploration.own_network import MACRO

NOISY = MACRO.with_fields(random_noise=1.0, static={})
GIVEN: dict[str, Any] = {
    "tt": None,
    "ff": {"technology": {"supply": 0.99}},
    "ss": {"macro.random_noise": 3.0, "technology.supply": 0.81, "technology.cycle_ns": "65 ns"},
}


def work(folder: Path, given: Any = GIVEN, macro: MacroConfig = NOISY) -> Work:
    made = small_work(folder, macro)
    return Work(made.trainer, made.model, made.data, folder, corners=Corners.read(given))


def sweep(folder: Path, axes: dict[str, Any] = {}, given: Any = GIVEN, **settings: Any) -> Sweep:
    return open_sweep(work(folder, given), SweepSettings(axes, **{"trials": 1, **settings}))


def test_a_corner_has_fields_by_the_names_of_axes() -> None:
    nested = {"ss": {"macro": {"static": {"offset": ".3 LSB"}, "rows": 64}, "technology": {"supply": "810 mV"}}}
    assert Corners.read(nested).fields == {
        "ss": {"static.offset": "0.3 lsb", "rows": 64, "technology.supply": "810 mV"}
    }
    assert Corners.read(GIVEN).fields["tt"] == {}
    assert Corners.read(None) == Corners.read({}) == Corners()


def test_an_axis_wins_over_a_corner() -> None:
    corners = Corners.read({"ss": {"macro.random_noise": 3, "macro.static.gain": 1, "technology.supply": 0.8}})
    both = {"random_noise": 3, "static.gain": 1, "technology.supply": 0.8}
    assert corners.at({"corner": "ss", "adc_bits": 7}) == {**both, "adc_bits": 7}
    assert corners.at({"corner": "ss", "random_noise": 0, "technology.supply": 1}) == {
        **both, "random_noise": 0, "technology.supply": 1,
    }  # fmt: skip
    whole = {"offset": "0.3 lsb"}
    assert corners.at({"corner": "ss", "static": whole})["static"] == whole
    assert "static.gain" not in corners.at({"corner": "ss", "static": whole})
    assert corners.at({"adc_bits": 7}) == {"adc_bits": 7}
    said = list(corners.notes(["ss"], ["corner", "random_noise"], {"static"}))
    assert [line.split("so ")[-1] for line in said] == [
        "random_noise of a corner has no effect",
        "corners  rules of the plan decide static.gain of some layers at every corner",
    ]


def test_corners_are_the_fields_that_they_name_and_equal_ones_are_computed_once(tmp_path: Path) -> None:
    axes = grid(adc_bits=[5, 8])
    made = sweep(tmp_path, axes)
    run = made.run()
    assert [tuple(row.axes.values()) for row in run.points] == [(c, b) for b in (5, 8) for c in ("tt", "ff", "ss")]
    assert list(run.points[0].axes) == ["corner", "adc_bits"]
    assert len(stored(tmp_path)) == 2 + 4  # ff differs from tt in its technology only
    spelled = open_sweep(small_work(tmp_path, NOISY), SweepSettings({**axes, "random_noise": [1.0, 3.0]}, 1)).run()
    assert len(stored(tmp_path)) == 2 + 4
    by_axes = {(row.axes["adc_bits"], row.axes["random_noise"]): row for row in spelled.points}
    for row in run.points:
        other = by_axes[row.axes["adc_bits"], 3.0 if row.axes["corner"] == "ss" else 1.0]
        assert (row.point, row.right, row.low) == (other.point, other.right, other.low)
    tt, ff, ss = run.points[:3]
    other = by_axes[5, 1.0]
    assert tt.figures == other.figures
    assert ff.figures["energy_uj"] > tt.figures["energy_uj"] > ss.figures["energy_uj"]
    assert ss.figures["latency_ms"] == pytest.approx(65 / 50 * tt.figures["latency_ms"])
    at = open_sweep(
        small_work(tmp_path, NOISY), SweepSettings(axes, 1, technology=Technology(supply=0.81, cycle_ns=65))
    )
    assert [row.figures for row in at.run().points] == [row.figures for row in run.points if row.axes["corner"] == "ss"]


def test_a_run_has_the_corners_first_and_a_second_one_computes_nothing(tmp_path: Path) -> None:
    made = sweep(tmp_path, grid(random_noise=[0, 1.0]), {**GIVEN, "low": {"macro.adc_bits": 4}}, chips=None)
    text, before = publish(made.run(), made, "tiny"), stored(tmp_path)
    assert text.splitlines()[0].split() == ["kind", "corner", "random_noise", *text.splitlines()[0].split()[3:]]
    assert rows_of(made.folder / "results.csv")[2]["corner"] == "tt"
    assert next(iter(rows_of(made.folder / "results.csv")[0])) == "corner"
    assert (made.folder / "accuracy_vs_random_noise.png").is_file()
    again = sweep(tmp_path, grid(random_noise=[0, 1.0]), {**GIVEN, "low": {"macro.adc_bits": 4}})
    said = list[str]()
    again.run(said.append)
    assert again.folder == made.folder
    assert stored(tmp_path) == before
    assert read_run(made.folder).corners["low"] == {"adc_bits": 4}
    # another meaning of a corner, or fewer corners, are another run
    assert sweep(tmp_path, grid(random_noise=[0, 1.0])).folder != made.folder
    few = sweep(tmp_path, grid(corner=["ss", "tt"], random_noise=[0, 1.0]))
    assert [row.axes["corner"] for row in few.run().points] == ["ss", "tt"] * 2
    assert few.folder not in (made.folder, again.folder)


def test_corners_alone_are_a_grid_and_are_decided_together(tmp_path: Path) -> None:
    every, plain = "accuracy 99 % of quantized at every corner", "accuracy 99 % of quantized"
    found = sweep(tmp_path, targets=[every, plain, "energy 1 mJ at every corner"]).run()
    assert [row.axes for row in found.points] == [{"corner": name} for name in GIVEN]
    own = [row.decisions[plain] for row in found.points]
    worst = min(own, key=lambda each: each.margin)
    assert len({each.margin for each in own}) > 1
    assert {row.decisions[every].margin for row in found.points} == {worst.margin}
    assert {row.decisions["energy 1000 uJ at every corner"].verdict for row in found.points} == {"kept"}
    assert [row.axes["corner"] for row in read_run(found.folder).points] == list(GIVEN)


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"ss": {"macro.random_nois": 1}}, {}, r"^`macro.random_nois` is no field of a .*, in `corners.ss`$"),
        ({"ss": {"technology.suply": 1}}, {}, r"^`technology.suply` is no field of a technology, .*, in `corners.ss`$"),
        ({"ss": {"macro.random_noise": -1}}, {}, r"random_noise.* -1.*, in `corners.ss`$"),
        ({"ss": {"random_noise": 1}}, {}, r"^`corners.ss` takes fields of macro and technology, .*, got random_noise$"),
        ({"ss": 3}, {}, r"^`corners.ss` must be a mapping of fields, such as .*, got 3$"),
        ([1], {}, r"^`corners` must be a mapping of names to fields, such as .*, got \[1\]$"),
        (GIVEN, {"axes": {"corner": ["sx"]}}, r"^`axes.corner` must be one of tt, ff, ss, got 'sx'$"),
        ({}, {"axes": {"corner": ["ss"]}}, r"^`axes.corner` needs `corners` in the recipe, such as .*, got \['ss'\]$"),
        ({}, {"targets": ["energy 1 uJ at every corner"]}, r"^the target 'energy 1 uJ at .*' needs `corners`"),
        (GIVEN, {"until": "accuracy 88 % at every corner"}, r"^`until` ends each corner by itself, so leave out"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_allowed(tmp_path: Path, given: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(tmp_path, given=given, **settings)
