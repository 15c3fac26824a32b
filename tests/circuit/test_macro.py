"""What a macro derives from its fields, and in which words a wrong one is refused."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from asim_lightning.checks import named_fields
from asim_lightning.circuit import Column, MacroConfig, StaticEffects, build_column, resolved, schedule
from asim_lightning.circuit.fields import setting
from asim_lightning.circuit.presets import preset
from asim_lightning.engine import noise_context
from asim_lightning.engine.explanation import explain
from asim_lightning.nn import CimLinear
from asim_lightning.surgery import Plan

HERE = f"{__name__}.NotAColumn"


class NotAColumn:
    """Takes a macro but is no column."""


class NeedsGain(Column):
    """A column with an argument that has no default."""

    def __init__(self, macro: MacroConfig, gain: float) -> None:
        super().__init__(macro)
        self.gain = gain


Case = tuple[str, dict[str, Any], str, str]
CURRENT = {"column": "current"}
SEVERAL_BITS = {"adc_step": 3, "encoding_bits": 4}
DIFFER = "in lsb with `macro.adc_step` and several bits a cycle, because the full scale depends on"
PARALLEL_MV = {"adc_step": 9, "weight_parallel": True, "full_scale_mv": 600, "static": {"trim_step": "1 mV"}}
ABSOLUTE = {"static": {"reference": "absolute", "cell_mismatch": 1}, "weight_parallel": True}
TWICE = {"column": "current", "column_args": {"cell_sigma": 5}, "static": {"cell_mismatch": 5}}
CASES: list[Case] = [
    ("weight_bits", {"weight_bits": 1}, "2..16", "1"),
    ("input_bits", {"input_bits": 0}, "1..16", "0"),
    ("rows", {"rows": 0}, "1..1048576", "0"),
    ("adc_bits", {"adc_bits": 0}, "1..16 or null", "0"),
    ("adc_bits", {"adc_bits": 1, "weight_parallel": True}, "2..16 or null with weight_parallel", "1"),
    ("adc_step", {"adc_step": 0}, "1..1048576 or null", "0"),
    ("adc_step", {"adc_step": 2, "adc_bits": None}, "null for an ideal converter (adc_bits null)", "2"),
    ("adc_step", {"adc_step": 2, "digital_adc": True}, "null with digital_adc", "2"),
    ("adc_low", {"adc_low": 4}, "0 if `macro.adc_step` is null", "4"),
    ("adc_low", {"adc_step": 1, "adc_low": 4, "weight_parallel": True}, "0 with weight_parallel", "4"),
    ("random_noise", {"adc_step": 3, "random_noise": "86 lsb"}, "0..100 % of full scale", "'86 lsb'"),
    ("encoding_bits", {"encoding_bits": 5, "input_bits": 4}, "1..4 (input_bits)", "5"),
    ("encoding_bits", {"encoding_bits": 2, "weight_parallel": True}, "1 with weight_parallel", "2"),
    ("weight_parallel", {"weight_parallel": "yes"}, "true or false", "'yes'"),
    ("weight_coding", {"weight_coding": "gray"}, "plain, flip", "'gray'"),
    ("weight_coding", {"weight_coding": "flip", "weight_parallel": True}, "plain with weight_parallel", "'flip'"),
    ("random_noise", {"random_noise": -0.1}, "0..100 % of full scale", "-0.1"),
    ("random_noise", {"random_noise": "0.5 LSBs"}, "a number with a unit of %, lsb, mV", "'0.5 LSBs'"),
    ("random_noise", {"random_noise": "0.5 lsb", "adc_bits": None}, "in % or mV for an ideal converter", "'0.5 lsb'"),
    ("nonlinear_noise", {"nonlinear_noise": float("nan")}, "0..100 % of full scale", "nan"),
    ("unit_capacitor_ff", {"unit_capacitor_ff": 0}, "positive number of fF", "0"),
    ("nonlinear_noise", {"nonlinear_noise": "1.2 mV"}, "needs `macro.full_scale_mv`", "'1.2 mV'"),
    (
        "full_scale_mv",
        {"full_scale_mv": 0},
        "a positive number of mV, a share of the supply such as '0.8 of 900 mV', or null",
        "0",
    ),
    ("full_scale_mv", {"full_scale_mv": "0.8 supply"}, "such as '0.8 of 900 mV'", "'0.8 supply'"),
    ("full_scale_mv", {"full_scale_mv": "0.8 volts"}, "a share of the supply such as", "'0.8 volts'"),
    ("digital_levels", {"digital_levels": -1}, "0 or more", "-1"),
    ("digital_levels", {"digital_levels": 2, "weight_parallel": True}, "0 with weight_parallel", "2"),
    ("digital_adc", {"digital_adc": 1}, "true or false", "1"),
    ("vote_levels", {"vote_levels": -1}, "0 or more", "-1"),
    ("votes", {"votes": 0}, "1..65535", "0"),
    ("votes", {"votes": 4, "vote": "median", "vote_levels": 1}, "odd for a median", "4"),
    ("vote", {"vote": "majority"}, "one of mode, median, mean", "'majority'"),
    ("vote", {"votes": 3, "vote_levels": 1, "adc_bits": None}, "mean for an ideal converter", "'mode'"),
    ("column", {"column": "chrge"}, "did you mean charge?", "'chrge'"),
    ("column", {"column": "no.such.module.Class"}, "measured or an import path", "'no.such.module.Class'"),
    ("column", {"column": HERE}, "which does not inherit Column", HERE),
    ("column_args", {"column_args": [1]}, "a mapping of argument names", "[1]"),
    ("column_args.alpha", {"column_args": {"alpha": 0.1}}, "no argument of column charge, which has gain, offset", ""),
    ("column_args.alpa", CURRENT | {"column_args": {"alpa": 0.1}}, "did you mean alpha?", "offset"),
    ("column_args.1", CURRENT | {"column_args": {1: 0.1}}, "which has alpha, cell_sigma, gain, offset", ""),
    ("column_args.gain", {"column_args": {"gain": float("nan")}}, "a finite number", "nan"),
    ("column_args.gain", {"column_args": {"gain": None}}, "a finite number", "None"),
    ("column_args.k", {"column": "droop", "column_args": {"k": True}}, "a finite number", "True"),
    ("column_args.x", {"column": HERE, "column_args": {"x": float("inf")}}, "a finite number", "inf"),
    ("column_args.file", {"column": "measured"}, "must be given for column measured", "none"),
    ("column_args.gain", {"column": f"{__name__}.NeedsGain"}, "must be given for column ", "none"),
    ("column_args.gian", {"column": f"{__name__}.NeedsGain", "column_args": {"gian": 1}}, "did you mean gain?", ""),
    ("columns_per_adc", {"columns_per_adc": 4}, "nearest: static.columns_per_adc", ""),
    ("trim", {"trim": "both"}, "nearest: static.trim", ""),
    ("random_noise", {"random_noise": 200}, "0..100 % of full scale", "did you mean '200 lsb'?"),
    ("column_args.alpha", CURRENT | {"column_args": {"alpha": -1}}, "0 or more", "-1"),
    ("static", {"static": 3}, "a mapping of static effects", "3"),
    ("static.offsets", {"static": {"offsets": 1}}, "nearest: offset", "offsets"),
    ("static.offset", {"static": {"offset": -0.1}}, "0..100 % of full scale", "-0.1"),
    ("static.offset", {"static": {"offset": 0.1}, "adc_bits": None}, "a converter with codes", "adc_bits null"),
    ("static.inl", {"static": {"inl": 21}}, "0..20 %", "21"),
    ("static.columns_per_adc", {"static": {"columns_per_adc": 0}}, "1..1048576", "0"),
    ("static.cell_mismatch", {"static": {"cell_mismatch": "a lot"}}, "0..100 %", "'a lot'"),
    ("static.reference", {"static": {"reference": "ratio"}}, "did you mean ratiometric?", "'ratio'"),
    ("static.parasitics", {"static": {"parasitics": 0.3}}, "needs an absolute reference", "'ratiometric'"),
    ("static.stuck_at_0", {"static": {"stuck_at_0": 0.6, "stuck_at_1": 0.6}}, "at most 1 together", "0.6"),
    ("static.trim_step", {"static": {"trim_step": 200}}, "0..100 % of full scale", "200"),
    ("static.offset", SEVERAL_BITS | {"static": {"offset": 0.4}}, DIFFER, "0.4"),
    ("static.trim_step", PARALLEL_MV, DIFFER, "'1 mV'"),
    ("static.reference", ABSOLUTE, "ratiometric or summing with weight_parallel", "'absolute'"),
    ("static.cell_mismatch", TWICE, "are the same setting (with reference summing)", "5"),
]


@pytest.mark.parametrize(("field", "given", "allowed", "shown"), CASES)
def test_wrong_value_is_refused(field: str, given: dict[str, Any], allowed: str, shown: str) -> None:
    with pytest.raises(ValueError, match=f"`macro.{field}`") as caught:
        resolved(MacroConfig(**given))
    message = str(caught.value)
    assert allowed in message
    assert shown in message
    assert "\n" not in message


def test_every_field_has_a_wrong_value_above() -> None:
    assert {field.split(".")[0] for field, *_ in CASES} >= {f.name for f in fields(MacroConfig)}


@pytest.mark.parametrize(("given", "said"), [(given, field) for field, given, *_ in CASES if field in
    ("column_args.alpa", "column_args.1", "column_args.k", "column_args.gian", "column_args.x")])  # fmt: skip
def test_names_and_numbers_of_arguments_are_refused_at_once(given: dict[str, Any], said: str) -> None:
    if "NeedsGain" in given["column"]:  # a user's class is not imported before it is used
        MacroConfig(**given)
        return
    with pytest.raises(ValueError, match=f"`macro.{said}`"):
        MacroConfig(**given)


def test_a_full_scale_may_be_a_share_of_a_supply() -> None:
    shared, plain = (MacroConfig(full_scale_mv=each, random_noise="3.6 mV") for each in ("0.8 of 900 mV", 720.0))
    assert shared.swing_mv == plain.swing_mv == 720
    assert shared.random_noise_percent == plain.random_noise_percent == 0.5
    assert MacroConfig().swing_mv is None


def test_noise_without_a_unit_that_may_be_lsb_is_asked_for() -> None:
    (doubt,) = MacroConfig(random_noise=100, nonlinear_noise="30 %").doubts
    assert doubt == "random_noise 100 is 100 % of full scale, 255 LSB; if you mean 100 LSB, write '100 lsb'"
    for certain in ({"random_noise": 5}, {"random_noise": "100 lsb"}, {"random_noise": 100, "adc_bits": None}):
        assert MacroConfig(**certain).doubts == []


@named_fields("macro", "field of a macro")
@dataclass(frozen=True)
class Leaky(MacroConfig):
    """A macro with fields that a change of the package would add."""

    __hash__ = MacroConfig.__hash__
    leakage: float = setting(0.0, label="leakage", unit="%", role="condition", harder=1, within=(0, 100), kw_only=True)
    droop: float | None = setting(None, label="droop", within=(-0.5, 0.5), kw_only=True)
    banks: int = setting(1, label="banks", within=(1, 4), kw_only=True)


def test_a_new_field_has_its_range_and_is_explained_limited_and_told_from_a_preset() -> None:
    assert (Leaky().leakage, Leaky(droop=-0.25).droop, Leaky(banks=4).banks) == (0.0, -0.25, 4)
    for name, value, allowed in (
        ("leakage", 101, "0..100"),
        ("droop", 0.6, "-0.5..0.5 or null"),
        ("banks", 1.5, "1..4"),
    ):
        with pytest.raises(ValueError, match=rf"^`macro.{name}` must be {allowed}, got {value}$"):
            Leaky(**{name: value})
    explained = str(explain(Leaky(leakage=0.3, droop=0.1)))
    assert "leakage 0.3 %" in explained
    assert "droop 0.1" in explained
    assert "banks" not in explained
    published = preset("jia_2020")
    assert published.describes(Leaky(**published.macro))
    assert not published.describes(Leaky(**published.macro, leakage=0.3))


def test_a_macro_reads_no_file_and_imports_no_column() -> None:
    for unread in ({"column": "measured", "column_args": {"file": "not_there.csv"}}, {"column": "not.there.Column"}):
        macro = MacroConfig(**unread)
        for use in (resolved, explain, lambda each: Plan(macro=each), lambda each: CimLinear(4, 2, macro=each)):
            with pytest.raises(ValueError, match=r"not[_.]there"):
                use(macro)


def test_a_macro_keeps_its_arguments_whatever_becomes_of_the_callers() -> None:
    arguments = {"gain": 1.1}
    macro = MacroConfig(column_args=arguments)
    assert macro.with_fields(rows=64, adc_bits=None) == MacroConfig(rows=64, adc_bits=None, column_args={"gain": 1.1})
    arguments["gain"] = 2.0
    assert macro.column_args == {"gain": 1.1}
    assert resolved(macro) is macro


def test_an_unknown_field_names_the_nearest() -> None:
    for build in (MacroConfig, MacroConfig().with_fields):
        with pytest.raises(ValueError, match=r"`macro.adc_bit` is no field of a macro, nearest: adc_bits"):
            build(adc_bit=4)
    with pytest.raises(ValueError, match=r"`macro.static.ofset` is no static effect, nearest: offset"):
        StaticEffects(**{"ofset": 1})
    with pytest.raises(ValueError, match=r"`macro.static.1` is no static effect, nearest: "):
        MacroConfig(static={1: 2})


@pytest.mark.parametrize(("bits", "field"), [((1, 1), "input_bits"), ((4, 4), "encoding_bits")])
def test_a_signed_input_needs_a_magnitude(bits: tuple[int, int], field: str) -> None:
    macro = MacroConfig(input_bits=bits[0], encoding_bits=bits[1])
    assert schedule(macro, signed_input=False)
    with pytest.raises(ValueError, match=rf"`macro.{field}` must be .* for a signed input.*, got {bits[0]}"):
        schedule(macro, signed_input=True)


def test_a_file_that_cannot_be_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_column.py").write_text("class Mine(Column) pass")
    monkeypatch.syspath_prepend(tmp_path)
    said = (
        r"got 'broken_column.Mine', which cannot be imported: SyntaxError: invalid syntax \(broken_column.py, line 1\)"
    )
    with pytest.raises(ValueError, match=said):
        resolved(MacroConfig(column="broken_column.Mine"))


@pytest.mark.parametrize(
    ("given", "percent"),
    [
        ({"random_noise": 0.2}, 0.2),
        ({"random_noise": "0.2 %"}, 0.2),
        ({"random_noise": "0.51 lsb"}, 0.2),
        ({"random_noise": " 5.1E-1LSB "}, 0.2),
        ({"random_noise": "0.3 lsb", "adc_bits": 4}, 2.0),
        ({"random_noise": "0.3 lsb", "adc_bits": 5, "weight_parallel": True}, 2.0),
        ({"random_noise": "1.2 mV", "full_scale_mv": 600}, 0.2),
        ({"random_noise": "0.3 lsb", "adc_step": 65025, "weight_parallel": True}, 30 * 65025 / (255 * 255 * 127)),
        ({"random_noise": "0.3 lsb", "adc_step": 90, "encoding_bits": 4}, 30 * 90 / 255),
        ({"random_noise": "1.2 mv", "full_scale_mv": 600.0, "adc_bits": None}, 0.2),
    ],
)
def test_noise_in_any_unit_is_percent_of_full_scale(given: dict[str, Any], percent: float) -> None:
    assert MacroConfig(**given).random_noise_percent == pytest.approx(percent, rel=1e-12)
    swapped = {"nonlinear_noise" if k == "random_noise" else k: v for k, v in given.items()}
    assert MacroConfig(**swapped).nonlinear_noise_percent == pytest.approx(percent, rel=1e-12)


def test_noise_in_lsb_is_as_many_codes_in_every_cycle() -> None:
    for several in ({"weight_parallel": True, "adc_step": 65025}, {"encoding_bits": 4, "adc_step": 90}):
        macro = MacroConfig(**several, input_bits=9, random_noise="0.3 lsb", nonlinear_noise="0.2 lsb")
        for signed in (False, True):
            for cycle in schedule(macro, signed):
                sigma = build_column(macro).sigma(torch.zeros(()), cycle)
                assert float(sigma) == pytest.approx(math.hypot(0.3, 0.2), rel=1e-6)


def test_idle_settings_change_no_answer_until_the_other_one_is_on() -> None:
    idle = MacroConfig(4, 4, 15, votes=3, digital_adc=True, random_noise=1, static=StaticEffects(trim="both", inl=1))
    assert idle.idle_settings == {
        "votes 3 while vote_levels is 0": ("vote_levels",),
        "digital_adc while digital_levels is 0": ("digital_levels",),
        "static.trim both while static.offset is 0 and static.gain is 0": ("offset", "gain"),
    }  # fmt: skip
    on = {"vote_levels": 2, "digital_levels": 1, "static.offset": 1}
    assert not idle.with_fields(**on).idle_settings
    assert idle.with_fields(votes=1, vote_levels=2).idle_settings["vote_levels 2 while votes is 1"] == ("votes",)

    digital = {"vote_levels": 2, "digital_levels": 2}
    assert set(idle.with_fields(**digital).idle_settings) >= {"vote_levels 2 while digital_levels is 2"}

    def answers(**fields: Any) -> torch.Tensor:
        torch.manual_seed(0)
        layer = CimLinear(8, 8, macro=idle.with_fields(**fields), input_range="batch").eval()
        layer.fidelity = "simulated"
        with torch.no_grad(), noise_context(seed=1, sample_ids=torch.arange(2)):
            return layer(torch.rand(2, 8))

    off = {"votes": 1, "digital_adc": False, "static.trim": "none"}
    assert torch.equal(answers(), answers(**off))
    assert not torch.equal(answers(**on), answers(**on, **off))
    assert torch.equal(answers(**digital), answers(**digital, votes=1))


def test_equal_macros_have_equal_hashes() -> None:
    first = MacroConfig(random_noise=1, column="current", column_args={"alpha": 0.1, "cell_sigma": 1.0})
    second = MacroConfig(random_noise=1.0, column="current", column_args={"cell_sigma": 1.0, "alpha": 0.1})
    assert first == second
    assert hash(first) == hash(second)


def test_a_macro_holds_its_fields_alone() -> None:
    """jsonargparse takes whatever a default holds for a field."""
    macro = MacroConfig()
    hash(macro), macro.top_code, macro.random_noise_percent
    assert list(vars(macro)) == [f.name for f in fields(macro)]
