"""`asim sweep --chips` and `--until`: what they say, what they write, and what they refuse."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import TINY, Asim, Run
from tests.cli.wrong_inputs import SWEEP, Wrong, assert_refused, flag, recipe

Write = Callable[..., Path]

CELLS = ("--model.plan.macro.column", "current", "--model.plan.macro.column_args.cell_sigma", "20")
QUIET = ("--progress", "false")


def test_chips_give_a_yield(asim: Asim, written: Write) -> None:
    path = written(chips=3, trials=2, thresholds=[50, 5], data__init_args__test_images=8)
    answer = asim("sweep", "-c", path, *CELLS, "--model.plan.macro.random_noise", "0.5", *QUIET)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert any(line.startswith("grid     3 points, up to 8 trials") for line in lines)
    assert "good chips" in answer.out
    (folder,) = Path("runs/tiny").glob("sweep-*")
    assert {"yield.csv", "yield.png", "results.csv"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "yield.csv").read_text().splitlines()) == 1 + 2
    again = asim("sweep", "-c", path, *CELLS, "--model.plan.macro.random_noise", "0.5", *QUIET)
    assert "record   all 8 trials are of an earlier run" in again.out


def test_the_old_name_of_cells_that_differ_is_said_in_a_line(asim: Asim, written: Write) -> None:
    answer = asim("validate", "-c", written(), *CELLS)
    assert answer.out.count("`column_args.cell_sigma` is an old name of `static.cell_mismatch`") == 1
    assert "cell_sigma" not in answer.err
    assert "cell_sigma" not in asim("validate", "-c", "tiny.yaml", "--model.plan.macro.column", "current").out


def test_a_target_ends_the_chips(asim: Asim, written: Write) -> None:
    answer = asim("sweep", "-c", written(), *CELLS, "--until", "yield 0.99 at 100 %", "--chips", "30", *QUIET)
    assert "fewer if the target of the yield is answered before" in answer.out
    assert ": no, at most 0." in answer.out
    assert answer.out.count("\nsimulated") == 2  # of 30


def test_other_commands_take_a_recipe_of_chips(asim: Asim, written: Write) -> None:
    path = written(chips=3, until="yield 0.9 at 90 %", thresholds=[90])
    assert asim("validate", "-c", path, *CELLS).code == 0


ROWS = {
    "one chip": flag("`chips` must be 2..10000, got 1", *CELLS, "--chips", "1", command=SWEEP),
    "no number": flag("`chips` must be int or null, got many", *CELLS, "--chips", "many", command=SWEEP),
    "half a chip": flag("`chips` must be int or null, got 2.5", *CELLS, "--chips", "2.5", command=SWEEP),
    "an axis too": flag(
        "`axes.chip` must be absent, got [1, 2]", *CELLS, "--chips", "3", "--axes.chip", "[1, 2]", command=SWEEP
    ),
    "a chip by its flag": flag(
        "no flag may name one, got --model.chip 17", *CELLS, "--chips", "3", "--model.chip", "17", command=SWEEP
    ),
    "equal chips": flag(
        "differ from chip to chip: all chips are equal where `macro.static` is 0", "--chips", "3", command=SWEEP
    ),
    "no target": flag("`until` must be as in 'yield 0.9 at 85 %' ", *CELLS, "--until", "enough", command=SWEEP),
    "a yield of 1": flag(
        "`until` must have a yield between 0 and 1", *CELLS, "--until", "yield 1 at 90 %", command=SWEEP
    ),
    "an accuracy of 0": flag(
        "must have a yield between 0 and 1, at", *CELLS, "--until", "yield 0.9 at 0 %", command=SWEEP
    ),
    "threshold": flag(
        "percents above 0, 100 at most, got [101.0]", *CELLS, "--chips", "3", "--thresholds", "[101]", command=SWEEP
    ),
    "threshold, a text": flag(
        "`thresholds` must be list or null, got high", *CELLS, "--chips", "3", "--thresholds", "high", command=SWEEP
    ),
    "threshold without chips": flag("need `chips` or `until`", *CELLS, "--thresholds", "[90]", command=SWEEP),
    "a list of chips": recipe("`chips` must be int or null, got [0, 1]", "chips: [0, 1]\n", SWEEP),
    "a target of a number": recipe("`until` must be str or null, got 0.95", "until: 0.95\n", SWEEP),
}


@pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
def test_wrong_chips(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)


def test_equal_chips_are_of_no_point_of_axes_where_none_is_given(asim: Asim, folder: Path, run: Run) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "trained.ckpt").write_bytes(run.checkpoint.read_bytes())
    assert asim(*SWEEP, "--chips", "3").error.endswith("all chips are equal where `macro.static` is 0")
    error = asim(*SWEEP, "--chips", "3", "--axes.adc_bits", "[7]").error
    assert error.endswith("at the point adc_bits 7 of `axes`")
