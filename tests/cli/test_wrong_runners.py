"""Whatever is wrong about who computes the trials of a sweep, the answer is one line and exit code 2."""

from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import SWEEP, Wrong, assert_refused, flag

RUNNER = {
    "unknown": (("--runner", "rya"), "`runner` must be one of trainer, ray, got 'rya'; did you mean ray?"),
    "no text": (("--runner", "3"), "`runner` must be one of trainer, ray, got '3'"),
    "no worker": (("--runner", "ray", "--runner.workers", "0"), "`runner.workers` must be 1 or more or null, got 0"),
    "more workers than a machine bears": (
        ("--runner", "ray", "--runner.workers", "100000"),
        "`runner.workers` must be 1..",
    ),
    "part of a worker": (("--runner.workers", "1.5"), "`runner.workers` must be int or null, got 1.5"),
    "no thread": (("--runner", "ray", "--runner.threads", "0"), "`runner.threads` must be 1 or more, got 0"),
    "more threads than a machine has": (
        ("--runner", "ray", "--runner.threads", "100000"),
        "`runner.threads` must be 1..",
    ),
    "typo": (("--runner", "ray", "--runner.worker", "2"), "nearest: runner.workers"),
    "workers of the trainer": (("--runner.workers", "2"), "`runner.workers` is of `runner: ray`, got 2 with trainer"),
    "processes of both": (
        ("--runner", "ray", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
        "`trainer.devices` must be 1 with `runner: ray`, whose processes `runner.workers` sets, got 2",
    ),
}
OF_RAY = ("more workers than a machine bears", "more threads than a machine has")
"""Rows that Ray answers."""
ROWS = {name: flag(said, *given, command=SWEEP) for name, (given, said) in RUNNER.items()}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "wrong",
    [pytest.param(each, marks=[pytest.mark.ray] * (name in OF_RAY)) for name, each in ROWS.items()],
    ids=ROWS,
)
def test_rows(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)
