"""Columns that see driven rows: in the form that engines ask, and refused if they see anything else."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Charge, Conversion, Cycle, MacroConfig, transfer
from asim_lightning.circuit.adapters import possible_pairs
from asim_lightning.engine import choose, refusals
from tests.circuit.test_column_models import own


def by_driven(function: Any) -> Any:
    return lambda self, count, driven, cycle: function(count, driven, cycle)


def charge(count: Tensor, cycle: Cycle) -> Tensor:
    return 255.0 * count / cycle.full_scale


LEVEL = by_driven(lambda count, driven, cycle: charge(count, cycle) * (1 - 0.1 * driven / 255))
SIGMA = by_driven(lambda count, driven, cycle: 0.002 * driven)


@pytest.mark.parametrize(
    "functions", [{"level": LEVEL}, {"sigma": SIGMA}, {"level": LEVEL, "sigma": SIGMA}], ids="+".join
)
def test_each_method_is_looked_at_by_itself(functions: dict[str, Any]) -> None:
    circuit = transfer(MacroConfig(column=own("Both", **functions)), False)
    column, count, driven = circuit.column, torch.tensor([10.0, 20.0]), torch.tensor([[50.0], [255.0]])
    assert column.depends_on_driven
    level, sigma = column.of_driven(driven, count, circuit.cycles[0])
    expected = count * (1 - 0.1 * driven / 255) if "level" in functions else count
    torch.testing.assert_close(level.expand(2, 2), expected.expand(2, 2))
    torch.testing.assert_close(sigma.expand(2, 2), 0.002 * driven.expand(2, 2) * ("sigma" in functions))
    torch.testing.assert_close(column.level(count, circuit.cycles[0]), expected.expand(2, 2)[1])
    assert set(circuit.noisy) == {"sigma" in functions}


def test_the_name_of_the_second_parameter_decides() -> None:
    plain = own("Plain", level=lambda self, given, cycle: charge(given, cycle))
    constant = own("Constant", Charge, level=by_driven(lambda count, driven, cycle: charge(count, cycle)))
    for column in (plain, constant):  # the second gives the same for any number of driven rows
        circuit = transfer(MacroConfig(column=column), False)
        assert not circuit.column.depends_on_driven
        assert choose(circuit) == "exact"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Infinite": (
        {"level": by_driven(lambda count, driven, cycle: count / (driven - 7))},
        "level must give a tensor of finite codes for any number of driven rows, got ",
    ),
    "AllDriven": (
        {"level": by_driven(lambda count, driven, cycle: count / (255 - driven))},
        "level must give a tensor of finite codes for counts 0..255 with all 255 rows driven, got nan at count 0",
    ),
    "Negative": (
        {"sigma": by_driven(lambda count, driven, cycle: (driven - 20) / 255)},
        "sigma must give a tensor of finite codes, 0 or more, for any number of driven rows, got -0.07",
    ),
    "Mean": (
        {"level": by_driven(lambda count, driven, cycle: charge(count, cycle) - driven.mean() / 255)},
        "level must depend only on count and driven rows, but gives others for",
    ),
    "Random": (
        {"level": by_driven(lambda count, driven, cycle: count + torch.randn(()) * (driven == 3))},
        "level must depend only on count and driven rows, but gives others at a second call",
    ),
    "InPlace": (
        {"level": by_driven(lambda count, driven, cycle: count * driven.mul_(0.5))},
        "level must leave `driven` as it is, but changes it in place",
    ),
    "Curves": (
        {"level": LEVEL, "curves": 2}, "must not have several curves if it depends on driven rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_column_that_is_no_function_of_both_is_refused_in_one_sentence(name: str) -> None:
    functions, said = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        transfer(MacroConfig(column=own(name, **functions)), False)
    assert "\n" not in str(caught.value)


DROOP = {"column": "droop", "column_args": {"k": 0.05}}


@pytest.mark.parametrize("fields", [{}, {"random_noise": 0.02}, {"encoding_bits": 2, "rows": 85}], ids=str)
def test_a_droop_is_not_exact_and_without_it_the_column_is_charge(fields: dict[str, Any]) -> None:
    circuit = transfer(MacroConfig(**DROOP, **fields), False)
    assert set(circuit.equal_conversions) == {Conversion.LOSSY}
    why = refusals(circuit)
    assert "driven rows" in why["events"]
    assert "driven rows" in why["fused"]
    assert ("driven rows" in why["exact"]) == (not fields.get("random_noise"))
    plain = transfer(MacroConfig(column="droop", **fields), False)
    assert (choose(plain), plain.conversions) == (
        choose(transfer(MacroConfig(**fields), False)),
        transfer(MacroConfig(**fields), False).conversions,
    )


def test_a_droop_below_half_an_lsb_returns_every_count() -> None:
    circuit = transfer(MacroConfig(column="droop", column_args={"k": 1e-4}), False)
    assert circuit.column.depends_on_driven
    assert choose(circuit) == "exact"


def test_a_droop_acts_before_gain_offset_and_range() -> None:
    arguments = {"k": 0.2, "gain": 0.9, "offset": 3.0}
    count, half = torch.tensor([100.0]), torch.tensor(127.5)
    for fields, expected in (({}, 90 * 0.9 + 3), ({"adc_bits": 6, "adc_step": 4, "adc_low": 10}, 20 * 0.9 + 3)):
        circuit = transfer(MacroConfig(column="droop", column_args=arguments, random_noise=0.1, **fields), False)
        level, sigma = circuit.column.of_driven(half, count, circuit.cycles[0])
        torch.testing.assert_close(level, torch.tensor([expected]))
        noise = Charge(circuit.macro).sigma(count, circuit.cycles[0])
        assert torch.equal(sigma, noise)


@pytest.mark.parametrize("k", [-0.1, 1.5, "0.1", True])
def test_a_share_beyond_0_to_1_is_refused(k: object) -> None:
    with pytest.raises(ValueError, match=r"^`macro.column_args.k` must be (0..1|a finite number), got "):
        transfer(MacroConfig(column="droop", column_args={"k": k}), False)


@pytest.mark.parametrize(
    "fields",
    [{}, {"encoding_bits": 3}, {"rows": 5, "weight_parallel": True, "weight_bits": 3, "input_bits": 3}],
    ids=str,
)
def test_pairs_are_those_that_can_occur(fields: dict[str, Any]) -> None:
    macro = MacroConfig(**fields)
    cycle = transfer(macro, False).cycles[0]
    driven, counts, are_all = possible_pairs(cycle, macro.rows)
    digit = cycle.full_scale // macro.rows
    sides = 2 if cycle.signed else 1
    assert are_all
    assert len(counts) == sum(sides * digit * number + 1 for number in range(macro.rows + 1))
    assert bool((counts.abs() <= digit * driven).all())
