"""Trials that are finished in another order give the same decisions; settings of a runner that make no sense."""

import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import ModuleType

import pytest
from lightning.pytorch import Trainer

from asim_lightning import CimClassifier
from asim_lightning.data import FashionMNIST
from asim_lightning.evaluation.accuracy_question import AccuracyQuestion
from asim_lightning.evaluation.chip_yield import YieldQuestion
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.evaluation.results import Outcomes
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.ray_runner import RayRunner, _connected, words
from asim_lightning.exploration.runner import Evaluation, Key, Result, Run, Steps, proceed
from asim_lightning.exploration.runner_settings import RunnerSettings, runner_of
from asim_lightning.exploration.yields import with_chips
from tests.exploration.conftest import Make, evaluations, predictions, rows, without_time


class Backwards:
    """Takes several trials at a time, and finishes the last first."""

    follows_network = True

    def __init__(self, trainer: Trainer, model: CimClassifier, data: FashionMNIST, workers: int) -> None:
        self.given, self.workers = (trainer, model, data), workers

    def work(self, work: Callable[[Run], Result], advance: Callable[[], None] = lambda: None) -> Result:
        def on_rank(evaluate: Evaluate) -> Result:
            def run(trials: Iterable[tuple[Key, Steps]]) -> Iterator[tuple[Key, Outcomes]]:
                waiting = iter(trials)
                while taken := [(key, steps, proceed(steps, None)) for key, steps in islice(waiting, self.workers)]:
                    for key, steps, asked in reversed(taken):
                        while isinstance(asked, Evaluation):
                            asked = proceed(steps, evaluate(asked.condition, asked.places))
                        yield key, asked

            return work(run)

        return run_evaluations(*self.given, on_rank, advance=advance)


def test_points_are_the_same_in_whatever_order_trials_are_finished(make: Make) -> None:
    whole = make()
    found = without_time(whole.run())
    for workers in (2, 3, 100):
        other = make(folder=f"of {workers}")
        other.runner = Backwards(other.trainer, other.model, other.data, workers)  # type: ignore[arg-type]
        assert without_time(other.run()) == found, workers
        assert predictions(other) == predictions(whole), workers
        assert rows(other.folder) == rows(whole.folder), workers
        assert evaluations(other) == 2 + 4, workers


def test_an_answer_on_the_yield_is_that_of_one_trial_after_the_other(make: Make) -> None:
    question = YieldQuestion(0.5, 0.5)
    axes = with_chips(SweepAxes(static=[{"offset": "0.1 lsb"}, {"offset": "20 lsb"}]), 12, question)
    whole = make(axes, until=question)
    found = without_time(whole.run())
    assert len(found) == 2 + 7 + 7
    for workers in (5, 100):  # the answer comes in the middle of the second five; with all under way
        other = make(axes, until=question, folder=f"of {workers}")
        other.runner = Backwards(other.trainer, other.model, other.data, workers)  # type: ignore[arg-type]
        assert without_time(other.run()) == found, workers
        assert 2 + 14 < evaluations(other) <= 2 + 24, workers  # chips that were under way are kept
        kept = predictions(other)
        assert {name: kept[name] for name in predictions(whole)} == predictions(whole), workers
        again = make(axes, folder=f"of {workers}")
        again.run()
        assert evaluations(again) == 24 - (evaluations(other) - 2), workers


def test_an_answer_on_the_accuracy_ends_the_images_alike(make: Make) -> None:
    question = AccuracyQuestion.read("accuracy 50 %")
    whole, other = (make(until=question, trials=1, folder=folder, images=60) for folder in ("a", "b"))
    other.runner = Backwards(other.trainer, other.model, other.data, 3)  # type: ignore[arg-type]
    found = without_time(other.run())
    assert found == without_time(whole.run())
    assert predictions(other) == predictions(whole)
    assert min(row[3] for row in found) < 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "rya"}, r"`runner` must be one of trainer, ray, got 'rya'; did you mean ray\?"),
        ({"name": "ray", "workers": 0}, "`runner.workers` must be 1 or more or null, got 0"),
        ({"name": "ray", "threads": 0}, "`runner.threads` must be 1 or more, got 0"),
        ({"name": "ray", "address": "node"}, "must be HOST:PORT of a cluster that runs, .*, got 'node'"),
        ({"name": "ray", "address": "ray://node:10001"}, "must be HOST:PORT of a cluster that runs"),
        ({"name": "ray", "address": "node:99999"}, "must be HOST:PORT of a cluster that runs"),
        ({"workers": 2}, "`runner.workers` is of `runner: ray`, got 2 with `runner: trainer`"),
        ({"address": "node:6379"}, "`runner.address` is of `runner: ray`, got node:6379 with `runner: trainer`"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunnerSettings(**settings)  # type: ignore[arg-type]


def test_what_is_not_installed_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python has a module that cannot be imported
    sweep = make()
    with pytest.raises(ValueError, match=r"not installed: pip install 'asim_lightning\[ray\]'"):
        runner_of(RunnerSettings("ray"), sweep.trainer, sweep.model, sweep.data)


def test_workers_on_this_machine_need_tokens(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make()
    runner = RayRunner(sweep.trainer, sweep.model, sweep.data, 1)
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
    with pytest.raises(ValueError, match=r"needs Ray 2\.52 or newer, got 2\.51\.2"), _connected(None, 1):
        pass


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"HTTP/1.0 400 Bad request\r\n\r\n", "and what answers at 127.0.0.1:{port} is none"),
        (b"", "and what answers at 127.0.0.1:{port} is none"),
        (None, "and nothing answers at 127.0.0.1:{port}: timed out"),
        (bytes(3) + b"\x04" + bytes(5), None),
    ],
    ids=["another server", "closes", "silent", "a server of HTTP/2"],
)
def test_an_address_of_something_else_is_refused_at_once(
    said: bytes | None, message: str | None, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asim_lightning.exploration.runner_settings._PATIENCE", 0.5 if said is None else 30.0)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)  # so that one that is no other is refused for that
    sweep, over = make(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                if said is None:
                    over.wait(30)
                else:
                    connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        expected = message.format(port=port) if message else "`runner: ray` needs a package"
        with pytest.raises(ValueError, match=re.escape(expected)):
            runner_of(RunnerSettings("ray", address=f"127.0.0.1:{port}"), sweep.trainer, sweep.model, sweep.data)
        over.set()
        thread.join()


def test_processes_of_the_trainer_and_of_ray_do_not_go_together(make: Make) -> None:
    sweep = make(trainer_options={"devices": 2, "strategy": "ddp_fork"})
    with pytest.raises(ValueError, match=r"`trainer.devices` must be 1 with `runner: ray`, .*, got 2"):
        runner_of(RunnerSettings("ray", workers=2), sweep.trainer, sweep.model, sweep.data)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (ValueError("`macro.rows` must\nbe 1"), "`macro.rows` must be 1"),
        (RuntimeError("no such\nlevel"), "RuntimeError: no such level"),
        (
            FileNotFoundError("a/b is missing"),
            "FileNotFoundError: a/b is missing, on the node 10.0.0.3; every node needs",
        ),
    ],
)
def test_errors_of_a_worker_are_one_line_and_name_the_node_where_it_matters(cause: Exception, message: str) -> None:
    class OfRay(Exception):
        pass

    error = OfRay("\x1b[36mray::Worker.evaluate()\x1b[39m (pid=7, ip=10.0.0.3, actor_id=ab)\n  File ...")
    error.cause = cause  # type: ignore[attr-defined]
    assert words(error).startswith(message)
    assert "\n" not in words(error)
