"""Wild reads are found among the reads of a column, and no other reads are."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asim_lightning.circuit import MacroConfig, transfer
from asim_lightning.circuit.measured import Measured, MeasuredCurve, measured_curves
from asim_lightning.circuit.measured_file import read_by_driven, read_measurement
from asim_lightning.circuit.model_fit import fit_models
from asim_lightning.circuit.wild_reads import are_wild
from tests.circuit.measured_chips import COUNTS, ROWS, TOP, Array, codes_of, ideal_csv, reads_csv, written

TRUTH = {"offset": 1.2, "gain": 0.97, "random_noise": 0.196, "nonlinear_noise": 0.0}
READS = 50


def chip(wild: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes of a charge column, and the places of wild reads among them. # (counts, reads), (wild,)"""
    level = TRUTH["offset"] + TRUTH["gain"] * COUNTS
    codes = codes_of(level, TOP / 100 * TRUTH["random_noise"], READS, seed)
    draws = np.random.default_rng([wild, seed])
    places = draws.choice(codes.size, wild, replace=False)
    codes.flat[places] = draws.integers(0, TOP + 1, wild)
    return codes, places


def curve_of(codes: NDArray[np.int64], wild_reads: bool = False) -> MeasuredCurve:
    return measured_curves(reads_csv(codes).encode(), "chip.csv", None, TOP, wild_reads=wild_reads)[None]


def found_in(codes: Array | NDArray[np.int64], are_codes: bool = True) -> NDArray[np.bool_]:
    place = np.repeat(np.arange(len(codes)), codes.shape[1])
    return are_wild(place, codes.ravel().astype(float), (1, len(codes)), are_codes)


@pytest.mark.parametrize("wild", [1, 13, 256])
def test_codes_far_from_their_count_are_found_and_no_others(wild: int) -> None:
    codes, places = chip(wild, 1)
    far = np.abs(codes.ravel() - 1.2 - 0.97 * np.repeat(COUNTS, READS)) > 6
    found = found_in(codes)
    assert (found[places] >= far[places]).all()
    assert set(np.flatnonzero(found)) <= set(places)


@pytest.mark.parametrize("reads", [20, 50])
@pytest.mark.parametrize("offset", [0.0, -1.2, -20.0])  # the ADC then hides half, or all but some, of the reads
@pytest.mark.parametrize(("random", "nonlinear"), [(0.02, 0.0), (0.196, 0.0), (0.1, 1.0), (0.2, 5.6)])
def test_a_chip_without_wild_reads_has_none(reads: int, offset: float, random: float, nonlinear: float) -> None:
    sigma = TOP / 100 * np.sqrt(random**2 + nonlinear**2 / (COUNTS + 1))
    for seed in range(3):
        assert not found_in(codes_of(offset + COUNTS, sigma, reads, seed)).any()


def test_bent_rising_and_constant_columns_have_none() -> None:
    for level in (COUNTS + 3 * np.sin(COUNTS / 3.0), COUNTS / (1 + 1e-3 * COUNTS), 300 - 0.0 * COUNTS):
        assert not found_in(codes_of(level, np.linspace(0.1, 2.0, ROWS + 1), 40, 2)).any()


def test_a_wild_read_is_found_where_the_adc_hides_a_quartile() -> None:
    for count, code in ((0, 40), (255, 200)):
        codes = codes_of(COUNTS.astype(float), 0.5, 50, 3)
        codes[count, 7] = code
        assert np.flatnonzero(found_in(codes)).tolist() == [50 * count + 7]


def test_voltages_of_a_coarse_meter_are_not_wild() -> None:
    volts = 2.0 * COUNTS[:, None] + np.random.default_rng(0).normal(0, 0.5, (ROWS + 1, 40))
    for step in (1e-4, 2.0):  # mV; the second is four deviations
        values = np.round(volts / step) * step
        assert not found_in(values, are_codes=False).any()
        values[9, 3] += 30.0
        assert np.flatnonzero(found_in(values, are_codes=False)).tolist() == [9 * 40 + 3]
    assert not found_in(np.round(volts[:, :1]) + np.zeros((1, 40)), are_codes=False).any()  # without noise


def test_the_curve_is_without_wild_reads_unless_they_are_asked_for() -> None:
    clean, _ = chip(0, 1)
    codes, places = chip(13, 1)
    curve, whole = curve_of(codes), curve_of(codes, wild_reads=True)
    assert curve.reads is not None
    assert whole.reads is not None
    assert curve.wild is not None
    assert whole.wild is not None
    assert np.array_equal(curve.wild, whole.wild)
    assert (whole.reads.sum(), curve.reads.sum()) == (codes.size, codes.size - len(curve.wild))
    assert sorted(map(tuple, curve.wild)) == sorted((n // READS, codes.flat[n]) for n in places)
    assert np.abs(curve.level - curve_of(clean).level).max() < 0.1
    assert curve.sigma.max() < 1 < whole.sigma.max()


def test_reads_of_each_converter_and_number_of_driven_rows_are_judged_by_themselves() -> None:
    codes, _ = chip(0, 1)
    lines = reads_csv(codes).splitlines()
    for name in ("column", "driven"):
        text = [f"{name},count,code"]
        for number in (100, 255):
            text += [f"{number},{line}" for line in lines[1:] if int(line.partition(",")[0]) <= number]
        text.append(f"{100},{50},{200}")
        content = "\n".join(text).encode()
        if name == "driven":
            assert [each.wild is not None and each.wild[:, 1:].tolist() for each in
                    read_by_driven(content, "x").values()] == [[[50, 200]], []]  # fmt: skip
        else:
            assert read_measurement(content, "x", 100).wild.tolist() == [[100, 50, 200]]  # type: ignore[union-attr]
            assert read_measurement(content, "x", 255).wild.tolist() == []  # type: ignore[union-attr]


def test_a_macro_says_how_many_reads_it_leaves_out(tmp_path: Path) -> None:
    codes, _ = chip(13, 1)
    file = written(tmp_path, reads_csv(codes))
    for wild_reads, said in ((False, "; 13 wild reads are left out"), (True, "; 13 wild reads count, too")):
        arguments = {"file": file, "wild_reads": wild_reads}
        column = transfer(MacroConfig(column="measured", column_args=arguments), False).column
        assert isinstance(column, Measured)
        assert column.note.endswith(said)
        assert (column.curve.sigma.max() > 1) == wild_reads
    ideal = {"file": written(tmp_path, ideal_csv())}
    assert "wild" not in transfer(MacroConfig(column="measured", column_args=ideal), False).column.note
    with pytest.raises(ValueError, match="`wild_reads` of a measured column must be true or false, got 3"):
        transfer(MacroConfig(column="measured", column_args={"file": file, "wild_reads": 3}), False)


@pytest.mark.slow
@pytest.mark.parametrize("wild", [0, 1, 13, 256])
def test_intervals_cover_with_wild_reads(wild: int) -> None:
    chips = 40
    covered = dict.fromkeys(TRUTH, 0)
    for seed in range(chips):
        charge = fit_models(curve_of(chip(wild, seed)[0]), TOP, ROWS, None)[0]
        for name, truth in TRUTH.items():
            each = getattr(charge, name)
            covered[name] += each.low - 1e-9 <= truth <= each.high + 1e-9
    # 38 of 40 are expected; of 256 wild reads, 8 look like others and add 0.8 % to the noise
    least = dict.fromkeys(TRUTH, 34) | {"random_noise": 27 if wild == 256 else 34}
    assert all(covered[name] >= least[name] for name in TRUTH), covered
