"""What a study works with, and who computes its trials: the trainer's own processes, or workers of Ray."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier.network import CimModule
from asim_lightning.evaluation.condition import Condition
from asim_lightning.evaluation.evaluate import Evaluate, run_evaluations
from asim_lightning.evaluation.results import Outcomes

Key = TypeVar("Key")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Evaluation:
    """Images under a condition: what a worker computes at a time."""

    name: str
    """What people call it, such as "simulated random_noise 0.3 trial 1"."""
    condition: Condition
    places: tuple[int, ...] | None = None
    """Places of the images in their data set; None: all test images."""


Steps: TypeAlias = Generator[Evaluation, Outcomes, Outcomes]
"""A trial: it asks for evaluations, one after the other, is sent the outcomes of each, and returns its own."""


class Run(Protocol):
    """Computes trials."""

    def __call__(self, trials: Iterable[tuple[Key, Steps]]) -> Iterator[tuple[Key, Outcomes]]:
        """The outcomes of trials, each as soon as it is finished, which may be in another order.

        A trial is taken when there is a worker for it. So that decisions on what to compute may depend on outcomes,
        what the caller does with an outcome comes before the next trial is taken. Each trial has a key of its own.
        """


class Runner(Protocol):
    """Who computes trials."""

    workers: int
    """Trials that are computed at a time."""
    follows_network: bool
    """Whether weights count that the network gets between two trials; if not, those at the start of the work."""

    def work(self, work: Callable[[Run], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """The result of work that is given a function that computes trials; whatever was started for it ends with it.

        After each batch of images `advance` is called.
        """


@dataclass(frozen=True)
class Work:
    """What a study works with: the test images of data that are set up, and a trainer's device and precision."""

    trainer: Trainer
    model: CimModule
    data: LightningDataModule
    folder: str | Path
    """Folder of the store, below which each run makes its own."""
    runner: Runner | None = None
    """Who computes the trials; None: the trainer's processes."""
    fresh: bool = False
    """Whether trials of earlier commands do not count."""
    load: Callable[[str], None] | None = None
    """Loads a checkpoint's weights into the model; None: there are no checkpoints."""


@dataclass(frozen=True)
class RunnerSettings:
    """Who computes the trials."""

    name: str = "trainer"
    """trainer: this process, or those of trainer.devices; ray: worker processes here or in a cluster, a trial each."""
    workers: int | None = None
    """Of ray: workers, 1 or more; null: as many as there are CPUs for."""
    threads: int = 1
    """Of ray: CPUs of a worker, 1 or more."""
    address: str | None = None
    """Of ray: HOST:PORT of a cluster that runs, to which this machine belongs; null: on this machine only."""

    def __post_init__(self) -> None:
        check_choice("`runner`", self.name, ("trainer", "ray"))
        if self.workers is not None:
            check_whole("`runner.workers`", self.workers, 1, also=" or null")
            if self.name != "ray":
                raise ValueError(f"`runner.workers` is of `runner: ray`, got {self.workers} with {self.name}")
        check_whole("`runner.threads`", self.threads, 1)


class TrainerRunner:
    """One trial after the other: in this process, or shared out by images over the ranks of a trainer."""

    workers = 1
    follows_network = True

    def __init__(self, trainer: Trainer, model: CimModule, data: LightningDataModule) -> None:
        self._given = trainer, model, data

    def work(self, work: Callable[[Run], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """Do some work that computes trials, on every rank, which all find the same outcomes."""

        def on_each_rank(evaluate: Evaluate) -> Result:
            def run(trials: Iterable[tuple[Key, Steps]]) -> Iterator[tuple[Key, Outcomes]]:
                for key, steps in trials:
                    try:
                        asked = proceed(steps, None)
                        while isinstance(asked, Evaluation):
                            asked = proceed(steps, evaluate(asked.condition, asked.places))
                    finally:
                        steps.close()  # a trial that failed leaves what it has claimed
                    yield key, asked

            return work(run)

        return run_evaluations(*self._given, on_each_rank, advance=advance)


def runner_of(settings: RunnerSettings, trainer: Trainer, model: CimModule, data: LightningDataModule) -> Runner:
    """The runner that settings describe; one that is not installed, or not for so many processes, is refused."""
    if settings.name == "trainer":
        return TrainerRunner(trainer, model, data)
    if trainer.world_size > 1:
        raise ValueError(
            "`trainer.devices` must be 1 with `runner: ray`, whose processes `runner.workers` sets, got "
            f"{trainer.world_size}"
        )
    if find_spec("ray") is None:
        raise ValueError("`runner: ray` needs a package that is not installed: pip install 'asim_lightning[ray]'")
    from asim_lightning.exploration.ray_runner import RayRunner

    return RayRunner(trainer, model, data, settings.workers, settings.threads, settings.address)


def quiet_trainer(**settings: Any) -> Trainer:
    """A Lightning trainer that only evaluates, and writes and shows nothing."""
    return Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, **settings,
    )  # fmt: skip


def proceed(steps: Steps, outcomes: Outcomes | None) -> Evaluation | Outcomes:
    """The next evaluation that a trial asks for, given the outcomes of the last one, or its own if it is finished."""
    try:
        return steps.send(outcomes)  # type: ignore[arg-type]  # None at its start
    except StopIteration as end:
        found: Outcomes = end.value
        return found
