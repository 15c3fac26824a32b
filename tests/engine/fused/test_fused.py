"""The fused engine under Triton's interpreter against the reference, output by output, and the macros it takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asim_lightning.circuit import Column, Cycle, MacroConfig, transfer
from asim_lightning.engine import fused
from asim_lightning.engine.chips.converters import most_moves
from asim_lightning.engine.fused.tables import tables
from tests.engine.fused import cases

ROOT = Path(__file__).resolve().parents[3]


# A case for each branch of the kernel; all of them take a minute in Triton's interpreter.
QUICK = (
    "encoding 2 with remainder",
    "digital cycles that pass the ADC",
    "a last group of less than four",
    "sums beyond 32 bits",
    "values",
    "convolution with noise",
    "fewer rows than kernel elements",
    "mean vote",
    "median",
    "step 2, low 3, no noise, remainder",
    "INL by nibbles, of three",
    "levels on thresholds",
    "errors where some cycles are noise-free",
    "errors of a convolution",
)


@pytest.mark.process
@pytest.mark.parametrize(
    "names",
    [QUICK, pytest.param(tuple(sorted(cases.CASES.keys() - set(QUICK))), marks=pytest.mark.slow)],
    ids=["quick", "others"],
)
def test_every_output_and_the_first_use_are_the_reference_engines(names: tuple[str, ...]) -> None:
    """The cases are computed under Triton's interpreter, in a process of their own."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(cases.__file__)), *names]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, *_ in found] == ["first use", *names]
    assert [name for name, outputs, differ in found if outputs == "0" or differ != "0"] == []


@pytest.mark.parametrize("name", ["sums beyond 32 bits", "digital sums beyond 32 bits"])
def test_the_cases_for_long_sums_pass_32_bits(name: str) -> None:
    table = tables(transfer(cases.CASES[name].macro, False), torch.device("cpu"))
    assert 2 * max(table.code_bound, table.count_bound) >= 2**31


@pytest.mark.parametrize(
    ("tables", "moves"),
    [
        ([[0.0, 0.9], [0.4, -0.1]], 1),
        ([[0.0, 0.9], [-1.2, 0.1]], 2),
        ([[0.0, 0.9999999], [0.0, 0.0]], 2),  # a threshold of 0.9999999 is rounded to 1 where codes are large
    ],
)
def test_codes_move_by_no_more_than_thresholds_are_off(tables: list[list[float]], moves: int) -> None:
    assert most_moves(torch.tensor(tables)) == moves
    in_nibbles = torch.tensor(tables)[:, None].repeat(1, 2, 1) / 2
    assert most_moves(in_nibbles) == moves


class DoubleColumn(Column):
    """A column that computes in float64."""

    def level(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Float64 codes."""
        return super().level(count, cycle).double()


class LoudColumn(Column):
    """A column whose noise is larger than any converter."""

    def sigma(self, count: Tensor, cycle: Cycle) -> Tensor:
        """Too large to round exactly."""
        return torch.full_like(count, 2.0**20)


@pytest.mark.parametrize("case", cases.CASES.values(), ids=cases.CASES)
def test_the_engine_applies_to_every_case(case: cases.Case) -> None:
    assert fused.refuses(transfer(case.macro, case.signed)) is None


@pytest.mark.parametrize(
    "macro",
    [
        cases.PLAIN.with_fields(weight_parallel=True),
        cases.PLAIN.with_fields(adc_bits=None),
        cases.PLAIN.with_fields(column="current", column_args={"cell_sigma": 1.0}),
        cases.PLAIN.with_fields(input_bits=8, encoding_bits=8),
        cases.PLAIN.with_fields(rows=2**16),
        cases.PLAIN.with_fields(column=f"{__name__}.DoubleColumn"),
        cases.PLAIN.with_fields(column=f"{__name__}.LoudColumn"),
        cases.PLAIN.with_fields(random_noise=1.0, vote_levels=1, votes=65),
    ],
)
def test_the_engine_does_not_apply_where_counts_or_codes_are_not_few_whole_numbers(macro: MacroConfig) -> None:
    assert fused.refuses(transfer(macro, False)) is not None


def test_the_longest_tables_and_digits_are_taken() -> None:
    many_votes = {"random_noise": 1.0, "vote_levels": 1, "votes": 65, "vote": "mean"}
    for fields in ({"rows": 2**16 - 1}, {"input_bits": 7, "encoding_bits": 7}, many_votes):
        assert fused.refuses(transfer(cases.PLAIN.with_fields(**fields), False)) is None


def test_a_cpu_is_no_device_of_the_engine() -> None:
    assert fused.why_not_on(torch.device("cpu")) == "does not run on cpu"
