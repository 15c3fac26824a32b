"""A run is read back from its store, and its groups, front, cheapest points and decisions follow from its points."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asim_lightning.evaluation import run as runs
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.results import AxisValue, Decision, Kind, Outcomes, Result, Verdict
from asim_lightning.evaluation.run import CommandRecord, Run, are_among, read_run, result_rows, run_names
from asim_lightning.evaluation.store import Store
from asim_lightning.evaluation.target import Target

TARGET = "accuracy 80 %"


def point(
    accuracy: float,
    energy: float | None = None,
    verdict: Verdict | None = None,
    axes: Mapping[str, AxisValue] | None = None,
    kind: Kind = "simulated",
) -> Result:
    return Result(
        {"adc_bits": energy} if axes is None else axes, kind, 1, 400, accuracy, accuracy - 0.02, accuracy + 0.02, 1.5,
        "exact", (round(400 * accuracy),), figures={} if energy is None else {"energy_uj": energy},
        decisions={} if verdict is None else {TARGET: Decision(verdict)},
    )  # fmt: skip


def run(*points: Result, **others: Any) -> Run:
    return Run(Path("runs/mine/sweep-1"), points, **others)


FLOAT, QUANTIZED = (point(each, axes={}, kind=kind) for kind, each in (("float", 0.91), ("quantized", 0.92)))  # type: ignore[arg-type]


def test_a_run_is_read_back_from_its_store(tmp_path: Path) -> None:
    store, name = Store(tmp_path), "search-1"
    paired = replace(point(0.9, 2.0, "undecided"), difference=Interval(-0.02, -0.04, 0.0), point="0123456789ab")
    outcomes = [Outcomes(np.arange(4), np.float32([1, 1, 1, right]), 1.0, "exact") for right in (0, 1)]
    chips = tuple(
        Result.of({"rows": 64, "chip": chip}, "simulated", reads)
        for chip, reads in ((0, outcomes), (3, outcomes[::-1]))
    )
    several = replace(Result.of({"rows": 64}, "simulated", outcomes * 2), chips=chips)
    command = CommandRecord("asim search -c mine", "mine", {"trials": [2, 1]}, started="2026-01-02", seconds=3.5)
    store.write(name, runs.COMMAND + "b", asdict(command))
    store.write(name, runs.COMMAND + "a", asdict(replace(command, command="asim report", started="2026-01-03")))
    store.write(name, runs.SETTINGS, {"weights": "a"})
    store.write(name, runs.TRADED, {"objectives": ("accuracy", "latency"), "targets": (TARGET,)})
    store.write(name, runs.THRESHOLDS, [0.5, 0.8])
    store.write(name, runs.COST, {"total": 1})
    store.write(name, runs.LAYERS, [{"axes": {"adc_bits": 2}, "layers": [{"layer": "fc"}]}])
    for each in (QUANTIZED, paired, several):
        store.keep_point(name, str(each.axes), each.trials, asdict(each))
    found = read_run(tmp_path / name)
    assert found.results == (QUANTIZED, paired, several)
    assert found.rows == (QUANTIZED, paired, *chips)
    assert (found.points, found.references, found.axes, found.costs) == (
        [paired, *chips], [QUANTIZED], ["adc_bits", "rows", "chip"], ["energy_uj"],
    )  # fmt: skip
    assert (found.settings, found.objectives, found.targets) == ({"weights": "a"}, ("accuracy", "latency"), (TARGET,))
    assert [each.command for each in found.commands] == ["asim search -c mine", "asim report"]
    assert found.commands[0] == command
    assert (found.thresholds, found.network_cost) == ((0.5, 0.8), {"total": 1})
    (again,) = found.yields
    assert (again.axes, again.chips, again.right.tolist(), again.mean) == (
        {"rows": 64}, (0, 3), [[3, 4], [4, 3]], Interval(several.accuracy, several.low, several.high, 1),
    )  # fmt: skip
    (design,) = found.designs
    assert [are_among(design["axes"], each.axes) for each in found.results] == [False, True, False]
    assert run_names(tmp_path) == [name]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sweep-1 is no folder"):
        read_run(tmp_path / "sweep-1")
    assert run_names(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_spec_or_doctor_counts_once_it_has_ended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("doctor-1", "search-1", "spec-1", "spec-2"):
        store.keep_point(name, "{}", 1, asdict(QUANTIZED))
    shares = LossMap({"conv1": (0.5, 1.5)}, 1.9)
    store.write("doctor-1", runs.MAP, shares.to_json())  # which is made first
    store.write("spec-2", runs.DOCUMENT, {"target": "yield 0.9 at 85 %", "limits": []})
    assert run_names(tmp_path) == ["search-1", "spec-2"]
    with pytest.raises(FileNotFoundError, match=r"spec-1 has no spec\.json"):
        read_run(tmp_path / "spec-1")
    store.write("doctor-1", runs.DOCUMENT, {"target": TARGET})
    assert run_names(tmp_path) == ["search-1", "spec-2", "doctor-1"]
    found = {name: read_run(tmp_path / name) for name in run_names(tmp_path)}
    assert [each.kind for each in found.values()] == ["search", "spec", "doctor"]
    assert [str(each.own_target) for each in found.values()] == [
        "accuracy 99 % of quantized", "yield 0.9 at 85 %", TARGET,
    ]  # fmt: skip
    assert [each.loss_map for each in found.values()] == [None, None, shares]


def test_the_lines_of_results_csv() -> None:
    kept = replace(point(0.9, 2.0, "kept"), difference=Interval(-0.02, -0.04, 0.0), point="01ab")
    found = run(QUANTIZED, kept, point(0.5, 1.0, "undecided"), targets=(TARGET,))
    head, *rows = result_rows(found, ["adc_bits"])
    assert head == [
        "adc_bits", "kind", "trials", "images", "accuracy", "low", "high", "seconds", "algorithm", "point", "right",
        "energy_uj", "difference", "difference_low", "difference_high", TARGET, "front", "cheapest",
    ]  # fmt: skip
    assert rows[1] == [
        "2", "simulated", 1, 400, "0.900000", "0.880000", "0.920000", "1.500", "exact", "01ab", "360", "2",
        "-0.020000", "-0.040000", "0.000000", Decision("kept"), "true", "true",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["", "2", "1"]
    assert [row[-3:] for row in rows[::2]] == [["", "", ""], [Decision("undecided"), "true", "false"]]


def test_fields_of_the_macro_that_are_traded_are_no_costs() -> None:
    figures = {"energy_uj": 1.0, "yield": 0.9, "adc_bits": float("inf")}
    assert run(replace(point(0.9), figures=figures)).costs == ["energy_uj", "yield"]


def test_the_front_has_what_no_other_betters() -> None:
    points = [
        point(accuracy / 5, energy) for accuracy, energy in product(range(1, 5), range(1, 4)) if accuracy <= energy
    ]
    found = run(*points)
    assert [(each.accuracy, each.figures["energy_uj"]) for each in found.front] == [(0.6, 3), (0.4, 2), (0.2, 1)]
    assert [each.accuracy for each in replace(found, objectives=("accuracy",)).front] == [0.6]
    assert len(run(point(0.5, 1), point(0.5, 1), point(0.5, 2)).front) == 2  # neither of two equal ones is better
    assert run(point(0.5, 1), point(0.5)).front == []  # a cost is not known


def test_the_cheapest_surely_keeps_the_targets() -> None:
    points = (
        point(0.9, 3, "kept"), point(0.89, 2, "kept"), point(0.88, 1, "undecided"), point(0.5, 0.5, "missed"),
        point(0.85, 2, "kept"),
    )  # fmt: skip
    assert run(*points, targets=(TARGET,)).cheapest == [points[1]]  # of the same energy the more accurate
    assert run(*points).cheapest == [None]
    assert run(*points[2:4], targets=(TARGET,)).cheapest == [None]


@pytest.mark.parametrize(
    ("axis", "is_condition"),
    [
        ("rules.layer1.*.random_noise", True), ("static.offset", True), ("rules.fc.static.gain", True),
        ("static", True), ("random_noise", True), ("chip", True), ("column", True), ("full_scale_mv", True),
        ("adc_bits", False), ("rows", False), ("technology.supply", False), ("checkpoint", False),
        ("static.columns_per_adc", False), ("static.trim", False), ("rules.fc.adc_bits", False),
    ],
)  # fmt: skip
def test_nobody_chooses_noise_and_spreads_and_a_design_is_chosen(axis: str, is_condition: bool) -> None:
    found = run(*(point(0.9, 1, axes={axis: value}) for value in (1, 2)))
    assert [given for given, _ in found.groups] == ([{axis: 1}, {axis: 2}] if is_condition else [{}])


def test_each_noise_has_a_front_and_a_cheapest_point() -> None:
    points = [
        point(accuracy, bits, verdict, {"adc_bits": bits, "random_noise": noise})
        for noise, bits, accuracy, verdict in (
            (0, 1, 0.9, "kept"), (0, 2, 0.9, "kept"), (0.1, 1, 0.5, "missed"), (0.1, 2, 0.8, "kept"),
            (0.2, 1, 0.3, "missed"),
        )
    ]  # type: ignore[misc]  # fmt: skip
    found = run(*points, targets=(TARGET,))
    assert [given for given, _ in found.groups] == [{"random_noise": noise} for noise in (0, 0.1, 0.2)]
    assert found.front == [points[0], points[3], points[2], points[4]]
    assert found.cheapest == [points[0], points[3], None]


def test_the_recipes_own_macro() -> None:
    points = [point(0.9, axes={"rows": 64.0, "random_noise": noise, "static.offset": 1}) for noise in (0.1, 0.2)]
    found = run(*points, commands=(CommandRecord("", macro={"rows": 64, "random_noise": 0.3}),))
    assert found.own(points) is points[0]
    assert found.own([point(0.9, axes={"rows": 65}), point(0.9, axes={"technology.supply": 1.0})]) is None
    assert run(*points).own(points) is None


def test_the_verdict_of_several_targets() -> None:
    assert replace(point(0.9), decisions={}).verdict == "kept"
    for decided, verdict in ((("kept", "undecided", "missed"), "missed"), (("kept", "undecided"), "undecided")):
        decisions = {str(place): Decision(each) for place, each in enumerate(decided)}  # type: ignore[arg-type]
        assert replace(point(0.9), decisions=decisions).verdict == verdict


def test_what_a_search_has_decided_counts_and_images_decide_the_rest() -> None:
    target, decided = Target.read(TARGET, "`x`"), point(0.5, 1, "kept")
    found = run(decided, point(0.79), commands=(CommandRecord("", images=10_000),))
    assert found.decision(target, decided) == Decision("kept")
    assert found.decision(target, found.points[1]) == Decision("undecided", 1600)
    assert replace(found, settings={"until": "accuracy 70 %"}).decision(target, found.points[1]) == Decision(
        "undecided"
    )
    share = Target.read("accuracy 99 % of float", "`x`")
    assert run(FLOAT, decided).reference(share) == FLOAT
    with pytest.raises(ValueError, match="needs a point of kind float"):
        run(QUANTIZED, decided).decision(share, decided)
    with pytest.raises(ValueError, match=r"must be as '88 %' for .*, whose images ended by 'accuracy 70 %'"):
        run(FLOAT, decided, settings={"until": "accuracy 70 %"}).decision(share, decided)


@pytest.mark.parametrize(
    ("targets", "until", "own"),
    [
        ((), None, "accuracy 99 % of quantized"),
        (("energy 2 uJ", "accuracy 98 % of float", TARGET), None, "accuracy 98 % of float"),
        ((), "accuracy 89 %", "accuracy 89 %"),
        ((), "accuracy within 9 %", "accuracy 91.08 %"),  # 99 % of 92 %
    ],
)
def test_a_run_has_a_target_of_its_own(targets: tuple[str, ...], until: str | None, own: str) -> None:
    settings = {} if until is None else {"until": until}
    assert str(run(FLOAT, QUANTIZED, targets=targets, settings=settings).own_target) == own
