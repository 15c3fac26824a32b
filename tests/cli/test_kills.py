"""A fit that is stopped at any boundary, by any signal, goes on to the weights, ranges, metrics and best epoch of one
that is not.

As a program, with a folder, this runs fits in forked processes, which import Lightning once.
"""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.conftest import write_data
from tests.cli.kills import HOOKS, differences, fit, killed_and_resumed, write
from tests.cli.runs_to_stop import ROOT, environment

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
FAST = ("on_train_batch_start", "on_validation_start")


def run_all(folder: Path, every: int | None, trainer: str, hooks: list[str], sent: str, first: int, step: int) -> None:
    """Stop a fit at every `step`-th call of hooks, each in a folder of its own, and print what differs."""
    torch.set_num_threads(1)
    data, settings = write_data(folder / "images"), yaml.safe_load(trainer)
    write(folder / "whole", data, every, settings)
    assert fit(folder / "whole") == 0, (folder / "whole" / "said.txt").read_text()[-2000:]
    kills = 0
    for hook in hooks:
        for call in range(first, 100, step):
            place = folder / f"{hook}-{call}"
            write(place, data, every, settings)
            if not killed_and_resumed(place, hook, call, SIGNALS[sent]):
                break
            kills += 1
            for difference in differences(place, folder / "whole"):
                print(f"{hook} {call}: {difference}")
    print(f"{kills} kills")


def kills(tmp_path: Path, every: int | None, trainer: str, hooks: tuple[str, ...], sent: str, *calls: int) -> int:
    """How many fits were stopped; all of them went on to what they would have been."""
    command = [sys.executable, "-m", "tests.cli.test_kills", str(tmp_path), str(every), trainer, ",".join(hooks), sent]
    command += map(str, calls)
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1500)
    *wrong, count = done.stdout.splitlines() or [""]
    assert done.returncode == 0, done.stderr
    assert not wrong
    return int(count.split()[0])


def test_saves_that_fall_on_the_end_of_an_epoch(tmp_path: Path) -> None:
    """Of 4 steps an epoch, saved every 2: at the second epoch's start, and as its validation starts."""
    assert kills(tmp_path, 2, "{}", FAST, "SIGKILL", 2, 4) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sent", list(SIGNALS))
@pytest.mark.parametrize("every", [None, 1, 2])
def test_every_boundary(every: int | None, sent: str, tmp_path: Path) -> None:
    assert kills(tmp_path, every, "{}", HOOKS, sent, 1, 1 if sent == "SIGKILL" else 4) >= 15


SWEEP = """{callbacks: [{class_path: asim_lightning.callbacks.NoiseSweep, init_args: {levels: [0, 2], images: 10,
every_n_epochs: 2}}, {class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {filename: best, mode: max,
monitor: noise/acc_mean, save_weights_only: true, enable_version_counter: false}}]}"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_accuracy_under_noise_that_is_not_measured_in_each_epoch(tmp_path: Path) -> None:
    assert kills(tmp_path, 2, SWEEP, FAST, "SIGKILL", 4, 2) >= 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "trainer", ["{val_check_interval: 2}", "{accumulate_grad_batches: 2}", "{limit_train_batches: 3}"]
)
def test_every_boundary_of_other_epochs(trainer: str, tmp_path: Path) -> None:
    assert kills(tmp_path, 2, trainer, HOOKS, "SIGKILL", 1, 2) >= 15


if __name__ == "__main__":
    where, steps, settings, names, sent_name, start, stride = sys.argv[1:]
    with contextlib.suppress(BrokenPipeError):
        run_all(
            Path(where),
            None if steps == "None" else int(steps),
            settings,
            names.split(","),
            sent_name,
            int(start),
            int(stride),
        )
