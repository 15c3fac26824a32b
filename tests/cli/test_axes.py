"""A flag for a field that a sweep has as an axis takes the axis's place, and says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asim_lightning.cli.command_line import read_arguments
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.settled import settle_axes
from tests.cli.conftest import Asim
from tests.commands import by_flags

Write = Callable[..., Path]
NOISE = "--model.plan.macro.random_noise"
RECIPE = {"random_noise": [0, 0.1, 0.2], "adc_bits": [6, 8], "rows": None}
MODEL = {
    "plan": {"macro": {"random_noise": "0.3 lsb", "adc_bits": 7, "rows": 64, "column_args": {"alpha": 0.1}}},
    "chip": 3,
}


@pytest.mark.parametrize(
    ("flags", "settled"),
    [
        ([], {}),
        ([NOISE, "0.3 lsb"], {"random_noise": ["0.3 lsb"]}),
        ([f"{NOISE}=0.3 lsb"], {"random_noise": ["0.3 lsb"]}),
        (
            ["--model.plan.macro", "{random_noise: 0.3 lsb, adc_bits: 7}"],
            {"random_noise": ["0.3 lsb"], "adc_bits": [7]},
        ),
        (["--model.plan", "{macro: {adc_bits: 7}, keep: [fc]}"], {"adc_bits": [7]}),
        (["--model={plan: {macro: {adc_bits: 7}}}"], {"adc_bits": [7]}),
        (["--model.plan.macro.rows", "64"], {}),
        ([NOISE, "0.3 lsb", "--axes.random_noise", "[1]"], {}),
        ([NOISE, "0.3 lsb", "--axes.random_noise+=1"], {}),
        ([NOISE, "0.3 lsb", "--axes", "{random_noise: [1]}"], {}),
        ([NOISE, "0.3 lsb", "--axes.adc_bits", "[8]"], {"random_noise": ["0.3 lsb"]}),
    ],
    ids=str,
)
def test_which_axes_a_flag_replaces(flags: list[str], settled: dict[str, Any]) -> None:
    found, said = settle_axes(by_flags(*flags), RECIPE, MODEL)
    assert found == settled
    assert bool(said) == bool(settled)


def test_the_default_grid_and_arguments_of_a_column_are_replaced_too() -> None:
    assert settle_axes(by_flags(NOISE, "0.3 lsb"), {"random_noise": None}, MODEL)[0] == {"random_noise": ["0.3 lsb"]}
    flags = ["--model.plan.macro.column_args.alpha", "0.1"]
    assert settle_axes(by_flags(*flags), {"column_args": [{"alpha": 0}]}, MODEL)[0] == {"column_args": [{"alpha": 0.1}]}


def test_a_flag_for_the_chip_takes_the_place_of_the_axis_of_chips() -> None:
    settled, said = settle_axes(by_flags("--model.chip", "3"), {"chip": [0, 1]}, MODEL)
    assert (settled, said) == ({"chip": [3]}, "chip 3 by its flag, not the 2 values of its axis")
    assert settle_axes(by_flags("--model.chip", "3", "--axes.chip", "[4]"), {"chip": [4]}, MODEL)[0] == {}


def test_a_file_given_as_a_group_is_read(folder: Path) -> None:
    Path("macro.yaml").write_text("adc_bits: 7\n")
    assert settle_axes(by_flags("--model.plan.macro", "macro.yaml"), RECIPE, MODEL)[0] == {"adc_bits": [7]}


def test_a_sweep_takes_the_flag_and_says_so(asim: Asim, written: Write) -> None:
    path = written(axes={"random_noise": [0, 0.1, 0.2], "adc_bits": [8]}, trials=1, model__plan__macro__adc_bits=6)
    answer = asim("sweep", "-c", path, NOISE, "0.3 lsb", "--progress", "false")
    lines = answer.out.splitlines()
    assert lines[0] == "axes     random_noise 0.3 lsb by its flag, not the 3 values of its axis"
    (row,) = [line for line in lines if line.startswith("simulated")]
    assert row.split()[1:4] == ["8", "0.3", "lsb"]  # of one file, the axis counts


def test_a_flag_before_the_file_counts_as_it_says(asim: Asim, written: Write) -> None:
    path = written(axes={"random_noise": [0, 0.1]}, trials=1, model__plan__macro__random_noise=0.05)
    answer = asim("sweep", NOISE, "0.7", "-c", path, "--progress", "false")
    assert answer.out.splitlines()[0] == "axes     random_noise 0.7 by its flag, not the 2 values of its axis"
    (row,) = [line for line in answer.out.splitlines() if line.startswith("simulated")]
    assert row.split()[1] == "0.7"


def test_other_commands_take_the_macro_as_given(written: Write) -> None:
    path = written(axes={"random_noise": [0, 0.1]})
    cli = AsimCLI(read_arguments(["explain", "-c", str(path), NOISE, "0.2"]))
    assert cli.axes == ""
    assert cli.model.hparams["plan"]["macro"]["random_noise"] == 0.2
