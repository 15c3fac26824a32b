"""The explanation of a macro agrees with the field's figures and with a search by brute force."""

import math
from typing import Any

import pytest
from torch import Tensor

from asim_lightning.circuit import Charge, Column, Conversion, Cycle, MacroConfig, transfer
from asim_lightning.engine.explanation import distinct_adc_bits, exact_rows, explain


class Saturating(Column):
    """A column that loses its largest count and takes 8 rows or fewer."""

    def __init__(self, macro: MacroConfig) -> None:
        super().__init__(macro)
        if macro.rows > 8:
            raise ValueError("too many rows")

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return super().level(count.clamp(max=cycle.full_scale - 1), cycle)


@pytest.mark.parametrize(
    ("percent", "rows", "probability"),
    [(0.05, 255, 8.8e-5), (0.075, 255, 8.9e-3), (0.1, 255, 5.0e-2), (0.2, 255, 0.327), (0.1, 85, 5.0e-2)],
)
def test_probability_of_a_wrong_code(percent: float, rows: int, probability: float) -> None:
    cycle = explain(MacroConfig(rows=rows, random_noise=percent)).cycles[0]
    assert cycle.error_probability == pytest.approx(probability, rel=0.01)
    assert cycle.error_probability == pytest.approx(math.erfc(0.5 / (percent * 2.55 * math.sqrt(2))))
    assert cycle.sigma_lsb == pytest.approx(percent * 2.55)
    assert cycle.sigma_percent == pytest.approx(percent)
    assert cycle.sigma_mv is None


def test_units_at_half_of_the_full_scale() -> None:
    cycle = explain(MacroConfig(random_noise="1.2 mV", full_scale_mv=600.0, encoding_bits=2)).cycles[0]
    assert (cycle.lsb, cycle.sigma_mv, cycle.sigma_percent) == pytest.approx((3.0, 1.2, 0.2))
    cycle = explain(MacroConfig(random_noise=0.3, nonlinear_noise=4.0)).cycles[0]
    assert cycle.sigma_percent == pytest.approx(math.sqrt(0.3**2 + 4.0**2 / (127.5 + 1)))


def test_cycles_without_adc_have_no_codes() -> None:
    cycle = explain(MacroConfig(digital_levels=1, random_noise=0.1, full_scale_mv=500.0)).cycles[-1]
    assert cycle.domain == "digital"
    assert (cycle.lsb, cycle.sigma_lsb, cycle.sigma_percent, cycle.sigma_mv, cycle.error_probability) == (None,) * 5
    cycle = explain(MacroConfig(digital_levels=1, digital_adc=True, random_noise=0.1)).cycles[-1]
    assert cycle.domain == "digital+ADC"
    assert (cycle.lsb, cycle.sigma_lsb, cycle.error_probability) == (1.0, 0.0, 0.0)


def test_ideal_converter() -> None:
    explanation = explain(MacroConfig(adc_bits=None, random_noise=0.1))
    cycle = explanation.cycles[0]
    assert (cycle.lsb, cycle.sigma_lsb, cycle.error_probability) == (None, None, None)
    assert cycle.sigma_percent == pytest.approx(0.1)
    assert (explanation.exact_rows_below, explanation.exact_rows_above) == (255, 256)
    assert explanation.distinct_adc_bits == 8
    assert explanation.algorithm == "every conversion"
    assert explain(MacroConfig(adc_bits=None)).algorithm == "exact"


@pytest.mark.parametrize(
    ("settings", "signed", "expected"),
    [
        ({"rows": 128}, True, (85, 255)),
        ({"encoding_bits": 4, "adc_bits": 12}, False, (91, 273)),
        ({"encoding_bits": 4, "adc_bits": 12, "rows": 273}, True, (39, None)),  # a 3-bit group
        ({"weight_bits": 2, "input_bits": 3, "weight_parallel": True, "adc_bits": 16, "rows": 100}, False, (31, 151)),
        ({"digital_levels": 99, "adc_bits": 1}, False, (255, 256)),
        ({"rows": 2**20, "adc_bits": None}, False, (2**20, None)),
        ({"column": "current", "column_args": {"cell_sigma": 1.0}}, False, (None, None)),
        ({"adc_bits": 6, "adc_step": 1}, False, (63, None)),
        ({"adc_bits": 8, "adc_step": 1, "encoding_bits": 2}, False, (85, None)),
        ({"adc_bits": 8, "adc_step": 1, "adc_low": 1}, False, (None, None)),
        ({"adc_bits": 8, "adc_step": 2}, False, (None, None)),
    ],
)
def test_nearest_exact_rows(settings: dict[str, Any], signed: bool, expected: tuple[int | None, int | None]) -> None:
    assert exact_rows(MacroConfig(**settings), signed) == expected


@pytest.mark.parametrize("column_args", [{"alpha": 0.0}, {"alpha": 1e-4}, {"alpha": 3e-3}])
@pytest.mark.parametrize(("adc_bits", "encoding_bits"), [(4, 1), (6, 2), (8, 2), (8, 4), (7, 1)])
def test_exact_rows_by_brute_force(column_args: dict[str, float], adc_bits: int, encoding_bits: int) -> None:
    macro = MacroConfig(4, 4, 20, adc_bits, encoding_bits, column="current", column_args=column_args)
    most = 2**adc_bits // (2**encoding_bits - 1)
    exact = [rows for rows in range(1, most + 1) if transfer(macro.with_fields(rows=rows), False).exact]
    below, above = [rows for rows in exact if rows <= 20], [rows for rows in exact if rows > 20]
    assert exact_rows(macro, False) == (max(below, default=None), min(above, default=None))


@pytest.mark.parametrize(
    ("settings", "signed"),
    [
        ({}, False), ({"encoding_bits": 2}, False), ({"encoding_bits": 4}, True), ({"rows": 256}, False),
        ({"weight_bits": 2, "input_bits": 2, "rows": 9, "weight_parallel": True}, True),
        ({"column": "current", "column_args": {"alpha": 1e-3}}, False),
        ({"adc_bits": 4, "random_noise": "7 lsb"}, False),
        ({"adc_bits": 4, "adc_step": 1, "encoding_bits": 2}, True),
    ],
)  # fmt: skip
def test_distinct_adc_bits_by_brute_force(settings: dict[str, Any], signed: bool) -> None:
    macro, bits = MacroConfig(**settings), range(2, 17)
    found = [
        Conversion.LOSSY not in transfer(macro.with_fields(random_noise=0, adc_bits=b), signed).conversions
        for b in bits
    ]
    assert distinct_adc_bits(macro, signed) == bits[found.index(True)]


def test_no_number_of_adc_bits() -> None:
    column = f"{__name__}.Saturating"
    assert distinct_adc_bits(MacroConfig(rows=8, column=column), False) is None
    assert exact_rows(MacroConfig(rows=8, column=column), False) == (None, None)  # 15 rows and more are refused
    assert "give each count its own code, without `static`: none of 1..16" in str(
        explain(MacroConfig(rows=8, column=column))
    )
    parallel = explain(MacroConfig(weight_parallel=True))
    assert parallel.distinct_adc_bits == 24
    assert "give each count its own code, without `static`: 24, more than the 16 of a macro" in str(parallel)
    assert "give each count its own code, without `static`: no ADC is used" in str(
        explain(MacroConfig(digital_levels=99))
    )


def test_a_full_scale_that_is_a_share_of_the_supply_says_so() -> None:
    found = explain(MacroConfig(full_scale_mv="0.8 of 900 mV", random_noise="3.6 mV"))
    assert "full scale 720 mV (0.8 of the supply)" in " ".join(str(found).split())
    assert "at count 0 (does not follow the supply); full scale" in str(found)
    assert [each.sigma_mv for each in found.cycles] == pytest.approx([3.6] * len(found.cycles))
    assert "follow the supply" not in str(explain(MacroConfig()))  # without noise


TEXT = """\
W3A4, unsigned input, 31 rows, 5-bit ADC, 3 input bits a cycle, charge column
random noise 0.5 %, nonlinear noise 0 % at count 0 (does not follow the supply); full scale 800 mV (does not follow the
    supply); 1 digital level; mode of 3 votes in 2 levels

weight  input          binary      full                     LSB  sigma  sigma  sigma            noise-
bits    bits   cycles  weight     scale  domain   votes  counts    LSB      %     mV  P(wrong)  free
------  -----  ------  ---------  -----  -------  -----  ------  -----  -----  -----  --------  ------
0..1    0..2        2  +2^0..2^1    217  analog       1       7  0.155    0.5      4   1.2e-01  lossy
2       0..2        1  -2^2         217  analog       3       7  0.155    0.5      4   1.2e-01  lossy
0       3           1  +2^3          31  analog       1       1  0.155    0.5      4   1.3e-03  exact
1       3           1  +2^4          31  analog       3       1  0.155    0.5      4   1.3e-03  exact
2       3           1  -2^5          31  digital      1       -      -      -      -         -  exact

per output and tile: 6 cycles (3 exact, 0 distinct, 3 lossy; 1 digital), 9 conversions
algorithm: every conversion: 3 of 6 cycles do not return their count even without noise
rows at which every cycle is exact, without noise and `static`: nearest up to 31: none; nearest above: none
fewest ADC bits that give each count its own code, without `static`: 8
"""


def test_an_adc_with_a_range_of_its_own() -> None:
    macro = MacroConfig(adc_bits=6, adc_step=2, adc_low=5, encoding_bits=3, random_noise=0.1, full_scale_mv=500.0)
    explanation = explain(macro, rows_in_use=9)
    assert (
        "ADC range: codes 0..63 are counts 5..131 in steps of 2; counts reach 63 with 9 rows in use; full scales"
        in (str(explanation))
    )
    cycle, last = explanation.cycles[0], explanation.cycles[-1]
    assert (cycle.lsb, last.lsb) == (2, 2)
    assert cycle.sigma_lsb == pytest.approx(0.001 * 7 * 255 / 2)
    assert (cycle.sigma_percent, cycle.sigma_mv) == (pytest.approx(0.1), pytest.approx(0.5))  # as without the range
    assert cycle.error_probability == pytest.approx(math.erfc(0.5 / (cycle.sigma_lsb * math.sqrt(2))), rel=0.2)
    exact = MacroConfig(adc_bits=6, adc_step=1)
    assert explain(exact, rows_in_use=63).algorithm == "exact"
    assert explain(exact, rows_in_use=64).algorithm == "every conversion"


def test_text() -> None:
    settings: dict[str, Any] = {"full_scale_mv": 800.0, "random_noise": 0.5}
    settings |= {"digital_levels": 1, "vote_levels": 2, "votes": 3}
    assert str(explain(MacroConfig(3, 4, 31, 5, 3, **settings))).startswith(TEXT)


def test_static_effects_are_said_with_their_units_and_what_they_cost() -> None:
    static = {"offset": "0.3 lsb", "gain": 1, "trim": "both", "trim_step": "0.1 lsb", "columns_per_adc": 4}
    text = " ".join(str(explain(MacroConfig(static=static))).split())
    assert "a chip: offset 0.3 lsb, gain 1 %, 4 columns share a converter, offset and gain trimmed to 0.1 lsb" in text
    assert (
        "rows at which every cycle is exact, without noise and `static`: nearest up to 255: 255; nearest above: none"
        in text
    )
    text = " ".join(str(explain(MacroConfig(static={**static, "trim": "none"}))).split())
    assert "not trimmed, so that trim_step counts for nothing" in text
    assert "algorithm: every conversion: converters differ, and 0.48 of the codes are wrong by the spreads" in text
    cells = {"cell_mismatch": "3 %", "reference": "absolute", "parasitics": 0.3, "stuck_at_1": 1e-3}
    text = " ".join(str(explain(MacroConfig(static=cells))).split())
    assert "a chip: cell mismatch 3 %, stuck at 1 0.001, absolute reference with parasitics 0.3" in text
    assert "a chip" not in str(explain(MacroConfig()))


@pytest.mark.parametrize(
    ("rows", "bits", "microvolt", "lsb"), [(255, 8, 104.1, 0.0295), (1088, 10, 50.4, 0.0573)], ids=["8 bits", "10 bits"]
)
def test_thermal_noise_of_a_column(rows: int, bits: int, microvolt: float, lsb: float) -> None:
    """FIELD: 255 x 1.5 fF: 0.10 mV, 0.03 LSB at 8 bits and 0.9 V; 1088 rows, 10 bits: 0.057 LSB."""
    macro = MacroConfig(rows=rows, adc_bits=bits, unit_capacitor_ff=1.5, full_scale_mv=900)
    assert macro.thermal_noise_mv == pytest.approx(microvolt / 1e3, rel=1e-3)
    said = " ".join(str(explain(macro)).split())
    assert f"kT/C of the column {microvolt:.3g} uV = {lsb:.2g} LSB" in said
    in_volts = " ".join(str(explain(macro.with_fields(full_scale_mv=None))).split())
    assert f"kT/C of the column {microvolt:.3g} uV, which" in in_volts
    assert "kT/C" not in str(explain(MacroConfig()))


def test_numbers_of_the_noise_alone_are_said_to_be_without_static_effects() -> None:
    plain = MacroConfig(random_noise=0.05)
    said = "sigma and P(wrong) are of the noise only; differences between converters and cells are not in them"
    assert said in str(explain(plain.with_fields(**{"static.offset": "0.3 lsb"})))
    assert said not in str(explain(plain))


def test_level_and_sigma_by_driven_rows() -> None:
    found = explain(MacroConfig(column="droop", column_args={"k": 0.1}, random_noise="0.3 lsb", encoding_bits=3))
    assert {each.full_scale for each in found.by_driven} == {1785, 765}
    for each in found.by_driven:
        level = each.count * 255 / each.full_scale
        assert each.count == each.driven * each.full_scale / 255 / 2
        assert each.level == pytest.approx(level * (1 - 0.1 * each.driven / 255))
        assert (each.level_of_all, each.sigma) == (pytest.approx(level * 0.9), pytest.approx(0.3))
    assert "level, all" in str(found)
    assert not explain(MacroConfig(column="droop")).by_driven
    few = explain(MacroConfig(rows=2, column="droop", column_args={"k": 0.1}, random_noise=0.1))
    assert [each.driven for each in few.by_driven] == [1, 2]


class Bent(Charge):
    """A column that loses a part of its level at large counts, and has no noise of its own."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        return super().level(count * (1 - 0.02 * count.abs() / cycle.full_scale), cycle)


BENT = f"{Bent.__module__}.Bent"


@pytest.mark.parametrize(
    ("settings", "counts", "step"),
    [
        ({}, [0, 64, 128, 191, 255], 1.0),
        ({"adc_bits": 7, "adc_step": 2}, [0, 64, 128, 191, 255], 2.0),
        ({"weight_parallel": True, "adc_bits": 8, "rows": 127}, None, 1.0),
    ],
)
def test_level_and_sigma_of_a_users_column_over_its_swing(
    settings: dict[str, Any], counts: list[float] | None, step: float
) -> None:
    found = explain(MacroConfig(column=BENT, random_noise=0.1, **settings)).over_swing
    assert [each.part for each in found[:5]] == ["0", "1/4", "1/2", "3/4", "1"]
    if counts is not None:
        assert [each.count for each in found] == counts
        assert [each.ideal for each in found] == pytest.approx([count / step for count in counts])
    else:
        assert (found[0].count, found[2].count, found[4].count) == (-found[4].full_scale, 0, found[4].full_scale)
    for each in found:
        assert each.level == pytest.approx(each.ideal * (1 - 0.02 * abs(each.count) / each.full_scale), abs=1e-3)
        assert each.sigma == pytest.approx(found[0].sigma)


def test_columns_of_the_package_have_no_table_of_their_swing() -> None:
    for column in ("charge", "current", "droop"):
        found = explain(MacroConfig(column=column))
        assert not found.over_swing
        assert "part of" not in str(found)
    assert "part of" in str(explain(MacroConfig(column=BENT)))
