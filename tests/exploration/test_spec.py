"""Limits of properties are those that a sweep finds, and a spec goes on from its records."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import asim_lightning
from asim_lightning import Rule
from asim_lightning.circuit import MacroConfig
from asim_lightning.evaluation.target import TOGETHER, Limit, Target
from asim_lightning.exploration.limits import scaled
from asim_lightning.exploration.spec import SpecSettings, SpecStudy
from asim_lightning.exploration.sweep import Sweep
from tests.exploration.conftest import grid, small_work, stored
from tests.exploration.own_network import MACRO, own_images, own_network

QUIET = MACRO.with_fields(static={})
TARGET = Target("accuracy", 0.5)
ASKED = SpecSettings(str(TARGET), ["adc_bits"])


def spec(folder: Path, macro: MacroConfig = QUIET, rules: Sequence[Rule] = (), **settings: Any) -> SpecStudy:
    return SpecStudy(small_work(folder, macro, rules), SpecSettings(**{"target": str(TARGET), **settings}))


def verdicts(folder: Path, limit: Limit, axis: str) -> list[str]:
    """What a sweep says of the values at both sides of a limit."""
    values = [value if axis == "adc_bits" else f"{value} lsb" for value in (limit.kept, limit.missed)]
    results = Sweep(small_work(folder, QUIET), grid(**{axis: values}), 1).run()
    return [TARGET.decide(each, None).verdict for each in results if each.kind == "simulated"]


def test_limits_are_those_of_a_sweep_and_a_second_spec_computes_nothing(tmp_path: Path) -> None:
    made = spec(tmp_path, properties=["random_noise", "adc_bits"])
    noise, bits = found = made.run(progress=False).limits
    assert None not in (noise.kept, noise.missed, bits.kept, bits.missed)
    before = stored(tmp_path)
    assert spec(tmp_path, properties=["random_noise", "adc_bits"]).run(progress=False).limits == found
    assert stored(tmp_path) == before
    for each, axis in ((noise, "random_noise"), (bits, "adc_bits")):
        assert verdicts(tmp_path / axis, each, axis) == ["kept", "missed"]


def test_spreads_take_chips_and_the_recipes_are_scaled_together(tmp_path: Path) -> None:
    macro = QUIET.with_fields(random_noise="0.1 lsb", static={"offset": "0.2 lsb"})
    made = spec(tmp_path, macro, properties=["offset"], chips=2)
    found = made.run(progress=False)
    offset, together = found.limits
    assert (offset.name, together.name) == ("offset", TOGETHER)
    axes = [each.axes for each in made.results if each.kind == "simulated"]
    assert {"random_noise": 0, "static.offset": 0} in axes  # without, on one chip
    assert any(each["random_noise"] == 0 != each["static.offset"] for each in axes)  # one property at a time
    assert {each.trials for each in made.results if each.axes.get("static.offset")} == {2}
    assert together.kept
    assert found.keeps == {
        "random_noise": f"{0.1 * together.kept:.4g} lsb", "static": {"offset": f"{0.2 * together.kept:.4g} lsb"}
    }  # fmt: skip
    work = small_work(tmp_path / "a", QUIET.with_fields(**found.keeps))
    again = Sweep(work, grid(random_noise=[found.keeps["random_noise"]]), 1).run()
    assert TARGET.decide(again[-1], None).verdict == "kept"


def test_a_macro_that_misses_without_spreads_is_not_tried_with_them(tmp_path: Path) -> None:
    names = ["random_noise", "gain"]
    made = spec(tmp_path, target="accuracy 100 %", properties=names, given={"adc_bits": 2})
    limits = made.run(progress=False).limits
    assert [(each.kept, each.missed) for each in limits] == [(None, 0.0), (None, 0.0)]
    assert len(made.results) == 4  # float, quantized, and one point of each


def test_a_yield_counts_chips(tmp_path: Path) -> None:
    made = spec(tmp_path, target="yield 0.15 at 40 %", properties=["offset"], chips=2)
    (offset,) = made.run(progress=False).limits
    assert offset.kept is not None or offset.missed is not None
    several = [each for each in made.results if each.trials == 2]
    assert several
    assert all("yield" in each.figures for each in several)


def test_from_python() -> None:
    found = asim_lightning.spec(own_network(macro=QUIET), own_images(40), "accuracy 60 %", properties=["adc_bits"])
    (bits,) = found.limits
    assert found.to_json()["limits"] == [bits.to_json()]
    assert re.search(rf"adc bits +{bits.kept} bits +{bits.missed} bits", str(found))
    assert "adc bits" in found._repr_html_()
    assert "keeps accuracy 60" in found.plot().figure.get_suptitle()
    assert found.keeps is None  # a macro without noise was not asked for


def test_rules_that_keep_their_noise_and_noise_that_follows_the_bits_are_said(tmp_path: Path) -> None:
    ruled, given = [Rule("head", {"random_noise": 0.2})], {"nonlinear_noise": "0.1 lsb"}
    rules, bits = spec(tmp_path, rules=ruled, properties=["adc_bits"], given=given).notes
    assert rules == "rules of the plan decide random_noise of some layers at every point"
    assert "nonlinear_noise 0.1 lsb follows the LSB of each adc_bits" in bits


def test_no_macro_is_said_to_keep_what_none_surely_keeps(tmp_path: Path) -> None:
    macro = QUIET.with_fields(random_noise=0.1)
    found = spec(tmp_path, macro, target="accuracy 99 %", properties=["gain"], chips=2).run(progress=False)
    assert found.limits[-1].name == TOGETHER
    assert found.limits[-1].kept is None
    assert found.keeps is None


def test_noise_that_is_given_is_not_scaled(tmp_path: Path) -> None:
    macro = QUIET.with_fields(random_noise=0.1)
    made = spec(tmp_path, macro, properties=["adc_bits"], given={"random_noise": 0.01})
    assert [each.name for each in made.run(progress=False).limits] == ["adc_bits"]


@pytest.mark.parametrize(
    ("rules", "settings", "said"),
    [
        ([Rule("*", {"static": {"gain": 1}})], {"properties": ["offset"]}, "`static.offset` changes nothing"),
        ([], {"properties": ["gain"], "given": {"static": {"gain": 1}}}, "leaves nothing to vary"),
        ([], {"properties": ["offset"], "target": "yield 0.9 at 40 %"}, "must be at least 36"),
        ([], {"chips": 1}, "`chips` must be 2..10000"),
        ([], {"trials": 0}, "`trials` must be 1..65535"),
    ],
)
def test_what_cannot_be_found_is_refused(
    rules: list[Rule], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        spec(tmp_path, rules=rules, **settings)


def test_values_that_a_layer_does_not_take_are_not_tried(tmp_path: Path) -> None:
    rules = [Rule("conv", {"input_bits": 2}), Rule("head", {}, signed_input=True)]
    made = spec(tmp_path, rules=rules, properties=["encoding_bits"])
    assert [each.rungs for each in made.properties] == [(1, 2)]
    assert max(scaled({"static.stuck_at_1": 0.2}, QUIET).allowed(made._macros).rungs) < 5.1
