"""Points that compute the same are one, whatever they are called; those that do not are several."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from asim_lightning import MacroConfig, Plan, Rule
from asim_lightning.circuit import StaticEffects, transfer
from asim_lightning.circuit.fields import settings_of
from asim_lightning.evaluation.results import KINDS, digest_of
from asim_lightning.exploration.point import Points, macro_content
from asim_lightning.surgery import macro_layers
from tests.classifier.conftest import make_model
from tests.exploration.conftest import Load

BASE = MacroConfig(random_noise=0.3)


def content(macro: MacroConfig) -> dict[str, object]:
    return macro_content(macro, False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"votes": 1}, {"votes": 5, "vote": "median"}),
        ({"vote_levels": 3, "votes": 1}, {"vote": "mean"}),
        ({"random_noise": "0.51 lsb"}, {"random_noise": 0.2}),
        ({"random_noise": "3 mV", "full_scale_mv": 1000}, {"random_noise": 0.3}),
        ({"digital_adc": True}, {}),
        ({"vote_levels": 40, "votes": 3}, {"vote_levels": 50, "votes": 3}),
    ],
    ids=str,
)
def test_macros_that_compute_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert content(BASE.with_fields(**one)) == content(BASE.with_fields(**other))


def test_noise_in_volts_is_that_of_the_recipes_adc_in_every_layer() -> None:
    plan = Plan(MacroConfig(adc_bits=7, random_noise="0.3 lsb"), [Rule("layer1.*", {"adc_bits": 9})])
    points = Points(make_model(plan=plan), noise_in="volts")
    noise = {each.adc_bits: each.random_noise_percent for each in points.macros({"adc_bits": 8})}
    assert noise == pytest.approx({8: 30 / 127, 9: 30 / 511})
    noise = {
        each.adc_bits: each.random_noise_percent for each in points.macros({"adc_bits": 8, "random_noise": "1 lsb"})
    }
    assert noise == pytest.approx({8: 100 / 127, 9: 100 / 511})
    assert points.content({}, "simulated") == Points(make_model(plan=plan)).content({}, "simulated")
    plain, percent = Plan(MacroConfig(adc_bits=7, random_noise="1 lsb")), {"adc_bits": 8, "random_noise": 100 / 127}
    in_volts = Points(make_model(plan=plain), noise_in="volts").digest({"adc_bits": 8}, "simulated")
    assert in_volts == Points(make_model(plan=plain)).digest(percent, "simulated")


EVERYTHING: dict[str, Any] = {
    "offset": "1 mV", "gain": 1.0, "inl": 1.0, "cell_mismatch": 1.0, "reference": "absolute", "parasitics": 0.1,
    "stuck_at_0": 0.01, "stuck_at_1": 0.01, "trim": "offset", "trim_step": "0.1 mV", "placement": "reuse", "macros": 2,
    "columns": 64,
}  # fmt: skip
FULL = MacroConfig(
    rows=64, adc_bits=6, random_noise=0.3, nonlinear_noise=0.3, full_scale_mv=1000, digital_levels=2,
    vote_levels=4, votes=3, static=StaticEffects(**EVERYTHING),
)  # fmt: skip
CHANGES: dict[str, Any] = {
    "weight_bits": 7, "input_bits": 7, "rows": 32, "adc_bits": 7, "adc_step": 1, "adc_low": 3, "encoding_bits": 2,
    "weight_parallel": True, "weight_coding": "flip", "random_noise": 0.2, "nonlinear_noise": 0.2, "full_scale_mv": 500,
    "digital_levels": 1, "digital_adc": True, "vote_levels": 5, "votes": 5, "vote": "mean", "column": "current",
    "column_args": {"gain": 0.9}, "static": {}, "static.offset": "2 mV", "static.gain": 2.0, "static.inl": 2.0,
    "static.columns_per_adc": 2, "static.cell_mismatch": 2.0, "static.reference": "ratiometric",
    "static.parasitics": 0.2, "static.stuck_at_0": 0.02, "static.stuck_at_1": 0.02, "static.trim": "both",
    "static.trim_step": "0.2 mV", "static.placement": "unrolled", "static.macros": 3, "static.columns": 32,
}  # fmt: skip
NEEDED: dict[str, dict[str, Any]] = {  # by a changed field
    "adc_low": {"adc_step": 1},
    "static.reference": {"static.parasitics": 0.0},
    "static.placement": {"static.macros": None, "static.columns": None},
}
DECIDING = {
    f"{where}{name}"
    for where, kind in (("", MacroConfig), ("static.", StaticEffects))
    for name, each in settings_of(kind).items()
    if each.decides_outcomes
}


def same_contents(macro: MacroConfig) -> list[str]:
    """Fields whose change leaves a macro's content as it is."""
    parallel = macro.with_fields(digital_levels=0, **{"static.reference": "summing", "static.parasitics": 0.0})
    bases = {name: parallel if name == "weight_parallel" else macro for name in CHANGES}
    changed = {name: {name: value, **NEEDED.get(name, {})} for name, value in CHANGES.items()}
    return [name for name, base in bases.items() if content(base.with_fields(**changed[name])) == content(base)]


def test_every_field_of_a_macro_is_in_its_content_or_changes_no_outcome() -> None:
    for kind in (MacroConfig, StaticEffects):
        assert {each.name for each in fields(kind)} == set(settings_of(kind))
    assert set(CHANGES) == DECIDING
    assert not same_contents(FULL)
    # asim explain names its thermal noise, and nothing simulates it
    assert content(FULL.with_fields(unit_capacitor_ff=2.0)) == content(FULL)


def test_every_field_of_a_macro_with_a_users_column_is_in_its_content() -> None:
    assert not same_contents(FULL.with_fields(column="asim_lightning.circuit.columns.Charge"))  # by its path


@pytest.mark.parametrize("column", ["charge", "asim_lightning.circuit.columns.Charge"])
def test_effects_in_other_units_are_the_same_where_converters_are(column: str) -> None:
    def of(full_scale: float = 1000.0, **static: Any) -> dict[str, object]:
        found = content(
            MacroConfig(adc_bits=8, full_scale_mv=full_scale, column=column, static=StaticEffects(**static))
        )
        return {name: value for name, value in found.items() if name != "full_scale_mv"}

    assert of(offset="0.3 lsb", trim="offset", trim_step="0.5 lsb") == of(
        offset="0.30LSB", trim="offset", trim_step=".5 lsb"
    )
    assert of(offset="2 mV") == of(offset=0.2) == of(500.0, offset="1 mV") != of(500.0, offset="2 mV")
    assert of(gain="1 %", inl="1 %", cell_mismatch="2 %") == of(gain=1, inl=1.0, cell_mismatch=2)
    assert of(offset="0 lsb") == of()


@pytest.mark.parametrize("where", ["plan", "axes", "rules"])
@pytest.mark.parametrize("effect", [{"offset": "0.2 mV"}, {"gain": 1, "trim": "gain", "trim_step": "0.2 mV"}], ids=str)
def test_a_full_scale_is_part_of_a_point_with_effects_in_mv(where: str, effect: dict[str, Any]) -> None:
    def of(full_scale: float) -> object:
        plan = Plan(MacroConfig(4, 4, full_scale_mv=full_scale if where == "plan" else 1000.0, static=effect))
        name = {"axes": "full_scale_mv", "rules": "rules.*.full_scale_mv"}.get(where)
        axes: dict[str, Any] = {name: full_scale} if name else {}
        points = Points(make_model(plan=plan), ["*"] if where == "rules" else [])
        points.is_noisy(axes)
        return points.digest(axes, "simulated")

    assert of(1000.0) != of(100.0)


READING = """
import os
from pathlib import Path
import numpy as np
from asim_lightning.circuit import Column

def read():
    return float(np.loadtxt(Path(__file__).parent / "curve.txt"))

IN_MODULE = read()

class Mine(Column):
    IN_CLASS = read()

    def __init__(self, macro):
        super().__init__(macro)
        self.in_column = read()

    def {function}(self, count, cycle):
        return super().{function}(count, cycle) * ({gain})
"""


@pytest.mark.parametrize("function", ["level", "sigma"])
@pytest.mark.parametrize(
    "gain", ["IN_MODULE", "self.IN_CLASS", "self.in_column", "read()", "float(os.environ['ASIM_GAIN'])"]
)
def test_a_column_is_its_table_wherever_that_comes_from(
    gain: str, function: str, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(curve: str) -> dict[str, object]:
        (tmp_path / "curve.txt").write_text(curve)
        monkeypatch.setenv("ASIM_GAIN", curve)
        load("my_curve", READING.format(gain=gain, function=function))
        return macro_content(MacroConfig(4, 4, random_noise=1.0, column="my_curve.Mine"), False)

    assert of("1.0") == of("1.0")
    assert of("1.0")["tables"] != of("0.5")["tables"]
    assert json.dumps(of("0.5"))


BY_DRIVEN = """
from asim_lightning.circuit import Charge

class Mine(Charge):
    def {function}(self, count, driven, cycle):
        return super().{function}(count, cycle) * (1 - {share} * (driven == 7))
"""


@pytest.mark.parametrize("function", ["level", "sigma"])
def test_a_column_is_its_tables_at_every_number_of_driven_rows(function: str, load: Load) -> None:
    def of(share: float) -> str:
        load("my_curve", BY_DRIVEN.format(function=function, share=share))
        macro = MacroConfig(4, 4, random_noise=1.0, column="my_curve.Mine")
        return json.dumps(macro_content(macro, False)["tables"])

    assert of(0.0) != of(0.2)
    assert of(0.1) == of(0.1) != of(0.2)


def test_a_column_is_described_as_engines_know_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "curve.txt").write_text("1.0")
    load("my_curve", READING.format(gain="self.in_column", function="level"))
    macro = MacroConfig(4, 4, column="my_curve.Mine")
    before = content(macro)
    (tmp_path / "curve.txt").write_text("0.5")  # in one process, tables of the same class stay
    assert transfer(macro, False).column.in_column == 1.0  # type: ignore[attr-defined]
    assert content(macro) == before


PATTERN = """
from pathlib import Path
import torch
from asim_lightning.circuit import Charge

class Mine(Charge):
    curves = {curves}

    def converters(self, places):
        offset = float((Path(__file__).parent / "tester.txt").read_text())
        return 1.0, torch.where(places.column == {column}, offset, 0.0)

    def of_curves(self, curve, count, cycle):
        offset = float((Path(__file__).parent / "tester.txt").read_text())
        return self.level(count, cycle) + curve * offset, self.sigma(count, cycle)
"""


@pytest.mark.parametrize("static", [{}, {"placement": "reuse", "macros": 2, "columns": 256}])
@pytest.mark.parametrize(("column", "curves", "counts"), [(255, 1, True), (9999, 1, False), (9999, 2, True)])
def test_what_converters_have_by_place_counts(
    column: int, curves: int, counts: bool, static: dict[str, Any], load: Load, tmp_path: Path
) -> None:
    def of(offset: str) -> object:
        (tmp_path / "tester.txt").write_text(offset)
        load("my_pattern", PATTERN.format(column=column, curves=curves))
        model = make_model(plan=Plan(MacroConfig(4, 4, column="my_pattern.Mine", static=static)))
        return Points(model).content({}, "simulated")

    assert of("0.5") == of("0.5")
    assert (of("0.5") != of("1.5")) is counts


@pytest.mark.parametrize("kind", ["quantized", "simulated"])
def test_signs_of_inputs_are_part_of_a_point(kind: Any) -> None:
    plans = Plan(), Plan(rules=[Rule("stem", signed_input=False)]), Plan(signed_input=True)  # the stem is digital
    digests = {Points(make_model(plan=plan)).digest({}, kind) for plan in plans}
    assert len(digests) == 3


def test_a_network_is_the_macros_that_its_layers_get() -> None:
    def of(kind: Any, **macro: Any) -> object:
        plan = Plan(MacroConfig(4, 4).with_fields(**macro), [Rule("fc", {"adc_bits": 8})])
        return Points(make_model(plan=plan)).content({}, kind)

    assert of("float", rows=64) == of("float")
    assert of("quantized", rows=64) == of("quantized") != of("quantized", weight_bits=5)
    assert of("simulated") != of("simulated", rows=64)
    assert of("simulated", votes=3) == of("simulated")


@pytest.mark.parametrize(
    ("axes", "expected"),
    [({}, True), ({"rows": 85}, True), ({"votes": 3}, True), ({"digital_levels": 2}, True), ({"adc_bits": 7}, False),
     ({"digital_levels": 7, "static.offset": "1 lsb"}, True), ({"digital_levels": 6, "static.offset": "1 lsb"}, False),
     ({"weight_bits": 5}, False), ({"random_noise": 0.01}, False), ({"static.stuck_at_0": 0.01}, False),
     ({"static.offset": "0.1 lsb"}, False), ({"static.cell_mismatch": 1}, False)],
    ids=str,
)  # fmt: skip
def test_a_point_that_loses_nothing_is_the_quantised_network(axes: dict[str, Any], expected: bool) -> None:
    assert Points(make_model(plan=Plan(MacroConfig(4, 4)))).is_quantized(axes) is expected


def test_layers_that_share_macros_are_told_apart_by_what_parts_them() -> None:
    static = {"placement": "reuse", "macros": 2, "columns": 64, "offset": "1 lsb"}
    plan = Plan(MacroConfig(4, 4, static=static))
    alike, parted = (
        Points(make_model(plan=plan), patterns).content(axes, "simulated")
        for patterns, axes in (((), {}), (("fc",), {"rules.fc.votes": 3}))
    )
    # votes of no cycle change nothing but which layers share macros
    assert alike != parted
    respelled = make_model(plan=Plan(MacroConfig(4, 4, static={**static, "offset": "1.0LSB"})))
    assert Points(respelled).content({}, "simulated") == alike


def test_a_point_is_what_a_network_converted_with_it_computes() -> None:
    rules = [Rule("fc", {"adc_bits": 8})]
    base, axes = MacroConfig(4, 4), {"rows": 64, "random_noise": 0.5, "weight_bits": 5}
    model = make_model(plan=Plan(base, rules))
    before = {name: layer.assignment for name, layer in macro_layers(model.backbone).items()}
    points = Points(model)
    converted = make_model(plan=Plan(base.with_fields(**axes), rules))
    for kind in (*KINDS, "estimated"):
        expected = Points(converted).content({}, kind)
        assert points.content(axes, kind) == expected
        noisy = kind == "simulated" and points.is_noisy(axes)
        assert points.digest(axes, kind) == digest_of(expected)
        assert noisy == (kind == "simulated")
    assert not points.is_noisy({"random_noise": 0})
    assert {name: layer.assignment for name, layer in macro_layers(model.backbone).items()} == before


def test_no_point_walks_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    points = Points(make_model())
    monkeypatch.delattr(nn.Module, "named_modules")
    for rows in range(1, 20):
        points.is_noisy({"rows": rows})
    assert len({points.digest({"rows": rows}, "simulated") for rows in range(1, 20)}) == 19


def test_noise_in_lsb_of_a_range_is_another_share_of_each_full_scale() -> None:
    in_lsb = MacroConfig(adc_step=2, encoding_bits=3, random_noise="0.51 lsb")
    percent = in_lsb.with_fields(random_noise=in_lsb.random_noise_percent)
    assert in_lsb.random_noise_percent == pytest.approx(0.4)
    assert content(in_lsb) != content(percent)
    assert content(in_lsb.with_fields(encoding_bits=1)) == content(percent.with_fields(encoding_bits=1))
