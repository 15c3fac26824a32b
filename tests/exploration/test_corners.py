"""Corners are sets of fields that points name: what they compute is what the fields compute."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asim_lightning import Rule
from asim_lightning.circuit import MacroConfig
from asim_lightning.cost import Technology
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import read_run
from asim_lightning.exploration.axes import base_macro
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.publish import differences, publish, publish_search
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search import Search, SearchSettings, open_search
from asim_lightning.exploration.sweep import Sweep, SweepSettings, open_sweep
from asim_lightning.report.results_table import differences_text
from tests.cli.conftest import environment
from tests.conftest import rows_of
from tests.exploration.conftest import grid, rows, small_work, stored, swept, write_recipe
from tests.exploration.own_network import MACRO
from tests.exploration.test_search import kill_at

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


def test_each_corner_is_compared_with_the_first(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    found = made.run()
    steps = differences(found.points, made, "corner")
    assert [(each.before, each.after) for each in steps] == [("tt", "ff"), ("tt", "ss")]
    by_corner = {row.axes["corner"]: row for row in found.points}
    for each in steps:
        change = by_corner[each.after].accuracy - by_corner["tt"].accuracy
        assert each.change.mean == pytest.approx(change)
    assert differences_text("corner", steps).startswith("Changes from corner tt to each other one, in pairs")


def test_a_full_scale_that_is_a_share_follows_the_supply_of_a_corner() -> None:
    given = {
        "tt": {},
        "low": {"technology.supply": "720 mV"},
        "own": {"technology.supply": 0.72, "macro.full_scale_mv": 9},
    }
    corners, share = Corners.read(given), MacroConfig(full_scale_mv="0.8 of 900 mV", random_noise="3.6 mV")
    found = corners.following(share)
    assert found.fields["tt"] == {}
    assert found.fields["low"] == {"full_scale_mv": 576, "technology.supply": "720 mV"}
    assert found.fields["own"]["full_scale_mv"] == 9
    assert share.with_fields(**found.of_macro("low")).random_noise_percent == 0.625
    assert corners.following(MacroConfig(full_scale_mv=720)) == corners


def test_corners_by_supply_compute_the_same_only_if_the_full_scale_does_not_follow(tmp_path: Path) -> None:
    given = {"tt": None, "low": {"technology.supply": 0.45}}
    numbers, said = [], []
    for name, scale in (("fixed", 100.0), ("share", "0.1 of 1 V")):
        made = work(tmp_path / name, given, NOISY.with_fields(random_noise="2 mV", full_scale_mv=scale))
        made = replace(made, corners=made.corners.following(base_macro(made.model)))
        asked = open_sweep(made, SweepSettings({"rows": [MACRO.rows]}, trials=1))
        run = asked.run()
        numbers.append(len({point.point for point in run.points}))
        said.append("do not follow the supply" in publish(run, asked, "tiny"))
    assert numbers == [1, 2]
    assert said == [True, False]


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
    ruled = replace(corners, ruled=[frozenset({"static"}), frozenset({"adc_bits"})])
    said = list(ruled.notes(["ss"], ["corner", "random_noise"]))
    assert [line.split("so ")[-1] for line in said] == [
        "random_noise of a corner has no effect",
        "corners  rules decide static.gain of some layers at every corner",
    ]
    (said_of_axes,) = corners.notes(["ss"], ["rules.head.random_noise", "rules.conv.static.gain"])
    assert "random_noise, static.gain of some layers" in said_of_axes


def test_rules_for_every_layer_win_over_a_corner_which_may_matter_by_its_technology(tmp_path: Path) -> None:
    given = {"tt": {}, "ss": {"macro.random_noise": 2.0, "macro.static.gain": 1, "technology.supply": 0.81}}
    rules = [Rule("head", {"random_noise": 0.5, "static": {}}), Rule("*", {"random_noise": 0.5})]
    inputs = replace(small_work(tmp_path, NOISY, rules), corners=Corners.read(given))
    made = open_sweep(inputs, SweepSettings(grid(rows=[32]), 1))
    assert [line.split("corners  ")[1].split(", so ")[-1] for line in made.notes] == [
        "random_noise of a corner has no effect",
        "rules decide static.gain of some layers at every corner",
    ]
    tt, ss = made.run().points
    assert ss.figures["energy_uj"] < tt.figures["energy_uj"]
    gain = swept(small_work(tmp_path, NOISY.with_fields(static={"gain": 1}), rules), grid(rows=[32])).points[0]
    assert (ss.point, ss.right) == (gain.point, gain.right) != (tt.point, tt.right)


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
    given = {**GIVEN, "tt": {"macro.random_noise": 0.2}}  # so that accuracies differ, whatever the processor trained
    found = sweep(tmp_path, given=given, targets=[every, plain, "energy 1 mJ at every corner"]).run()
    assert [row.axes for row in found.points] == [{"corner": name} for name in GIVEN]
    own = [row.decisions[plain] for row in found.points]
    worst = min(own, key=lambda each: each.margin)
    assert len({each.margin for each in own}) > 1
    assert {row.decisions[every].margin for row in found.points} == {worst.margin}
    assert {row.decisions["energy 1000 uJ at every corner"].verdict for row in found.points} == {"kept"}
    assert [row.axes["corner"] for row in read_run(found.folder).points] == list(GIVEN)


def test_a_corner_whose_chips_are_equal_has_one_that_counts_with_each_chip_of_the_others(tmp_path: Path) -> None:
    given = {"tt": {}, "ss": {"macro.static.offset": "0.3 lsb"}}
    targets = ["yield 0.5 at 20 % at every corner", "accuracy 50 % at every corner"]
    made = sweep(tmp_path, given=given, chips=6, targets=targets)
    run = made.run()
    assert [row.axes.get("chip") for row in run.points] == [None, *range(6)]
    tt, ss = [each for each in run.results if each.kind == "simulated"]
    alone = sweep(tmp_path, {"corner": ["tt"]}, given).run().points[0]
    assert (tt.point, tt.right, tt.figures["yield_low"]) == (alone.point, alone.right, 1.0)
    assert tt.decisions == ss.decisions
    assert ss.decisions[targets[0]].low == ss.figures["yield_low"] < 1
    assert [[each.axes["corner"] for each in row.corners] for row in run.compared] == [["tt", "ss"]] * 6  # type: ignore[attr-defined]
    assert " tt  " in publish(run, made, "tiny")
    one = sweep(tmp_path, {"chip": [3]}, given).run()
    assert [row.axes.get("chip") for row in one.points] == [None, 3]
    with pytest.raises(ValueError, match=r"^`chip` changes nothing, .*, at the point corner tt of `axes`$"):
        sweep(tmp_path, given={"tt": {}, "ss": {"macro.random_noise": 3.0}}, chips=4)


HARD: dict[str, Any] = {"tt": {"macro.random_noise": 0.2}, "ss": {"macro.random_noise": 1.3, "technology.supply": 0.99}}
PLAIN, EVERY = "accuracy 55 %", "accuracy 55 % at every corner"


def search(folder: Path, given: Any = HARD, **settings: Any) -> Search:
    asked: dict[str, Any] = {"space": {"adc_bits": [4, 5], "rows": [16, 32]}, "constraints": [EVERY], **settings}
    return open_search(work(folder, given), SearchSettings(**asked))


def test_the_cheapest_is_kept_at_every_corner_and_that_at_one_corner_fails_at_another(tmp_path: Path) -> None:
    of_each = search(tmp_path, constraints=[PLAIN])
    apart = of_each.run(progress=False)
    at_tt, ss = apart.cheapest[0], apart.groups[1][1]
    assert [given["corner"] for given, _ in apart.groups] == ["tt", "ss"]
    assert at_tt is not None
    (same,) = [row for row in ss if row.without("corner") == at_tt.without("corner")]
    assert at_tt.verdict == "kept" != same.verdict
    before = stored(tmp_path)
    made = search(tmp_path)
    found = made.run(progress=False)
    assert stored(tmp_path) == before
    (best,) = found.cheapest
    assert best is not None
    rows = [row for row in apart.points if row.without("corner") == best.axes]
    assert [row.verdict for row in rows] == ["kept", "kept"]
    assert best.energy_uj == max(row.figures["energy_uj"] for row in rows) > at_tt.figures["energy_uj"]
    text = publish_search(found, made, "tiny")
    marked = [line for line in text.splitlines() if line.startswith("cheapest ")]
    assert [line.split()[1] for line in marked] == ["tt", "ss"]
    assert [row["corner"] for row in rows_of(made.folder / "results.csv") if row["cheapest"] == "true"] == ["tt", "ss"]
    assert "compared at their worst corners" in text


def test_a_method_that_learns_is_sent_the_worst_corner_and_corners_are_no_points_of_its_own(tmp_path: Path) -> None:
    space = {"adc_bits": [5, 6, 7, 8], "rows": [32, 64], "corner": ["ss", "tt"]}
    given: dict[str, Any] = {"space": space, "method": "optuna", "trials": 6, "seed": 1}
    made, sent = search(tmp_path, **given), list[Any]()

    def worth(result: Result) -> Any:
        sent.append(result)
        return Search._worth(made, result)

    object.__setattr__(made, "_worth", worth)
    points = made.run(progress=False).points
    assert [row.axes["corner"] for row in points] == ["ss", "tt"] * 6
    for result, corners in zip(sent, zip(points[::2], points[1::2], strict=True), strict=True):
        assert result.axes == corners[0].without("corner") == corners[1].without("corner")
        assert result.accuracy == min(row.accuracy for row in corners)
        assert result.energy_uj == max(row.figures["energy_uj"] for row in corners)
        assert result.decisions == corners[0].decisions == corners[1].decisions


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"ss": {"macro.random_nois": 1}}, {}, r"^`macro.random_nois` is no field of a .*, in `corners.ss`$"),
        ({"ss": {"technology.suply": 1}}, {}, r"^`technology.suply` is no field of a technology, .*, in `corners.ss`$"),
        ({"ss": {"macro.random_noise": -1}}, {}, r"random_noise.* -1.*, in `corners.ss`$"),
        ({"ss": {"random_noise": 1}}, {}, r"^`corners.ss` takes fields of macro and technology, .*, got random_noise$"),
        (
            {"ss": {"macro.static": {"offset": "1 lsb"}, "macro": {"static.offset": "2 lsb"}}}, {},
            r"^`corners.ss` may have macro.static.offset once, got '1 lsb' and '2 lsb'$",
        ),
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


def test_what_a_search_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^`search.space.corner` must be one of tt, ss, got 'sx'"):
        search(tmp_path, space={"corner": ["tt", "sx"]})
    with pytest.raises(ValueError, match=r"^`search.points` are evaluated at each corner; leave out `corner`, got"):
        search(tmp_path, space={}, method="list", points=[{"corner": "tt", "adc_bits": 7}])
    with pytest.raises(ValueError, match=r"at every corner' needs `corners` in the recipe"):
        search(tmp_path, None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_search_at_corners_goes_on(tmp_path: Path) -> None:
    corners = {
        "tt": {},
        "ss": {"macro.random_noise": 1.0, "technology.supply": 0.81},
        "ff": {"macro.random_noise": 0.1},
    }
    settings = {"space": {"adc_bits": [6, 8]}, "constraints": ["accuracy 80 % of quantized at every corner"]}
    killed, whole = (tmp_path / name for name in ("killed", "whole"))
    for folder in (killed, whole):
        folder.mkdir()
        write_recipe(folder, 20, corners=corners, search=settings)
    command = [sys.executable, "-m", "asim_lightning", "search", "-c", "tiny.yaml", "--progress", "false"]
    kill_at(4, command, killed)  # between the corners of the first macro
    before = stored(killed)
    assert 4 <= len(before) < 2 + 6
    for folder in (killed, whole):
        subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    assert before.items() <= stored(killed).items()
    assert len(stored(killed)) == 2 + 6
    one, other = (rows(next(folder.glob("runs/tiny/search-*"))) for folder in (killed, whole))
    assert one == other
    assert [row["corner"] for row in one] == ["", "", *["ff", "ss", "tt"] * 2]  # as the dump sorts them
