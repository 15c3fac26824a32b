"""Trials that are finished in another order give the same decisions; settings of a runner that make no sense."""

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lightning.pytorch import Trainer

from asim_lightning import CimClassifier
from asim_lightning.data import FashionMNIST
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.exploration.ray_runner import RayRunner, Worker, _connected
from asim_lightning.exploration.runner import (
    Compute,
    Done,
    Evaluation,
    Result,
    RunnerSettings,
    Steps,
    proceed,
    runner_of,
)
from tests.cli.conftest import environment
from tests.exploration.conftest import (
    Make,
    grid,
    predictions,
    rows,
    stored,
    without_time,
    write_recipe,
)

RANK = """
    import os, sys
    from asim_lightning.cli import main

    main(["sweep", *sys.argv[2:], "--trainer.default_root_dir", sys.argv[1] + os.environ["RANK"]])
"""


class Backwards:
    """Takes several trials at a time, and finishes the last first."""

    follows_network = True

    def __init__(self, trainer: Trainer, model: CimClassifier, data: FashionMNIST, workers: int) -> None:
        self.given, self.workers = (trainer, model, data), workers

    def work(self, work: Callable[[Compute], Result], advance: Callable[[], None] = lambda: None) -> Result:
        def on_rank(evaluate: Evaluate) -> Result:
            def run(trials: Iterable[Steps[Done]]) -> Iterator[Done]:
                waiting = iter(trials)
                while taken := [(steps, proceed(steps, None)) for steps in islice(waiting, self.workers)]:
                    for steps, asked in reversed(taken):
                        while isinstance(asked, Evaluation):
                            asked = proceed(steps, evaluate(asked.condition, asked.places))
                        yield asked

            return work(run)

        return run_evaluations(*self.given, on_rank, advance=advance)


def test_points_are_the_same_in_whatever_order_trials_are_finished(make: Make) -> None:
    whole = make()
    found = without_time(whole.run())
    for workers in (3, 100):
        other = make(folder=f"of {workers}", runner=partial(Backwards, workers=workers))
        assert without_time(other.run()) == found, workers
        assert predictions(other) == predictions(whole), workers
        assert rows(other.folder) == rows(whole.folder), workers
        assert other.evaluations == 2 + 4, workers


def test_an_answer_on_the_yield_is_that_of_one_trial_after_the_other(make: Make) -> None:
    until = {"until": "yield 0.5 at 50 %", "chips": 8}
    axes = grid(static=[{"offset": "0.1 lsb"}, {"offset": "20 lsb"}])
    whole = make(axes, settings=until)
    run = whole.run()
    found = without_time(run.rows)
    assert len(found) == 2 + 7 + 7  # of coins that all fall alike
    assert [(len(each.chips), each.good(0.5)) for each in run.yields] == [(7, 7), (7, 0)]
    for workers in (5, 100):  # the answer comes in the middle of the second five; with all under way
        other = make(axes, settings=until, folder=f"of {workers}", runner=partial(Backwards, workers=workers))
        assert without_time(other.run().rows) == found, workers
        assert 2 + 14 < other.evaluations <= 2 + 16, workers  # chips that were under way are kept
        kept = predictions(other)
        assert {name: kept[name] for name in predictions(whole)} == predictions(whole), workers
        again = make(axes, settings={"chips": 8}, folder=f"of {workers}")
        again.run()
        assert again.evaluations == 16 - (other.evaluations - 2), workers


def test_an_answer_on_the_accuracy_ends_the_images_alike(make: Make) -> None:
    given: Any = {"settings": {"until": "accuracy 50 %"}, "trials": 1, "images": 60}
    whole, other = make(**given), make(**given, folder="b", runner=partial(Backwards, workers=3))
    found = without_time(other.run())
    assert found == without_time(whole.run())
    assert predictions(other) == predictions(whole)
    assert min(row[3] for row in found) < 60


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_of_torchrun_ask_the_first_what_is_to_be_done(tmp_path: Path) -> None:
    write_recipe(tmp_path, 20, trials=2)
    (tmp_path / "rank.py").write_text(textwrap.dedent(RANK))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = ["--master-addr", "127.0.0.1", "--master-port", str(free.getsockname()[1])]

    def sweep(folder: str, noise: str, processes: int = 2) -> list[dict[str, str]]:
        start = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *where, "rank.py", folder]
        options = ["-c", "tiny.yaml", "--axes.random_noise", noise, "--trainer.devices", str(processes)]
        given = [sys.executable, *start, *options, "--trainer.strategy", "ddp"]
        done = subprocess.run(given, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        (table,) = (tmp_path / f"{folder}0").glob("tiny/sweep-*")
        return rows(table)

    found = sweep("a", "[0.3, 1.0]", 1)
    kept = stored(tmp_path)
    assert sweep("a", "[0.3, 1.0]") == found  # the first process knows everything, and the second nothing
    assert stored(tmp_path) == kept
    more = sweep("a", "[0.3, 1.0, 3.0]")
    assert more[: len(found)] == found
    assert kept.items() < stored(tmp_path).items()
    assert not (tmp_path / "a1").exists()
    assert sweep("b", "[0.3, 1.0, 3.0]") == more


def test_what_is_not_installed_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python has a module that cannot be imported
    sweep = make()
    with pytest.raises(ValueError, match=r"not installed: pip install 'asim_lightning\[ray\]'"):
        runner_of(RunnerSettings("ray"), sweep.trainer, sweep.model, sweep.data)


def test_workers_on_this_machine_need_tokens(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make()
    runner = RayRunner(sweep.trainer, sweep.model, sweep.data, RunnerSettings("ray", 1))
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    for mode in ("disabled", "", None):
        if mode is None:
            monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        else:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with pytest.raises(ValueError, match=f"RAY_AUTH_MODE must be token .*; got {mode or 'none'}"):
            runner.work(lambda run: None)


def test_a_ray_that_knows_no_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("ray")
    old.__version__ = "2.51.2"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", old)
    monkeypatch.setattr(os, "environ", {**os.environ, "RAY_AUTH_MODE": "token"})
    with pytest.raises(ValueError, match=r"needs Ray 2\.52 or newer, got 2\.51\.2"), _connected(None, 1):
        pass


def test_a_worker_says_on_which_node_a_module_is_missing() -> None:
    worker = Worker(b"cno_such_module\nModel\n.", [])  # a pickle
    with pytest.raises(ValueError, match=f"'no_such_module', on the node {socket.gethostname()}; every node needs"):
        worker.evaluate(Condition("float"), None)
