"""A layer knows how it came to its macro, so that the plan's macro can change under its rule."""

import copy
import pickle

import pytest

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import Assignment, CimLinear, QuantConv2d

BASE = MacroConfig(6, 6, rows=64)


def test_the_rule_has_the_last_word() -> None:
    assert Assignment(BASE).macro == BASE
    ruled = Assignment(BASE, rule={"adc_bits": 10})
    assert ruled.macro == BASE.with_fields(adc_bits=10)
    assert ruled.changed(adc_bits=5, rows=32).macro == BASE.with_fields(adc_bits=10, rows=32)
    assert ruled.ruled == {"adc_bits"}
    whole = Assignment(BASE, rule=MacroConfig(4, 4))
    assert whole.changed(rows=32).macro == MacroConfig(4, 4)
    assert {"rows", "adc_bits", "column_args"} <= whole.ruled


def test_scores_have_their_bits_before_the_rule() -> None:
    scores = Assignment(BASE, is_scores=True).changed(input_bits=9, encoding_bits=9)
    assert (scores.macro.input_bits, scores.macro.encoding_bits) == (8, 8)
    scores = scores.changed(input_bits=6, encoding_bits=2)
    assert (scores.macro.input_bits, scores.macro.encoding_bits) == (6, 2)
    assert Assignment(BASE, True, {"input_bits": 9}).changed(input_bits=9).macro.input_bits == 9


def test_a_digital_layer_has_8_bits_or_more_unless_a_rule_says_other() -> None:
    assert Assignment(BASE).digital_bits == (8, 8)
    assert Assignment(BASE).changed(weight_bits=12).digital_bits == (12, 8)
    assert Assignment(BASE, rule={"input_bits": 5}).digital_bits == (8, 5)


def test_assignments_are_compared_by_content_and_copied() -> None:
    first, second = Assignment(BASE, rule={"rows": 8}), Assignment(BASE, rule={"rows": 8})
    assert first == second
    assert hash(first) == hash(second)
    assert first != Assignment(BASE, rule={"rows": 9})
    rule = {"rows": 8}
    kept = Assignment(BASE, rule=rule)
    rule["rows"] = 16
    assert kept.changed(adc_bits=4).macro.rows == 8
    for copied in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert copied == kept
        assert copied.macro == kept.macro


def test_a_macro_that_is_set_by_hand_has_no_rule_and_a_refused_one_is_not_set() -> None:
    layer = CimLinear(4, 2, macro=BASE, signed_input=True)
    assert layer.assignment == Assignment(BASE)
    layer.assignment = Assignment(BASE, rule={"rows": 8, "input_bits": 5})
    assert (layer.macro.rows, layer.weight_bits, layer.input_bits) == (8, 6, 5)
    with pytest.raises(ValueError, match="input"):
        layer.macro = MacroConfig(input_bits=1)
    assert (layer.macro.rows, layer.input_bits) == (8, 5)
    layer.macro = MacroConfig(5, 5)
    assert layer.assignment == Assignment(MacroConfig(5, 5))


def test_a_digital_layer_follows_its_assignment() -> None:
    layer = QuantConv2d(3, 4, 3, weight_bits=8)
    assert layer.assignment is None
    layer.assignment = Assignment(BASE.with_fields(weight_bits=10))
    assert (layer.weight_bits, layer.input_bits) == (10, 8)
    with pytest.raises(ValueError, match="input"):
        layer.assignment = Assignment(BASE, rule={"input_bits": 1})
    assert layer.input_bits == 8
