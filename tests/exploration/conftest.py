"""Code of a user's own, edited from run to run; and sweeps of the shipped network that count their evaluations."""

import importlib
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from torch import Tensor

from asim_lightning import CimClassifier, MacroConfig, Plan, Rule
from asim_lightning.classifier import BackboneConfig
from asim_lightning.classifier.network import GivenNetwork
from asim_lightning.cli.weights import load_weights
from asim_lightning.cost import Technology
from asim_lightning.data import FashionMNIST
from asim_lightning.data.given import GivenData
from asim_lightning.evaluation.evaluate import quiet_trainer
from asim_lightning.evaluation.interval import Interval
from asim_lightning.evaluation.results import Decision, Outcomes, Result
from asim_lightning.evaluation.run import Run
from asim_lightning.evaluation.store import STORE, Store
from asim_lightning.evaluation.target import decide
from asim_lightning.exploration.methods import Answer, Method, Point
from asim_lightning.exploration.runner import Evaluation, Steps, Trial, Work, proceed
from asim_lightning.exploration.search import Search, SearchSettings, open_search
from asim_lightning.exploration.sweep import Sweep, SweepSettings, open_sweep
from asim_lightning.resources import shipped_file
from asim_lightning.safe_load import read_checkpoint
from tests.conftest import rows_of
from tests.exploration.own_network import MACRO as OWN
from tests.exploration.own_network import own_images, own_network

IMAGES = 8
KWARGS = {"in_chans": 1, "stem_width": 4, "channels": [8, 16, 32, 64]}
MACRO = MacroConfig(weight_bits=4, input_bits=4)  # a quarter of the conversions of 8 bits
GRID = {"adc_bits": [6, 8], "random_noise": [0.3, 1.0]}


def grid(**axes: Any) -> dict[str, Any]:
    """The axes of a sweep."""
    return axes


NOISE = grid(random_noise=[0.3, 1.0])
Make = Callable[..., "CountingSweep"]
MakeSearch = Callable[..., Search]
Load = Callable[[str, str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Writes a module of a user's, and imports it anew as another process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def written(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text)
        names.add(name)
        for each in names:
            sys.modules.pop(each, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield written
    for name in names:
        sys.modules.pop(name, None)


class CountingSweep:
    """A sweep that counts the trials that it computes, and is stopped in an evaluation if told to."""

    def __init__(self, made: Sweep) -> None:
        self.made, self.evaluations, self.asked = made, 0, list[Evaluation]()
        self.stops_at: int | None = None
        self.study, self.folder, self.notes, self.run = made.study, made.folder, made.notes, made.run
        self.work = work = made.study.work
        self.trainer, self.model, self.data = work.trainer, work.model, work.data
        self.settings, self.costs, self.macro = made.settings, made.costs, made.macro
        self.thresholds, self.trials = made.thresholds, made.study.trials[None]
        self._all_steps, self.trials.steps = self.trials.steps, self._counted  # type: ignore[method-assign]

    def _counted(self, trial: Trial) -> Steps[Outcomes]:
        self.evaluations += 1
        steps = self._all_steps(trial)
        asked = proceed(steps, None)
        while isinstance(asked, Evaluation):
            self.asked.append(asked)
            if len(self.asked) == self.stops_at:
                raise KeyboardInterrupt
            asked = proceed(steps, (yield asked))
        return asked


_networks: dict[str, CimClassifier] = {}


def network(plan: Plan, **options: Any) -> CimClassifier:
    """The shipped network; equal ones are copies, which takes a quarter of the time."""
    key = repr((plan, options))
    if key not in _networks:
        model = CimClassifier(BackboneConfig("resnet10t", KWARGS, small=True, image_size=28), plan, **options)
        load_shipped(model, "fashion_resnet_qat")
        _networks[key] = model
    return deepcopy(_networks[key])


def load_shipped(model: CimClassifier, name: str) -> None:
    path = str(shipped_file("checkpoints", name))
    load_weights(model, path, read_checkpoint(path))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a sweep of the shipped network in a folder."""

    def sweep(
        axes: Mapping[str, Any] = NOISE,
        trials: int = 2,
        folder: str = "a",
        batch: int = 40,
        macro: MacroConfig = MACRO,
        trainer_options: dict[str, Any] | None = None,
        rules: Sequence[Rule] = (),
        images: int = IMAGES,
        fresh: bool = False,
        settings: Mapping[str, Any] = {},
        runner: Callable[..., Any] | None = None,
        hook: Callable[[Tensor], Tensor] | None = None,
        **model_options: Any,
    ) -> CountingSweep:
        model = network(Plan(macro, list(rules)), **model_options)
        if hook is not None:
            model.backbone.fc.register_forward_hook(lambda module, inputs, output: hook(output))
        data = FashionMNIST(test_images=images, eval_batch_size=batch)
        trainer = quiet_trainer(accelerator="cpu", default_root_dir=tmp_path, **(trainer_options or {}))
        computes = None if runner is None else runner(trainer, model, data)
        work = Work(trainer, model, data, tmp_path / folder, computes, fresh)
        return CountingSweep(open_sweep(work, SweepSettings(axes, trials, **settings)))

    return sweep


def small_work(
    folder: Path, macro: MacroConfig = OWN, rules: Sequence[Rule] = (), images: int = 40, **trainer: Any
) -> Work:
    """The inputs of a study of a small network and its images."""
    given = own_images(images)
    model = GivenNetwork(own_network(macro=macro, rules=rules), example=given[0][:2])
    return Work(quiet_trainer(accelerator="cpu", **trainer), model, GivenData(given, None), folder)


def made_up(point: Point, accuracy: float = 0.5, decision: Decision | None = None) -> Result:
    """The result of a point, with an accuracy and a decision on one target."""
    decisions = {} if decision is None else {"target": decision}
    return Result(point, "simulated", 1, 10, accuracy, accuracy, accuracy, 0.0, "exact", decisions=decisions)


def surely(margin: float, reach: float = 0.1) -> Decision:
    """The decision on a number at some distance from a target of 0, with the half width of its interval."""
    return decide(Interval(margin, margin - reach, margin + reach), 0.0, 100, 900)


def driven(method: Method[Answer], answer: Callable[[Any], Result]) -> tuple[list[Any], Answer]:
    """The points or looks that a method asks for, each answered, and what it finds."""
    points = list[Any]()
    try:
        points.append(next(method))
        while True:
            points.append(method.send(answer(points[-1])))
    except StopIteration as end:
        return points, end.value


def swept(work: Work, axes: Mapping[str, Any]) -> Run:
    """The results of a sweep with one read a point."""
    return open_sweep(work, SweepSettings(axes, 1)).run()


def without_time(results: Iterable[Result]) -> list[tuple[Any, ...]]:
    return [(r.kind, r.axes, r.trials, r.images, r.accuracy, r.low, r.high, r.algorithm) for r in results]


def stored(root: Path) -> dict[tuple[str, int], tuple[int, float]]:
    """Row and seconds of every trial in the stores below a folder; one that is written again gets others."""
    found = dict[tuple[str, int], tuple[int, float]]()
    for path in root.rglob(STORE):
        with closing(sqlite3.connect(path, 60)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone():  # a store that begins is empty
                read = connection.execute("SELECT key, trial, rowid, seconds FROM trials")
                found |= {(key, trial): (row, seconds) for key, trial, row, seconds in read}
    return found


def trials(folder: Path) -> dict[tuple[str, int], Outcomes]:
    """Every trial in the store of a folder, by key and number of the read."""
    known = {name: Store(folder).trial(*name) for name in stored(folder)}
    return {name: each for name, each in known.items() if each is not None}


def predictions(sweep: CountingSweep) -> dict[tuple[str, int], list[int]]:
    """Predictions of every trial in the store of a sweep."""
    return {name: each.prediction.tolist() for name, each in trials(sweep.folder.parent).items()}  # type: ignore[union-attr]


def rows(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(folder / "results.csv")]


def write_recipe(folder: Path, test_images: int, **settings: Any) -> None:
    """Write tiny.yaml, which evaluates images with the shipped network."""
    recipe = {
        "trainer": {"accelerator": "cpu"},
        "model": {
            "backbone": {"name": "resnet10t", "kwargs": KWARGS, "small": True, "image_size": 28},
            "plan": {"macro": {"weight_bits": 4, "input_bits": 4}},
        },
        "data": {
            "class_path": "asim_lightning.data.FashionMNIST",
            "init_args": {"test_images": test_images, "eval_batch_size": 20},
        },
        "ckpt_path": "fashion_resnet_qat",
        **settings,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))


@pytest.fixture
def search(tmp_path: Path) -> MakeSearch:
    """Makes a search of the shipped network in a folder."""

    def made(
        folder: str = "a",
        images: int = 8,
        macro: MacroConfig = MACRO,
        technology: Technology | None = None,
        **options: Any,
    ) -> Search:
        model = network(Plan(macro))
        data = FashionMNIST(test_images=images, eval_batch_size=8)
        data.setup("test")
        trainer = quiet_trainer(accelerator="cpu", default_root_dir=tmp_path)
        settings = SearchSettings(**{"space": GRID, **options})
        work = Work(trainer, model, data, tmp_path / folder, load=partial(load_shipped, model))
        return open_search(work, settings, technology or Technology())

    return made
