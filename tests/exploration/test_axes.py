"""The grid of a sweep has each combination once, and is checked against the rules before anything is computed."""

from dataclasses import dataclass
from typing import Any, get_type_hints

import pytest

from asim_lightning import MacroConfig, Rule
from asim_lightning.circuit.fields import setting, settings_of
from asim_lightning.evaluation.axis_settings import SETTINGS, is_condition
from asim_lightning.evaluation.condition import Condition
from asim_lightning.exploration.axes import axes_of, condition_at, grid_of, lsb_notes
from asim_lightning.exploration.point import macro_content
from asim_lightning.report.labels import label_of
from tests.exploration.conftest import Make, grid, predictions


def test_a_field_that_is_added_is_an_axis_with_its_label_and_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Added(MacroConfig):
        spare_rows: int | None = setting(None, label="spare rows", unit="rows", kw_only=True)
        __hash__ = MacroConfig.__hash__

    axes = axes_of(Added)
    assert axes(spare_rows=[1, None]).spare_rows == [1, None]
    assert get_type_hints(axes)["spare_rows"] == list[int | None] | None
    assert "spare_rows: Spare rows (rows); as model.plan.macro.spare_rows." in (axes.__doc__ or "")
    monkeypatch.setitem(SETTINGS, "spare_rows", settings_of(Added)["spare_rows"])  # type: ignore[arg-type]
    assert (label_of("spare_rows"), is_condition("spare_rows")) == ("spare rows (rows)", False)
    for column in ("charge", "asim_lightning.circuit.columns.Charge"):
        one, other = (macro_content(Added(column=column, spare_rows=rows), False) for rows in (1, 2))
        assert one != other


def test_axes_that_do_not_fit_a_rule_are_refused_before_anything_is_computed(make: Make) -> None:
    with pytest.raises(ValueError, match=r"^Layer `fc`: `macro\.encoding_bits` must be 1\.\.2 .* encoding_bits 3"):
        make(grid(encoding_bits=[1, 3]), rules=[Rule("fc", {"input_bits": 2})])


def test_fields_of_some_layers_and_chips_are_axes() -> None:
    axes = grid_of(grid(rules={"layer1.*": {"adc_bits": [6, 7], "random_noise": ["0.5lsb", "0.5 lsb"]}}, chip=[4]))
    first, second = axes.grid()
    assert (first, axes.count()) == (
        {"chip": 4, "rules.layer1.*.adc_bits": 6, "rules.layer1.*.random_noise": "0.5 lsb"},
        2,
    )
    rules = {"layer1.*": {"adc_bits": 7, "random_noise": "0.5 lsb"}}
    assert condition_at({**second, "rows": 64}, "simulated", 3) == Condition(
        macro={"rows": 64}, trial=3, chip=4, rules=rules
    )


def test_whole_settings_of_static_effects_are_one_axis() -> None:
    axes = grid_of(grid(static=[{"offset": "0.3 lsb"}, {"cell_mismatch": "3 %"}], chip=[4]))
    first, second = axes.grid()
    assert (first, axes.count()) == ({"static": {"offset": "0.3 lsb"}, "chip": 4}, 2)
    assert condition_at(second, "simulated") == Condition(macro={"static": {"cell_mismatch": "3 %"}}, chip=4)


def test_a_rule_of_a_sweep_changes_its_layers_alone_whatever_the_plan_says(make: Make) -> None:
    plan = [Rule("layer1.*", {"adc_bits": 8, "rows": 64})]
    swept = make(grid(rules={"layer1.*": {"adc_bits": [3]}, "conv": {"adc_bits": [5]}}), trials=1, rules=plan)
    swept.run()
    # the first rule counts where several match: layer1 is of convolutions too
    rules = [Rule("layer1.*", {"adc_bits": 3, "rows": 64}), Rule("conv", {"adc_bits": 5})]
    alone = make(grid(random_noise=[0]), trials=1, folder="b", rules=rules)
    alone.run()
    assert sorted(predictions(swept).values()) == sorted(predictions(alone).values())
    assert len({tuple(each) for each in predictions(swept).values()}) > 1


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"chip": [0, 1]}, r"`chip` changes nothing, because no macro"),
        ({"chip": [-1]}, r"`chip` must be 0\.\.4294967295, got -1"),
        ({"rules": {"layer9": {"rows": [3]}}}, r"`axes.rules` matches no layer with 'layer9'; nearest: layer"),
        (
            {"rules": {"conv": {"rows": [9]}, "layer1.*": {"adc_bits": [6], "rows": [3, 5]}}},
            r"`rows` of 'layer1\.\*' in `rules` changes nothing",
        ),
        ({"rules": {"fc": {"row": [3]}}}, r"`macro.row` is no field of a macro, nearest: rows"),
        ({"static": [{"ofset": "0.3 lsb"}]}, r"`macro.static.ofset` is no static effect, nearest: offset"),
    ],
    ids=str,
)
def test_axes_that_change_nothing_are_refused(axes: dict[str, Any], message: str, make: Make) -> None:
    with pytest.raises(ValueError, match=message):
        make(grid(**axes))


LSB = MacroConfig(random_noise="0.3 lsb", static={"offset": "0.10 lsb"}, full_scale_mv=1000)


BITS = [{"adc_bits": 7}, {"adc_bits": 8}]
STEPS = [{"adc_step": None}, {"adc_step": 2, "random_noise": 0.1}]
BOTH = "random_noise 0.3 lsb and offset 0.1 lsb follow the LSB of each adc_bits: one more bit halves them in volts; "


@pytest.mark.parametrize(
    ("points", "changes", "note"),
    [
        (BITS, {}, BOTH),
        (STEPS, {"static": {}}, "random_noise 0.3 lsb follows the LSB of each adc_step: twice the step doubles it"),
        ([{f"rules.fc.{name}": value for name, value in each.items()} for each in BITS], {}, BOTH[:46]),
        (BITS, {"random_noise": "2 mV", "static": {"offset": 0.1}}, ""),
        (BITS, {"adc_step": 2}, ""),
        (BITS[1:], {}, ""),
        ([{"rows": 64}, {"rows": 128}], {}, ""),
    ],
    ids=str,
)
def test_noise_in_lsb_is_named_where_the_lsb_is_swept(
    points: list[dict[str, Any]], changes: dict[str, Any], note: str
) -> None:
    fields = ({name.removeprefix("rules.fc."): value for name, value in point.items()} for point in points)
    found = lsb_notes(points, [LSB.with_fields(**{**changes, **each}) for each in fields])
    assert len(found) == bool(note)
    assert "".join(found).startswith(note)
