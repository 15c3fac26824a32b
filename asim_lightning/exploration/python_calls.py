"""`study`, `search` and `spec` of a network that is in memory, in one call each."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor, nn

from asim_lightning.checks import check_names, check_whole
from asim_lightning.classifier.network import CimModule, GivenNetwork
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.cost import Technology
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.axis_settings import RULES
from asim_lightning.evaluation.chip_yield import default_thresholds
from asim_lightning.evaluation.results import Measure, Result
from asim_lightning.evaluation.run import YIELD_DOCUMENT, Run, read_run
from asim_lightning.evaluation.target import ENDS_IMAGES, OF_A_POINT, Target, target_texts
from asim_lightning.exploration.axes import SweepAxes, with_chips
from asim_lightning.exploration.figures import write_layers
from asim_lightning.exploration.publish import sweep_text, whole_search_text
from asim_lightning.exploration.python_results import Results
from asim_lightning.exploration.runner import Runner
from asim_lightning.exploration.runner_settings import RunnerSettings, runner_of
from asim_lightning.exploration.search import Search
from asim_lightning.exploration.search_settings import SearchSettings
from asim_lightning.exploration.spec import FORMS as SPEC_FORMS
from asim_lightning.exploration.spec import Spec, SpecSettings, SpecStudy
from asim_lightning.exploration.sweep import Sweep
from asim_lightning.nn.calibration import needs_calibration
from asim_lightning.report.yield_table import yield_text
from asim_lightning.surgery import macro_layers

Network = nn.Module
"""A network that `convert_` has converted, all or a part of it; or a `CimClassifier`."""


def study(
    network: Network,
    data: Any,
    *,
    axes: Mapping[str, Sequence[Any]] = {},
    chips: int | None = None,
    trials: int = 1,
    targets: Sequence[str] = (),
    until: str | None = None,
    outcome: str | Callable[..., Tensor] | Outcome = "accuracy",
    technology: Technology | None = None,
    images: int | None = None,
    seed: int = 0,
    runner: str | RunnerSettings | Trainer | None = None,
    folder: str | Path | None = None,
    fresh: bool = False,
) -> Results:
    """Accuracy of a converted network over a grid of macros, with a 95 % interval a point, as `asim sweep` gives it.

    A study that was stopped goes on from its folder.

    Args:
        network: The network; it stays as it is.
        data: (inputs, targets), a Dataset, a DataLoader that is not shuffled, or a LightningDataModule, whose test
            samples are evaluated.
        axes: Values of macro fields by name, such as {"adc_bits": [6, 8], "static.offset": ["0.3 lsb"]}; several give
            every combination. None and no chips: four levels of random noise.
        chips: Number of chips at each point, for a yield: 2..10000; None: one chip.
        trials: Reads of the chip for each noisy point.
        targets: What each point must keep, such as "accuracy 99 % of quantized", "yield 0.9 at 85 %", "energy 2 uJ".
        until: A target that ends the samples of each point when it is answered, such as "accuracy 90 %" or "accuracy
            within 2 %", or its chips, such as "yield 0.9 at 85 %"; None: all are evaluated.
        outcome: What is measured of a sample: accuracy, multilabel, segmentation (mean IoU), next_token, loss; a
            function of outputs and targets; or an `Outcome`.
        technology: What energy, latency and TOPS/W of each point are computed from; None: the default one.
        images: Samples that are evaluated, at random, the same in every call; None: all.
        seed: Seed of the noise; a `CimClassifier` has its own. Of a search also that of the methods random and optuna.
        runner: Who computes the trials: None (this process), "ray", `RunnerSettings`, or a Lightning Trainer.
        folder: Folder of the store, from which a study goes on; None: nothing is kept.
        fresh: Whether trials of earlier calls do not count.

    Raises:
        ValueError: An argument is not allowed, or no layer is on a macro.
    """
    given = _Priced(network, data, chips, trials, outcome, images, seed, runner, folder, fresh, until, technology)
    end = None if given.ends is None else Target.read(given.ends, "`until`", ("yield", *ENDS_IMAGES))
    grid = _grid(axes)
    if chips is not None or (end is not None and end.form == "yield"):
        grid = with_chips(grid, chips, end)
    wanted = [Target.read(text, "`targets`", OF_A_POINT) for text in given.texts("targets", targets)]
    of_chips = [each for each in wanted if each.form == "yield"]
    if len(of_chips) > 1 or (chips is None and of_chips):
        raise ValueError(f"`targets` may have one yield, which needs `chips`, such as 20, got {list(targets)}")
    with given.opened() as work:
        sweep = Sweep(
            work.trainer, work.model, work.data, grid, trials, work.folder, until=end, technology=given.price,
            runner=work.runner, fresh=fresh,
        )  # fmt: skip
        said = list(sweep.notes)
        results = sweep.run(said.append)
        return _of_sweep(results, sweep, wanted, said)


def search(
    network: Network,
    data: Any,
    *,
    space: Mapping[str, Any] = {},
    objectives: Sequence[str] = ("accuracy", "energy"),
    constraints: Sequence[str] = (),
    method: str = "grid",
    points: int | Sequence[Mapping[str, Any]] | None = None,
    **shared: Any,
) -> Results:
    """Points of a space that trade accuracy, energy and time best, as `asim search` finds them.

    Args:
        network: The network.
        data: Its samples.
        space: Values of each axis: lists, or ranges such as {"low": 0.02, "high": 0.2}, with step or log.
        objectives: What is traded: accuracy, yield, energy, latency, tops_per_watt, or a number of the macro.
        constraints: What each point must keep, as `targets` of `study`.
        method: grid, list, random or optuna.
        points: Points at most; of the method list the points.
        shared: The other arguments of `study`.
    """
    given = _Priced(network, data, **shared)
    listed: list[Any] = [] if points is None or isinstance(points, int) else list(points)
    if listed and method != "list":
        raise ValueError(f"`points` must be a number of points with the method {method}, got {points!r:.80}")
    settings = SearchSettings(
        dict(space) if isinstance(space, Mapping) else space, method, points if isinstance(points, int) else None,
        given.seed, ["accuracy" if each == given.measured.name else each for each in _texts("objectives", objectives)],
        given.texts("constraints", constraints), listed, given.trials, given.chips, given.ends,
    )  # fmt: skip
    with given.opened() as work:
        made = Search(
            work.trainer, work.model, work.data, settings, given.price, work.folder, runner=work.runner,
            fresh=given.fresh,
        )  # fmt: skip
        said = list(made.notes)
        found = made.run(said.append)
        if not work.trainer.is_global_zero:
            return Results(found, "")
        write_layers(made.figures, [point.axes for point in found.points], made.records.store, made.folder)
        run = replace(read_run(made.folder), results=found.results)
        return Results(run, "\n".join([whole_search_text(found, made), *said]))


def spec(
    network: Network,
    data: Any,
    target: str,
    *,
    properties: Sequence[str] | None = None,
    given: Mapping[str, Any] = {},
    chips: int = 10,
    **shared: Any,
) -> Spec:
    """How bad each property of the macro may be, so that the network keeps a target, as `asim spec` finds it.

    Args:
        network: The network.
        data: Its samples.
        target: What it must keep, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %".
        properties: Names of properties, such as ["random_noise", "offset"]; None: all that the macro may have.
        given: What every macro has, such as {"random_noise": "0.3 lsb"}; of other noise and spreads it has none.
        chips: Chips of each macro with spreads.
        shared: The other arguments of `study`, except for axes, targets, until and technology.
    """
    others = _Shared(network, data, chips, **shared)
    wanted = Target.read(others.texts("target", [target])[0], "`target`", SPEC_FORMS)
    with others.opened() as work:
        settings = SpecSettings(wanted, properties, given, chips, others.trials)
        return SpecStudy(work.trainer, work.model, work.data, settings, work.folder, work.runner, others.fresh).run()


def _of_sweep(results: Sequence[Result], sweep: Sweep, targets: Sequence[Target], said: list[str]) -> Results:
    """What a sweep found, with its decisions on targets, its yields and what reports need."""
    if not sweep.trainer.is_global_zero:
        return Results(Run(sweep.folder, tuple(results)), "")
    question = next((each for each in targets if each.form == "yield"), None)
    levels: list[float] = []
    if sweep.yields and sweep.model.outcome.is_share:
        (quantized,) = (each.accuracy for each in results if each.kind == "quantized")
        levels = default_thresholds(quantized) if question is None else [question.accuracy]
        content = {"chips": [each.to_json() for each in sweep.yields], "thresholds": sorted(levels)}
        sweep.records.store.write(sweep.folder.name, YIELD_DOCUMENT, content)
    if sweep.figures is not None:
        simulated = [each.axes for each in results if each.kind == "simulated"]
        write_layers(sweep.figures, simulated, sweep.records.store, sweep.folder)
    run = replace(read_run(sweep.folder), results=tuple(results), targets=tuple(map(str, targets)))
    if question is not None:
        run = replace(run, results=tuple(_with_yield(each, sweep, question) for each in run.results))
    decided = [
        replace(each, decisions={str(target): run.decision(target, each) for target in targets})
        if each.kind == "simulated"
        else each
        for each in run.results
    ]
    words = results[0].measure.words
    yields = ["", words(yield_text(sweep.yields, levels[::-1], None))] if levels else []
    return Results(replace(run, results=tuple(decided)), "\n".join([sweep_text(decided, sweep), *yields, *said]))


def _with_yield(result: Result, sweep: Sweep, question: Target) -> Result:
    """A result on a chip with the yield of the chips of its point."""
    for each in sweep.yields:
        if each.axes == {name: value for name, value in result.axes.items() if name in each.axes}:
            at = each.at(question.accuracy)
            found = {"yield": at.share, "yield_low": at.low, "yield_high": at.high}
            return replace(result, figures={**result.figures, **found}) if result.kind == "simulated" else result
    return result


@dataclass(frozen=True)
class _Work:
    """What a study works with."""

    trainer: Trainer
    model: CimModule
    data: LightningDataModule
    runner: Runner
    folder: Path
    """Folder of the store."""


@dataclass(frozen=True)
class _Shared:
    """What all calls take; `study` explains it."""

    network: Any
    data: Any
    chips: int | None = None
    trials: int = 1
    outcome: str | Callable[..., Tensor] | Outcome = "accuracy"
    images: int | None = None
    seed: int = 0
    runner: str | RunnerSettings | Trainer | None = None
    folder: str | Path | None = None
    fresh: bool = False

    @cached_property
    def measured(self) -> Outcome:
        """The outcome."""
        return Outcome.of(self.outcome)

    def texts(self, name: str, targets: Sequence[str]) -> list[str]:
        """Targets as they are read, which may call the accuracy by the outcome's name."""
        return target_texts(name, _texts(name, targets), Measure.of(self.measured))

    @contextmanager
    def opened(self) -> Iterator[_Work]:
        """What a study works with; afterwards the network is where it was, and in its modes."""
        network, runner = self.network, self.runner
        if not isinstance(network, nn.Module):
            raise TypeError(f"`network` must be a torch.nn.Module, got a {type(network).__name__}")
        if not macro_layers(network):
            raise ValueError(
                "`network` must have layers on a macro, got one without; call convert_(network, plan) first"
            )
        check_whole("`seed`", self.seed, 0, 2**32 - 1)
        samples = _samples(self.data, self.images)
        model = _model(network, samples, self.measured, self.seed)
        _calibrate(model, self.data)
        device = next((each.device for each in network.parameters()), torch.device("cpu"))
        logger = logging.getLogger("lightning.pytorch")
        level = logger.level
        with ExitStack() as stack:
            stack.callback(network.to, device)  # Lightning brings it to the CPU
            stack.callback(_set_modes, {module: module.training for module in network.modules()})
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.WARNING)  # what it says of devices is of no use here
            trainer = runner if isinstance(runner, Trainer) else _trainer(device)
            where = Path(self.folder or stack.enter_context(TemporaryDirectory()))
            settings = RunnerSettings() if runner is None or isinstance(runner, Trainer) else runner
            settings = settings if isinstance(settings, RunnerSettings) else RunnerSettings(settings)
            yield _Work(trainer, model, samples, runner_of(settings, trainer, model, samples), where)


@dataclass(frozen=True)
class _Priced(_Shared):
    """What calls take whose points have a cost."""

    until: str | None = None
    technology: Technology | None = None

    @property
    def ends(self) -> str | None:
        """`until` as it is read."""
        return None if self.until is None else self.texts("until", [self.until])[0]

    @property
    def price(self) -> Technology:
        """The technology, or the default one."""
        if not isinstance(self.technology, (Technology, type(None))):
            raise TypeError(f"`technology` must be a Technology, such as Technology('28nm'), got {self.technology!r}")
        return self.technology or Technology()


def _samples(data: Any, images: int | None) -> LightningDataModule:
    """The data module of a study: one of ours as it is, or the user's samples."""
    if not isinstance(data, ImageDataModule):
        return GivenData(data, images)
    if images is not None:
        check_whole("`images`", images, 1)
        data = copy(data)
        data.test_images = images
    data.prepare_data()
    data.setup("test")
    return data


def _model(network: Network, samples: LightningDataModule, outcome: Outcome, seed: int) -> CimModule:
    if isinstance(network, CimModule):
        if outcome != network.outcome:
            raise ValueError(
                f"`outcome` of a {type(network).__name__} is its {network.outcome.name}, got {outcome.name}; its "
                "`backbone` takes any"
            )
        network.check_data(samples)
        return network
    if isinstance(samples, GivenData):
        example = samples.example
    else:
        example = next(iter(samples.test_dataloader()))[0][:1]
    device = next((each.device for each in network.parameters()), None)
    model = GivenNetwork(network, outcome, example.to(device) if isinstance(example, Tensor) else None)
    model.noise_seed = seed
    return model


def _set_modes(training: Mapping[nn.Module, bool]) -> None:
    for module, mode in training.items():
        module.training = mode


def _calibrate(model: CimModule, data: Any) -> None:
    """Fit input ranges that are missing to training images, if the data has any."""
    if not needs_calibration(model.backbone):
        return
    if not isinstance(data, LightningDataModule):
        raise ValueError(
            "`network` must have its input ranges, got layers without; call calibrate_(network, batches) with training "
            "inputs first"
        )
    data.setup("fit")
    model.calibrate_where_missing(data)


def _trainer(device: torch.device) -> Trainer:
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1 if device.index is None else [device.index] if device.type == "cuda" else 1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _grid(axes: Mapping[str, Sequence[Any]]) -> SweepAxes:
    """The grid of axes by their full names."""
    if not isinstance(axes, Mapping):
        raise TypeError(f"`axes` must be a mapping of names to lists of values, got a {type(axes).__name__}")
    nested: dict[str, Any] = {}
    for name, values in axes.items():
        values = values if isinstance(values, (Mapping, str)) or not hasattr(values, "__iter__") else list(values)
        if name.startswith("static."):
            nested.setdefault("static", {})[name.removeprefix("static.")] = values
        elif name.startswith(RULES):
            pattern, _, field = name.removeprefix(RULES).rpartition(".")
            nested.setdefault("rules", {}).setdefault(pattern, {})[field] = values
        elif name in nested:
            raise ValueError(f"`axes` must name each axis once, got {name} twice")
        else:
            nested[name] = values
    check_names(nested, SweepAxes, "axes", "axis")
    return SweepAxes(**nested)


def _texts(name: str, given: Sequence[str]) -> list[str]:
    if isinstance(given, str):
        raise TypeError(f"`{name}` must be a list of texts, got {given!r} alone")
    return list(given)
