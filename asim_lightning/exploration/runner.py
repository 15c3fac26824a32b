"""The inputs of a study, and the runner of its trials: the trainer's own processes, or workers of Ray."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, TypeVar

from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, axes_text
from asim_lightning.exploration.corners import Corners
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.surgery import macro_layers

Result = TypeVar("Result")


@dataclass(frozen=True)
class Trial:
    """A read of a chip at a point; trials that compute the same are equal."""

    key: str
    """Key of everything that decides the outcomes, except the read."""
    read: int
    axes: Mapping[str, AxisValue] = field(compare=False)
    """The axes that decide outcomes, with the chip."""
    kind: Kind = field(compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {axes_text(self.axes)} trial {self.read}" if self.axes else self.kind


@dataclass(frozen=True)
class Evaluation:
    """Images under a condition: a worker computes one evaluation at a time."""

    name: str
    """Name in messages, such as "simulated random_noise 0.3 trial 1"."""
    condition: Condition
    places: tuple[int, ...] | None = None
    """Indices of the images in their data set; None: all test images."""


Steps: TypeAlias = Generator[Evaluation, Outcomes, Result]
"""The work of a trial: it yields evaluations, is sent the outcomes of each, and returns what the trial has found."""
Done: TypeAlias = tuple[Trial, Outcomes]
Compute: TypeAlias = Callable[[Iterable[Steps[Done]]], Iterator[Done]]
"""Gives trials and their outcomes, each when it is finished, so the order may change.

A trial is taken when a worker is free. The caller handles each outcome before the next trial is taken, so outcomes may
decide what is computed."""


class Runner:
    """Computes the trials of a study one after another: in this process, or with images split over a trainer's ranks.

    A subclass may compute them elsewhere.
    """

    workers = 1
    """Trials that are computed at the same time."""
    follows_network = True
    """Whether trials see new weights of the network; if not, they use the weights at the start of the work."""

    def __init__(self, trainer: Trainer, model: CimModule, data: LightningDataModule) -> None:
        self._given = trainer, model, data

    def work(self, work: Callable[[Compute], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """Call `work` with a function that computes trials, and return its result; started processes end with it.

        Every rank calls it, and finds the same outcomes. After each batch of images `advance` is called.
        """

        def on_each_rank(evaluate: Evaluate) -> Result:
            def run(trials: Iterable[Steps[Done]]) -> Iterator[Done]:
                for steps in trials:
                    asked = proceed(steps, None)
                    while isinstance(asked, Evaluation):
                        asked = proceed(steps, evaluate(asked.condition, asked.places))
                    yield asked

            return work(run)

        return run_evaluations(*self._given, on_each_rank, advance=advance)


@dataclass(frozen=True)
class Work:
    """The inputs of a study: a network, data that are set up, and a trainer, whose device and precision count."""

    trainer: Trainer
    model: CimModule
    data: LightningDataModule
    folder: str | Path
    """Folder of the store; each run makes a folder in it."""
    runner: Runner | None = None
    """Computes the trials; None: the trainer's processes."""
    fresh: bool = False
    """Whether to ignore trials of earlier commands."""
    load: Callable[[str], None] | None = None
    """Loads a checkpoint's weights into the model; None: there are no checkpoints."""
    noise_in: str = "written"
    """Noise in LSB at other points than the macro's own, as in a `Condition`: written or volts."""
    corners: Corners = field(default_factory=Corners)
    """The corners that points may name; rules of the network's plan win over their fields."""

    def __post_init__(self) -> None:
        ruled = {layer.assignment.ruled for layer in macro_layers(self.model.backbone).values()}
        object.__setattr__(self, "corners", replace(self.corners, ruled=ruled))

    def agreed(self, value: Result) -> Result:
        """The first process's value, on every process."""
        return self.trainer.strategy.broadcast(value) if self.trainer.world_size > 1 else value


class Weights:
    """Gives the network of a study the weights of a checkpoint, or its own again."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._own: dict[str, Tensor] = {}
        self._loaded: str | None = None

    def switch(self, checkpoint: str | None) -> None:
        """Load a checkpoint's weights, with input ranges that fit them; None: the network's own."""
        if checkpoint == self._loaded:
            return
        model, runner = self._work.model, self._work.runner
        if self._work.load is None or not (runner is None or runner.follows_network):
            raise ValueError(
                f"other weights need a way to load them, and a runner that sees them, which `runner: ray` does not, "
                f"got the checkpoint {checkpoint}"
            )
        if self._loaded is None:
            self._own = {name: value.clone() for name, value in model.state_dict().items()}
        if checkpoint is None:
            model.load_state_dict(self._own)
        else:
            for layer in quantized_layers(model.backbone).values():
                if layer.calibrated:
                    layer.clear_range(model.device)  # else others' ranges would stay for weights without ranges
            self._work.load(checkpoint)
            model.calibrate_where_missing(self._work.data)
        self._loaded = checkpoint


@dataclass(frozen=True)
class RunnerSettings:
    """Who computes the trials."""

    name: str = "trainer"
    """trainer: this process, or those of trainer.devices; ray: worker processes here or in a cluster, a trial each."""
    workers: int | None = None
    """Only for ray: workers, 1 or more; null: as many as the CPUs allow."""
    threads: int = 1
    """Only for ray: CPUs of a worker, 1 or more."""
    address: str | None = None
    """Only for ray: HOST:PORT of a running cluster, to which this machine belongs; null: only this machine."""

    def __post_init__(self) -> None:
        check_choice("`runner`", self.name, ("trainer", "ray"))
        if self.workers is not None:
            check_whole("`runner.workers`", self.workers, 1, also=" or null")
            if self.name != "ray":
                raise ValueError(f"`runner.workers` needs `runner: ray`, got {self.workers} with {self.name}")
        check_whole("`runner.threads`", self.threads, 1)


def runner_of(settings: RunnerSettings, trainer: Trainer, model: CimModule, data: LightningDataModule) -> Runner:
    """The runner of some settings; refuses one that is not installed, or that cannot use the trainer's processes."""
    if settings.name == "trainer":
        return Runner(trainer, model, data)
    if trainer.world_size > 1:
        raise ValueError(
            "`trainer.devices` must be 1 with `runner: ray`, because `runner.workers` sets its processes, got "
            f"{trainer.world_size}"
        )
    if find_spec("ray") is None:
        raise ValueError("`runner: ray` needs a package that is not installed: pip install 'asim_lightning[ray]'")
    from asim_lightning.exploration.ray_runner import RayRunner

    return RayRunner(trainer, model, data, settings)


def proceed(steps: Steps[Result], outcomes: Outcomes | None) -> Evaluation | Result:
    """The next evaluation of a trial after the last one's outcomes, or what it returns if it is finished."""
    try:
        return steps.send(outcomes)  # type: ignore[arg-type]  # None at its start
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
