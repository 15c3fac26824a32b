"""A sweep as a program: killed and called again, or on two processes, it gives the same."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asim_lightning.evaluation.run import read_run
from tests.exploration.conftest import environment, kill_at, rows, stored, write_recipe


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A sweep of 2 + 2 x 3 trials as a program."""
    trainer = {"accelerator": "cpu", "default_root_dir": str(tmp_path / "runs")}
    write_recipe(tmp_path, 100, trainer=trainer, axes={"random_noise": [0.3, 1.0]}, trials=3)
    return [sys.executable, "-m", "asim_lightning", "sweep", "-c", str(tmp_path / "tiny.yaml")]


def said_by(command: list[str], *arguments: object) -> str:
    """What a command prints, in a process of its own, as modules of the tests would be code of the user's."""
    given = [*command, *map(str, arguments)]
    done = subprocess.run(given, env=environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # test_python_calls kills a study, whose store and points are the same
def test_kill_9_leaves_the_finished_points_and_the_same_command_goes_on(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(stored(tmp_path)) < 6 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (folder,) = tmp_path.glob("runs/tiny/sweep-*")
    finished = read_run(folder).results
    assert 2 < len(finished) < 4  # float, quantized and the first point
    before = stored(tmp_path)
    assert len(before) >= 6

    assert "accuracy (%)" in said_by(command)
    assert before.items() <= stored(tmp_path).items()  # nothing is computed twice
    assert read_run(folder).results[: len(finished)] == finished
    said_by(command, "--trainer.default_root_dir", tmp_path / "other")
    (whole,) = tmp_path.glob("other/tiny/sweep-*")
    assert rows(folder) == rows(whole)


@pytest.mark.slow  # test_yields stops between chips within a process
def test_kill_9_between_chips_leaves_them_and_the_yield_is_that_of_a_whole_run(
    command: list[str], tmp_path: Path
) -> None:
    cells = ["--model.plan.macro.column", "current", "--model.plan.macro.column_args.cell_sigma", "20"]
    noise = ["--axes.random_noise", "[0]", "--chips", "6", "--data.init_args.test_images", "40"]
    chips = [*command, *cells, *noise]
    process = subprocess.Popen(chips, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(stored(tmp_path)) < 5 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (folder,) = tmp_path.glob("runs/tiny/sweep-*")
    before = stored(tmp_path)
    assert 5 <= len(before) < 8  # float, quantised and three chips
    assert not (folder / "yield.csv").exists()
    said_by(chips)
    assert before.items() <= stored(tmp_path).items()
    said_by(chips, "--trainer.default_root_dir", tmp_path / "other")
    (whole,) = tmp_path.glob("other/tiny/sweep-*")
    assert rows(folder) == rows(whole)
    assert (folder / "yield.csv").read_text() == (whole / "yield.csv").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_five_moments_loses_no_point_and_doubles_none(command: list[str], tmp_path: Path) -> None:
    grid = [*command, "--axes.random_noise", "[0.3, 0.5, 0.7, 1.0]", "--data.init_args.test_images", "60"]

    kill_at((1, 3, 6, 9, 12), grid, tmp_path)
    before = stored(tmp_path)
    said_by(grid)
    assert before.items() <= stored(tmp_path).items()
    said_by(grid, "--trainer.default_root_dir", tmp_path / "other")
    (folder,), (whole,) = (list(tmp_path.glob(f"{root}/tiny/sweep-*")) for root in ("runs", "other"))
    assert rows(folder) == rows(whole)
    assert len(rows(folder)) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_commands_share_the_work_and_the_table(command: list[str], tmp_path: Path) -> None:
    size = ["--data.init_args.test_images", "60"]
    grids = ["[0.3, 0.5, 0.7, 1.0]", "[1.0, 0.9, 0.7, 0.5]"]
    processes = [
        subprocess.Popen(
            [*command, *size, "--axes.random_noise", grid], env=environment(), stdout=subprocess.PIPE, text=True
        )
        for grid in grids
    ]
    said = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [text.count("\nsimulated") for text in said] == [4, 4]
    whole_grid = ["--axes.random_noise", "[0.3, 0.5, 0.7, 0.9, 1.0]"]
    said_by(command, *size, *whole_grid, "--trainer.default_root_dir", tmp_path / "other")
    (folder,), (whole,) = (list(tmp_path.glob(f"{root}/tiny/sweep-*")) for root in ("runs", "other"))
    mine, its = (sorted(rows(each), key=str) for each in (folder, whole))
    assert mine == its  # no line is lost, and none is there twice
    assert len(stored(tmp_path / "runs")) == 2 + 5 * 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_stop_at_the_same_chip(command: list[str], tmp_path: Path) -> None:
    cells = ["--model.plan.macro.column", "current", "--model.plan.macro.column_args.cell_sigma", "20"]
    noise = ["--axes.random_noise", "[0.3]", "--trials", "1", "--data.init_args.test_images", "41"]
    found = []
    for devices, strategy in (("1", "auto"), ("2", "ddp"), ("2", "ddp_fork")):
        options = ["--trainer.devices", devices, "--trainer.strategy", strategy, "--until", "yield 0.3 at 10 %"]
        root = tmp_path / strategy
        said = said_by(command, *cells, *noise, *options, "--trainer.default_root_dir", root)
        (folder,) = root.glob("tiny/sweep-*")
        found.append((folder / "yield.csv").read_text())
        assert re.search(r", random_noise 0\.3: (yes, at least|no, at most) 0\.", said)
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_give_the_same(command: list[str], tmp_path: Path) -> None:
    found = []
    for strategy in ("auto", "ddp", "ddp_fork"):
        options = ["--trainer.devices", "1" if strategy == "auto" else "2", "--trainer.strategy", strategy]
        root = tmp_path / strategy
        said = said_by(command, *options, "--trainer.default_root_dir", root, "--data.init_args.test_images", "41")
        (folder,) = root.glob("tiny/sweep-*")
        found.append(rows(folder))
        assert "accuracy_vs_random_noise.png" in said
    assert found[0] == found[1] == found[2]
