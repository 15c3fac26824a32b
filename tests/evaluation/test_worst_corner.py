"""The worst corner of a point decides, whichever corner is the worst in each number."""

from dataclasses import replace

import pytest

from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.run import is_among
from asim_lightning.evaluation.target import Target
from asim_lightning.evaluation.worst_corner import (
    dearest_corner,
    decided_together,
    designs_of,
    worst_decision,
    worst_result,
)
from tests.report.runs import point, run

EVERY = Target.read("accuracy 88 % at every corner", "`targets`")
PLAIN = Target.read("accuracy 88 %", "`targets`")
ENERGY = Target.read("energy 1.5 uJ at every corner", "`targets`")


def corner(name: str, right: int, energy: float, bits: int = 8, tops: float = 1.0) -> Result:
    figures = {"energy_uj": energy, "energy_uj_low": energy / 2, "energy_uj_high": 2 * energy, "tops_per_watt": tops}
    found = point(right, {"corner": name, "adc_bits": bits}, figures)
    return replace(found, decisions={str(each): each.decide(found, None) for each in (EVERY, PLAIN, ENERGY)})


CORNERS = [corner("tt", 380, 1.0, tops=3.0), corner("ff", 390, 2.0, tops=2.0), corner("ss", 320, 0.8, tops=4.0)]


def test_the_worst_of_each_number() -> None:
    found = worst_result(CORNERS)
    assert (found.axes, found.accuracy, found.low) == ({"adc_bits": 8}, 0.8, pytest.approx(0.77))
    assert found.figures == {"energy_uj": 2.0, "energy_uj_low": 1.0, "energy_uj_high": 4.0, "tops_per_watt": 2.0}
    assert [each.verdict for each in found.decisions.values()] == ["missed"] * 3
    assert dearest_corner(found).axes["corner"] == "ff"
    loss = [
        replace(each, measure=replace(each.measure, name="loss", shown_as="number", more_is_better=False))
        for each in CORNERS
    ]
    assert worst_result(loss).accuracy == 390 / 400
    assert worst_result([point(1, {"adc_bits": 8})]) == point(1, {"adc_bits": 8})


@pytest.mark.parametrize(
    ("right", "verdict"), [((380, 390), "kept"), ((380, 355), "undecided"), ((355, 320), "missed")]
)
def test_a_target_is_kept_if_every_corner_keeps_it(right: tuple[int, int], verdict: str) -> None:
    found = [EVERY.decide(point(each, {}), None) for each in right]
    assert worst_decision(found).verdict == verdict
    assert worst_decision(found[::-1]) == worst_decision(found)


def test_corners_share_decisions_at_every_corner_and_keep_their_own() -> None:
    def with_chips(result: Result, *right: int) -> Result:
        name = result.axes["corner"]
        chips = (replace(corner(name, each, 1.0), axes={"corner": name, "chip": n}) for n, each in enumerate(right))
        return replace(result, chips=tuple(chips))

    ff, ss = with_chips(CORNERS[1], 380, 380, 380, 320), with_chips(CORNERS[2], 380, 320)
    found = decided_together([with_chips(CORNERS[0], 380, 380, 380, 380), ff, ss])
    assert [each.decisions[str(EVERY)].verdict for each in found] == ["missed"] * 3
    assert [each.decisions[str(PLAIN)].verdict for each in found] == ["kept", "kept", "missed"]
    of_chips = [[each.decisions[str(EVERY)].verdict for each in result.chips] for result in found]
    assert of_chips[0] == of_chips[1] == ["kept", "missed", "undecided", "missed"]  # ss has only two chips
    assert of_chips[2] == ["kept", "missed"]


def test_the_only_chip_of_a_corner_counts_with_each_chip_of_the_others() -> None:
    bad, good = CORNERS[2], CORNERS[1]
    chips = tuple(replace(corner("ff", 390, 1.0), axes={**good.axes, "chip": n}) for n in range(2))
    found = decided_together([replace(bad, chips=(bad,)), replace(good, chips=chips)])
    assert [each.decisions[str(EVERY)].verdict for each in found[1].chips] == ["missed"] * 2
    assert [each.decisions[str(PLAIN)].verdict for each in found[1].chips] == ["kept"] * 2
    other = corner("tt", 380, 1.0, 7)
    assert designs_of([bad, *chips, other]) == [[bad, chips[0]], [bad, chips[1]], [other]]


def test_a_run_compares_designs_if_a_target_is_at_every_corner() -> None:
    few = [corner("tt", 380, 1.0, 7), corner("ff", 390, 1.2, 7), corner("ss", 320, 0.8, 7)]
    many = [corner("tt", 380, 2.0), corner("ff", 390, 2.4), corner("ss", 375, 1.6)]
    plain = run([*few, *many]).decided(PLAIN)
    assert [(given["corner"], len(points)) for given, points in plain.groups] == [("tt", 2), ("ff", 2), ("ss", 2)]
    assert [best and best.axes for best in plain.cheapest] == [few[0].axes, few[1].axes, many[2].axes]
    every = run([*few, *many]).decided(EVERY)
    ((given, points),) = every.groups
    assert (given, [each.axes for each in points]) == ({}, [{"adc_bits": 7}, {"adc_bits": 8}])
    (best,) = every.cheapest
    assert best is not None
    assert (best.axes, best.energy_uj) == ({"adc_bits": 8}, 2.4)
    assert [is_among(row, every.cheapest) for row in every.points] == [False] * 3 + [True] * 3
    assert {str(row.decisions[str(EVERY)]) for row in every.points[:3]} == {"missed"}
    with pytest.raises(ValueError, match=r"at every corner' needs a run with `corners`"):
        run([point(380, {"adc_bits": 8})]).decided(EVERY)
