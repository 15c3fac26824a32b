"""Measured columns: the codes simulated from a file are those in it, and a known column comes back."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asim_lightning.circuit import MacroConfig, Transfer, resolved, transfer
from asim_lightning.circuit.adapters import possible_pairs
from asim_lightning.circuit.code_fit import intervals
from asim_lightning.circuit.measured import Measured, measured_curves
from asim_lightning.engine import ENGINES, MatmulProduct, sums_of
from asim_lightning.engine.explanation import explain
from asim_lightning.exploration.point import macro_content
from tests.circuit.measured_chips import (
    COUNTS,
    TOP,
    bent_level,
    codes_of,
    histogram,
    ideal_csv,
    moments_csv,
    reads_csv,
    written,
)
from tests.engine.products import noise_of
from tests.engine.rare.test_distribution import difference

SIGMAS = [0.1, 0.3, 1.0]
ONE_BIT = MacroConfig(weight_bits=2, input_bits=1)  # with weights of 1 an output is the code of one conversion


def measured(file: str, **changes: Any) -> MacroConfig:
    return ONE_BIT.with_fields(column="measured", column_args={"file": file}, **changes)


def simulated(macro: MacroConfig, reads: int, engine: str) -> NDArray[np.int64]:
    """Codes of every count by an engine. # (counts, reads)"""
    x = (torch.arange(macro.rows) < torch.from_numpy(COUNTS)[:, None]).float()
    w = torch.ones(reads, macro.rows)
    sums = sums_of(ENGINES[engine], MatmulProduct(), transfer(macro, False), x, w, noise_of(len(x)))
    return sums.round().long().numpy()


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize(("engine", "form"), [("native", "reads"), ("reference", "moments")])
def test_simulated_codes_are_those_measured(sigma: float, engine: str, form: str, tmp_path: Path) -> None:
    spread = np.where(COUNTS > 0, sigma, 0.0)
    codes = codes_of(bent_level(), spread, 500, 1)
    text = reads_csv(codes) if form == "reads" else moments_csv(codes.mean(1), codes.std(1))
    found = histogram(simulated(measured(written(tmp_path, text)), 500, engine))
    assert difference(histogram(codes), found) < 3.1
    # the test can tell: the same column with a fifth more noise, or without INL
    assert difference(histogram(codes_of(bent_level(), 1.2 * spread, 500, 2)), found) > 6
    assert difference(histogram(codes_of(0.995 * COUNTS, spread, 500, 2)), found) > 6


def test_counts_between_measured_ones_are_linear(tmp_path: Path) -> None:
    level, spread = bent_level(), np.linspace(0.4, 0.2, len(COUNTS))
    codes = codes_of(level, spread, 500, 1)
    some = [0, 3, 50, 51, 255]
    rows = [f"{k},{codes[k].mean():.6f},{codes[k].std():.6f}" for k in some]
    column = transfer(measured(written(tmp_path, "\n".join(["count,mean,std", *rows]))), False).column
    assert isinstance(column, Measured)
    every = transfer(measured(written(tmp_path, moments_csv(codes.mean(1), codes.std(1)), "all.csv")), False).column
    assert isinstance(every, Measured)
    for name in ("level", "sigma"):
        own, whole = getattr(column.curve, name), getattr(every.curve, name)
        assert np.allclose(own, np.interp(COUNTS, some, whole[some]))
    assert "5 of 256 counts were measured, linear between these" in column.note
    assert "linear" not in every.note
    reads = reads_csv(codes[:, :60]).splitlines()
    few = [line for line in reads if line.partition(",")[0] in ("count", *map(str, some))]
    curve = measured_curves("\n".join(few).encode(), "chip.csv", None, TOP)[None]
    assert curve.reads is not None
    assert curve.reads.shape == (5, curve.reads.shape[1])
    assert np.allclose(curve.level[some], codes[some, :60].mean(1), atol=0.2)


@pytest.mark.parametrize("unit", ["mv", "v"])
def test_voltages_are_levels_of_the_full_scale(unit: str, tmp_path: Path) -> None:
    factor = {"mv": 1.0, "v": 1e-3}[unit]
    level, noise = (
        bent_level() / TOP * 500 * factor,
        np.random.default_rng(1).normal(0, 0.4 * factor, (len(COUNTS), 40)),
    )
    reads = "\n".join([f"count,{unit}", *(f"{k},{v:.9f}" for k, row in enumerate(level[:, None] + noise) for v in row)])
    means = "\n".join(
        [f"count,mean_{unit},std_{unit}"]
        + [f"{k},{level[k] + row.mean():.9f},{row.std():.9f}" for k, row in enumerate(noise)]
    )
    found = [
        measured_curves(text.encode(), "chip.csv", None, TOP, full_scale_mv=500.0)[None] for text in (reads, means)
    ]
    for curve in found:
        assert np.allclose(curve.level, (level + noise.mean(1)) / factor / 500 * TOP, atol=1e-5)
        assert np.allclose(curve.sigma, noise.std(1) / factor / 500 * TOP, atol=1e-5)
        assert curve.is_voltage
    assert found[0].number is not None
    assert set(found[0].number) == {40}
    file = written(tmp_path, means)
    with pytest.raises(ValueError, match=r"has voltages, so `macro\.full_scale_mv`"):
        transfer(measured(file), False)
    assert transfer(measured(file, full_scale_mv=500.0), False).column.note.startswith("measured: sigma")
    contents = [macro_content(measured(file, full_scale_mv=scale), False) for scale in (500.0, 510.0)]
    assert contents[0] != contents[1]


@pytest.mark.parametrize("sigma", SIGMAS[::2])
def test_a_known_column_is_recovered_within_its_intervals(sigma: float, tmp_path: Path) -> None:
    level = bent_level()
    codes = codes_of(level, sigma, 200, 4)
    column = transfer(measured(written(tmp_path, reads_csv(codes))), False).column
    assert isinstance(column, Measured)
    some = slice(None, None, 6)  # each count is fitted by itself
    levels, sigmas = intervals(histogram(codes)[some], TOP)
    two = column.curve.sigma[some] > 0
    assert (np.isnan(levels[0]) == ~two).all()
    for truth, found, (low, high) in (
        (level[some][two], column.curve.level[some][two], levels[:, two]),
        (np.full(int(two.sum()), sigma), column.curve.sigma[some][two], sigmas[:, two]),
    ):
        assert (low <= found + 1e-6).all()
        assert (found <= high + 1e-6).all()
        missed = int(((truth < low) | (truth > high)).sum())
        expected = 0.05 * len(truth)
        assert missed <= expected + 4 * math.sqrt(expected)
    assert np.abs(column.curve.level - level)[some][~two].max(initial=0.0) <= 0.5  # of one code no more is known


def test_where_all_reads_gave_one_code_it_comes_back_without_noise(tmp_path: Path) -> None:
    codes = codes_of(COUNTS.astype(float), np.where(COUNTS < 200, 0.0, 0.3), 100, 5)
    macro = measured(written(tmp_path, reads_csv(codes)))
    column = transfer(macro, False).column
    assert isinstance(column, Measured)
    assert (column.curve.sigma[:200] == 0).all()
    assert (column.curve.level[:200] == COUNTS[:200]).all()
    assert column.curve.counts_of_one_code >= 200
    assert f"at {column.curve.counts_of_one_code} of 256 counts" in str(explain(macro))


def test_a_file_without_noise_is_one_integer_product(tmp_path: Path) -> None:
    macro = measured(written(tmp_path, ideal_csv()))
    assert transfer(macro, False).exact
    assert transfer(macro.with_fields(input_bits=8, encoding_bits=2, rows=85), False).exact  # 3 * 85 counts
    assert explain(macro).exact_rows_below == 255
    assert explain(macro).distinct_adc_bits == 8


def test_two_codes_have_their_probability(tmp_path: Path) -> None:
    mean = COUNTS + 0.25
    mean[-1] = 254.75
    file = written(tmp_path, moments_csv(mean, np.full(256, math.sqrt(0.25 * 0.75))))
    circuit = transfer(measured(file), False)
    counts = torch.from_numpy(COUNTS).float()
    level, sigma = (f(counts, circuit.cycles[0]).double() for f in (circuit.column.level, circuit.column.sigma))
    above = torch.special.ndtr((level - torch.from_numpy(np.floor(mean) + 0.5)) / sigma).numpy()
    assert np.abs(above - np.where(COUNTS == 255, 0.75, 0.25)).max() < 1e-3


def test_a_macro_knows_the_content_of_its_file(tmp_path: Path) -> None:
    file = written(tmp_path, ideal_csv())
    first = resolved(measured(file))
    assert first.column_args["content"].startswith("sha256-")
    assert first == resolved(first) == resolved(measured(file)) == transfer(measured(file), False).macro
    assert MacroConfig(**vars(first)) == first
    written(tmp_path, ideal_csv().replace("7,7.000000,0.0", "7,7.000000,0.1"))
    assert resolved(measured(file)) != first
    with pytest.raises(ValueError, match=r"must be the file of content 'sha256-\w{16}', got .*chip.csv of content"):
        resolved(first.with_fields(votes=3))


@pytest.mark.parametrize(
    ("changes", "signed", "message"),
    [
        ({"random_noise": 0.1}, False, "`macro.random_noise` must be 0 with column measured, .* got 0.1"),
        ({"nonlinear_noise": "1 lsb"}, False, "`macro.nonlinear_noise` must be 0 .* got '1 lsb'"),
        ({"adc_step": 1}, False, "`macro.adc_step` must be null with column measured, .* got 1"),
        ({"adc_bits": None}, False, "`macro.adc_bits` must be 1..16 with column measured, .* got None"),
        ({"adc_bits": 7}, False, "must have codes 0..127 of the 7-bit ADC .* got 255"),
        ({"adc_bits": 9}, False, "must use more than half of the codes 0..511 .* got 255 at the last count, 255"),
        ({"weight_parallel": True}, False, "`macro.weight_parallel` must be false with column measured"),
        ({"rows": 128}, False, "full scale of every cycle .* 128, got counts 0..255"),
        ({"input_bits": 8, "encoding_bits": 2, "rows": 85}, True, "full scale of every cycle .* 85, 255, got counts"),
    ],
)
def test_a_macro_that_the_file_does_not_fit_is_refused(
    changes: dict[str, Any], signed: bool, message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, ideal_csv())
    with pytest.raises(ValueError, match=message):
        transfer(measured(file, **changes), signed)


def droop_csv(k: float, numbers: tuple[int, ...] = (64, 128, 255), noise: float = 0.3, digit: int = 1) -> str:
    """Means and deviations of voltages of a droop, of every fourth count; an LSB is 1 mV."""
    lines = ["driven,count,mean_mv,std_mv"]
    for driven in numbers:
        counts = sorted({*range(0, driven * digit + 1, 4), driven * digit})
        lines += [f"{driven},{n},{n / digit * (1 - k * driven / 255):.6f},{noise}" for n in counts]
    return "\n".join(lines)


def of_file(file: str, **fields: Any) -> Transfer:
    return transfer(MacroConfig(column="measured", column_args={"file": file}, full_scale_mv=255, **fields), False)


@pytest.mark.parametrize("fields", [{}, {"encoding_bits": 2}], ids=str)
def test_a_droop_that_was_measured_at_some_driven_rows_comes_back(fields: dict[str, Any], tmp_path: Path) -> None:
    digit = 3 if fields else 1
    circuit = of_file(written(tmp_path, droop_csv(0.1, digit=digit)), **fields)
    droop = transfer(MacroConfig(column="droop", column_args={"k": 0.1}, random_noise="0.3 lsb", **fields), False)
    driven, counts, _ = possible_pairs(circuit.cycles[0], 255)
    (level, sigma), (expected, _) = (each.column.of_driven(driven, counts, each.cycles[0]) for each in (circuit, droop))
    measured = driven >= 64  # below the smallest number, its curve counts
    torch.testing.assert_close(level[measured], expected[measured], atol=0.002, rtol=0)
    torch.testing.assert_close(sigma, torch.full_like(sigma, 0.3))
    assert float((level - expected)[~measured].abs().max()) < 0.1 * 64 / 255 * 64
    x, w = torch.arange(1200.0).remainder(256).view(4, 300), torch.arange(2400.0).remainder(255).view(8, 300) - 127
    noise = noise_of(4)
    found = [sums_of(ENGINES[name], MatmulProduct(), circuit, x, w, noise) for name in ("native", "reference")]
    assert torch.equal(*found)
    assert "driven rows 64, 128, 255" in circuit.column.note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (droop_csv(0.1, (64, 200)), "of which the largest number is `macro.rows`, 255, got 64 to 200"),
        (droop_csv(0.1).replace("64,64,", "64,65,"), "must have counts 0..64 for 64 driven rows, got 65"),
        (droop_csv(0.1).replace("driven,", "column,driven,").replace("\n", "\n1,"), "got both"),
        (droop_csv(0.1).replace("64,0,", "64,1,"), "at 64 driven rows, must have count 0 and the full scale, got"),
    ],
)
def test_files_of_driven_rows_that_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        of_file(written(tmp_path, text))
    assert "\n" not in str(caught.value)
