"""Limits of properties are those that a sweep finds, and a spec goes on from its records."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import asim_lightning
from asim_lightning import Rule
from asim_lightning.checks import named_fields
from asim_lightning.circuit import MacroConfig, StaticEffects
from asim_lightning.circuit.fields import setting, settings_of
from asim_lightning.circuit.units import quantity
from asim_lightning.evaluation.interval import NO_DIFFERENCE
from asim_lightning.evaluation.results import Result
from asim_lightning.evaluation.target import TOGETHER, Limit, Target
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.methods import Look
from asim_lightning.exploration.spec import (
    SpecSettings,
    SpecStudy,
    open_spec,
    properties_of,
    scaled,
    spreads_of,
)
from tests.exploration.conftest import driven, grid, made_up, small_work, stored, surely, swept
from tests.exploration.own_network import MACRO, own_images, own_network

QUIET = MACRO.with_fields(static={})
TARGET = Target("accuracy", 0.5)
ASKED = SpecSettings(str(TARGET), ["adc_bits"])


def spec(folder: Path, macro: MacroConfig = QUIET, rules: Sequence[Rule] = (), **settings: Any) -> SpecStudy:
    return open_spec(small_work(folder, macro, rules), SpecSettings(**{"target": str(TARGET), **settings}))


def verdicts(folder: Path, limit: Limit, axis: str) -> list[str]:
    """What a sweep says of the values at both sides of a limit."""
    values = [value if axis == "adc_bits" else f"{value} lsb" for value in (limit.kept, limit.missed)]
    results = swept(small_work(folder, QUIET), grid(**{axis: values}))
    return [TARGET.decide(each, None).verdict for each in results if each.kind == "simulated"]


def test_limits_are_those_of_a_sweep_and_a_second_spec_computes_nothing(tmp_path: Path) -> None:
    made = spec(tmp_path, properties=["random_noise", "adc_bits"])
    noise, bits = found = made.run(progress=False).limits
    assert None not in (noise.kept, noise.missed, bits.kept, bits.missed)
    assert {each.kind for each in made.study.folder.results()} == {"float", "quantized", "simulated"}
    before = stored(tmp_path)
    assert spec(tmp_path, properties=["random_noise", "adc_bits"]).run(progress=False).limits == found
    assert stored(tmp_path) == before
    for each, axis in ((noise, "random_noise"), (bits, "adc_bits")):
        assert verdicts(tmp_path / axis, each, axis) == ["kept", "missed"]


def test_a_point_that_is_exact_by_construction_proves_nothing_for_other_rows(tmp_path: Path) -> None:
    exact = QUIET.with_fields(rows=255, adc_bits=8)
    assert swept(small_work(tmp_path / "a", exact), grid(votes=[1]))[-1].difference == NO_DIFFERENCE
    made = spec(tmp_path, exact, target="accuracy 99 % of quantized", properties=["rows"])
    assert made.run(progress=False).limits[0].kept is None  # the images are too few
    assert NO_DIFFERENCE not in [each.difference for each in made.study.folder.results()]


def test_spreads_take_chips_and_the_recipes_are_scaled_together(tmp_path: Path) -> None:
    macro = QUIET.with_fields(random_noise="0.1 lsb", static={"offset": "0.2 lsb"})
    made = spec(tmp_path, macro, properties=["offset"], chips=2)
    found = made.run(progress=False)
    offset, together = found.limits
    assert (offset.name, together.name) == ("offset", TOGETHER)
    axes = [each.axes for each in made.study.folder.results() if each.kind == "simulated"]
    assert {"random_noise": 0, "static.offset": 0} in axes  # without, on one chip
    assert any(each["random_noise"] == 0 != each["static.offset"] for each in axes)  # one property at a time
    assert {each.trials for each in made.study.folder.results() if each.axes.get("static.offset")} == {2}
    assert together.kept
    assert found.keeps == {
        "random_noise": f"{0.1 * together.kept:.4g} lsb", "static": {"offset": f"{0.2 * together.kept:.4g} lsb"}
    }  # fmt: skip
    work = small_work(tmp_path / "a", QUIET.with_fields(**found.keeps))
    again = swept(work, grid(random_noise=[found.keeps["random_noise"]]))
    assert TARGET.decide(again[-1], None).verdict == "kept"


def test_a_macro_that_misses_without_spreads_is_not_tried_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_lightning.exploration.running.time_left", "after {0}, {1} trials".format)
    names, said = ["random_noise", "gain"], list[str]()
    made = spec(tmp_path, target="accuracy 100 %", properties=names, given={"adc_bits": 2})
    limits = made.run(said.append, progress=False).limits
    assert said[0].startswith("time     likely after [")
    assert [(each.kept, each.missed) for each in limits] == [(None, 0.0), (None, 0.0)]
    assert len(made.study.folder.results()) == 4  # float, quantized, and one point of each


def test_a_yield_counts_chips(tmp_path: Path) -> None:
    made = spec(tmp_path, target="yield 0.15 at 40 %", properties=["offset"], chips=2)
    (offset,) = made.run(progress=False).limits
    assert offset.kept is not None or offset.missed is not None
    several = [each for each in made.study.folder.results() if each.trials == 2]
    assert several
    assert all("yield" in each.figures for each in several)


def test_from_python() -> None:
    found = asim_lightning.spec(own_network(macro=QUIET), own_images(40), "accuracy 60 %", properties=["adc_bits"])
    (bits,) = found.limits
    assert found.to_json()["limits"] == [bits.to_json()]
    assert re.search(rf"adc bits +{bits.kept} bits +{bits.missed} bits", str(found))
    assert "keeps accuracy 60" in found.plot().figure.get_suptitle()
    assert found.keeps is None  # a macro without noise was not asked for


def test_rules_that_keep_their_noise_and_noise_that_follows_the_bits_are_said(tmp_path: Path) -> None:
    ruled, given = [Rule("head", {"random_noise": 0.2})], {"nonlinear_noise": "0.1 lsb"}
    rules, bits = spec(tmp_path, rules=ruled, properties=["adc_bits"], given=given).notes
    assert rules == "rules of the plan decide random_noise of some layers at every point"
    assert "nonlinear_noise 0.1 lsb follows the LSB of each adc_bits" in bits


CORNERS = {"tt": {}, "ss": {"macro.random_noise": "1 lsb", "macro.rows": 16, "technology.supply": 0.81}}


def at_corners(folder: Path, macro: MacroConfig, given: Mapping[str, Any] = CORNERS, **settings: Any) -> SpecStudy:
    work = replace(small_work(folder, macro), corners=Corners.read(given))
    return open_spec(work, SpecSettings(str(TARGET), **settings))


def test_a_spec_at_every_corner_has_the_worst_limit_of_specs_at_each(tmp_path: Path) -> None:
    macro, asked = QUIET.with_fields(random_noise="0.2 lsb"), {"properties": ["random_noise", "rows"]}
    made = at_corners(tmp_path, macro, **asked)
    found = made.run(progress=False)
    changes = ({}, {"random_noise": "1 lsb", "rows": 16})
    apart = [spec(tmp_path, macro.with_fields(**each), **asked).run(progress=False) for each in changes]
    (noise, rows, joint), (tt, ss) = found.limits, [each.limits for each in apart]
    assert (noise.kept, noise.missed) == min(((each[0].kept, each[0].missed) for each in (tt, ss)), key=str)
    assert tt[0].kept != ss[0].kept
    assert rows.kept == tt[1].kept  # the property wins over a corner's rows
    assert joint.kept is not None
    assert (joint.kept, joint.missed) == (ss[2].kept, ss[2].missed) != (tt[2].kept, tt[2].missed)
    assert str(found.target) == f"{TARGET} at every corner"
    assert found.keeps == {"random_noise": f"{0.2 * joint.kept:.4g} lsb"}
    assert found.corners == {
        "tt": {"macro.random_noise": found.keeps["random_noise"]},
        "ss": {"macro.random_noise": f"{joint.kept:.4g} lsb", "macro.rows": 16, "technology.supply": 0.81},
    }
    assert [row.axes["corner"] for row in made.study.folder.results()[2:]].count("ss") >= 6
    before = stored(tmp_path)
    assert at_corners(tmp_path, macro, **asked).run(progress=False).limits == found.limits
    assert stored(tmp_path) == before


def test_a_spec_may_be_at_some_corners(tmp_path: Path) -> None:
    made = at_corners(tmp_path, QUIET, properties=["adc_bits"], corner=["ss"])
    assert [each.point["corner"] for each in made.study.planned({})] == ["ss"]
    with pytest.raises(ValueError, match=r"^`corner` must be one of tt, ss, got 'sx'"):
        at_corners(tmp_path, QUIET, corner=["sx"])
    with pytest.raises(ValueError, match=r"at every corner' needs `corners` in the recipe"):
        open_spec(small_work(tmp_path, QUIET), SpecSettings(f"{TARGET} at every corner"))


def test_fields_of_a_corner_without_effect_are_named_and_the_full_scale_is_that_of_each_corner(tmp_path: Path) -> None:
    changed = "limits in other units are for the full scale of the recipe's macro, which corners change"
    corners = {"tt": {}, "ss": {"macro.rows": 16, "macro.adc_bits": 6, "macro.random_noise": 1}}
    inputs = replace(small_work(tmp_path, QUIET), corners=Corners.read(corners))
    hidden = open_spec(inputs, SpecSettings(str(TARGET), ["offset"], {"rows": 32, "adc_bits": 5}))
    assert "corners  `given` wins over corners, so rows, adc_bits of a corner has no effect" in hidden.notes
    assert changed not in hidden.notes
    ruled = replace(small_work(tmp_path, QUIET, [Rule("*", {"random_noise": 0.1})]), corners=Corners.read(corners))
    made = open_spec(ruled, SpecSettings(str(TARGET), ["offset"], {"rows": 32}))
    assert changed in made.notes
    assert [note.split("so ")[1] for note in made.notes if note.startswith("corners")] == [
        "rows of a corner has no effect",
        "random_noise of a corner has no effect",
    ]


def test_noise_that_is_given_is_not_scaled(tmp_path: Path) -> None:
    macro = QUIET.with_fields(random_noise=0.1)
    made = spec(tmp_path, macro, properties=["adc_bits"], given={"random_noise": 0.01})
    assert [each.name for each in made.run(progress=False).limits] == ["adc_bits"]


@pytest.mark.parametrize(
    ("rules", "settings", "said"),
    [
        ([Rule("*", {"static": {"gain": 1}})], {"properties": ["offset"]}, "`static.offset` changes nothing"),
        ([], {"properties": ["gain"], "given": {"static": {"gain": 1}}}, "leaves nothing to vary"),
        ([], {"properties": ["inl"], "given": {"adc_bits": None}}, "needs a converter with codes"),
        ([], {"properties": ["offset"], "target": "yield 0.9 at 40 %"}, "must be at least 36"),
        ([], {"properties": ["ofset"]}, "did you mean offset"),
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
    taken = scaled({"static.stuck_at_1": 0.2}, QUIET).allowed(lambda x: made.study.points.macros({**made.base, **x}))
    assert max(taken.rungs) < 5.1


def test_all_together_come_last_from_the_limits_of_each(tmp_path: Path) -> None:
    made = spec(tmp_path, properties=["random_noise", "gain", "adc_bits"])

    def kept(look: Look) -> Result:
        """Estimates see no gain."""
        (noise, _), gain = quantity(look.point.get("random_noise", 0)), look.point.get("static.gain", 0)
        is_blind = look.kind == "estimated" and "static.gain" in look.point
        return made_up(look.point, decision=surely(1.0 if noise + gain < 2 or is_blind else -1.0))

    asked, ((noise, gain, bits, together), keeps, notes) = driven(made._method(), kept)
    assert [noise.name, gain.name, bits.name, together.name] == ["random_noise", "gain", "adc_bits", TOGETHER]
    assert noise.kept == gain.kept == 1.78
    assert together.kept == 0.501  # of both
    assert keeps == {"": {"random_noise": "0.8918 lsb", "static.gain": 0.8918}}
    estimated = [each for each in asked if each.kind == "estimated"]
    assert {name for each in estimated for name in each.point} == {"random_noise", "static.gain"}
    simulated = [each for each in asked if each.kind == "simulated" and list(each.point) == ["random_noise"]]
    assert len({each.point["random_noise"] for each in simulated}) == 3  # without noise, and on both sides of the limit
    assert notes[0].partition(": ")[2].split(", ") == ["gain -25", f"{TOGETHER} -26"]
    assert [each.partition(":")[0] for each in notes[1:]] == [TOGETHER]

    def joint_is_doubtful(look: Look) -> Result:
        return kept(look) if len(look.point) < 2 else made_up(look.point, decision=surely(0))

    _, (_, keeps, _) = driven(made._method(), joint_is_doubtful)
    assert keeps is None  # none surely keeps it


def test_a_macro_offers_the_values_that_it_takes() -> None:
    found = {each.name: each for each in properties_of(MacroConfig(rows=256, adc_bits=7, input_bits=4))}
    assert found["random_noise"].unit == found["offset"].unit == "lsb"
    assert found["random_noise"].axes(0.5) == {"random_noise": "0.5 lsb"}
    assert found["stuck_cells"].axes(2.0) == {"static.stuck_at_0": 0.01, "static.stuck_at_1": 0.01}
    assert found["rows"].rungs == (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    assert found["adc_bits"].rungs == tuple(range(16, 0, -1))
    assert found["inl"].rungs[-1] == 3.98  # 7 bits: 50 % / 2^3.5 is 4.42 %
    growing = scaled({"static.inl": 2.0, "static.gain": 2.0}, MacroConfig(adc_bits=7))
    assert growing.axes(1.5) == {"static.inl": 3.0, "static.gain": 3.0}
    assert growing.axes(4.0) == {"static.inl": 4.419, "static.gain": 8.0}  # thresholds stay in order
    steps = [after / before for before, after in zip(found["gain"].rungs[1:], found["gain"].rungs[2:], strict=False)]
    assert found["gain"].rungs[0] == 0
    assert all(1.11 < step < 1.14 for step in steps)
    ideal = {each.name: each for each in properties_of(MacroConfig(adc_bits=None))}
    assert ideal["random_noise"].unit == "%"
    assert "adc_bits" in ideal
    assert "offset" not in ideal


@named_fields("macro", "field of a macro")
@dataclass(frozen=True)
class Leaky(MacroConfig):
    """A macro with fields that a change of the package would add."""

    __hash__ = MacroConfig.__hash__
    leakage: float = setting(0.0, label="leakage", unit="%", role="condition", harder=1, within=(0, 100), kw_only=True)
    leak: float | str = setting(0.0, label="leak", role="condition", harder=1, has_units=True, kw_only=True)
    banks: int = setting(1, label="banks", kw_only=True)


def test_every_field_whose_larger_numbers_are_harder_has_a_limit_or_says_why_not() -> None:
    def named(macro: MacroConfig) -> set[str]:
        return {axis.rpartition(".")[2] for each in properties_of(macro) for axis in each.worst}

    for kind in (MacroConfig, StaticEffects):
        for name, each in settings_of(kind).items():
            assert each.harder != 1 or (name in named(MacroConfig())) != bool(each.no_limit)
    assert named(Leaky()) - named(MacroConfig()) == {"leakage", "leak"}
    found = {each.name: each for each in properties_of(Leaky(), ["leakage"])}
    assert (found["leakage"].rungs[:2], found["leakage"].rungs[-1]) == ((0.0, 0.01), 100.0)
    assert Leaky().with_fields(**found["leakage"].axes(0.3)).leakage == 0.3
    with pytest.raises(ValueError, match=r"^`properties` has no nonlinear_noise: random noise of the same size"):
        properties_of(MacroConfig(), ["nonlinear_noise"])


def test_noise_and_spreads_are_scaled_together() -> None:
    static = StaticEffects(offset="0.3 lsb", gain=1.0, stuck_at_1=1e-4)
    own = spreads_of(MacroConfig(random_noise="0.2 %", static=static))
    assert own == {
        "random_noise": "0.2 %", "static.offset": "0.3 lsb", "static.gain": 1.0, "static.stuck_at_1": 1e-4
    }  # fmt: skip
    assert scaled(own, MacroConfig()).axes(0.5) == {
        "random_noise": 0.1, "static.offset": "0.15 lsb", "static.gain": 0.5, "static.stuck_at_1": 5e-5
    }  # fmt: skip
