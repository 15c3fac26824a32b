"""Who computes the trials of a study: the trainer's own processes, in this file, or workers of Ray."""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol, TypeAlias, TypeVar

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.checks import check_choice, check_whole
from asim_lightning.classifier import CimClassifier
from asim_lightning.evaluation import Condition
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
        what the caller does with an outcome comes before the next trial is taken.

        Args:
            trials: The trials, each with a key that tells it apart.
        """


class Runner(Protocol):
    """Who computes trials."""

    workers: int
    """Trials that are computed at a time."""
    follows_network: bool
    """Whether weights count that the network gets between two trials; if not, those at the start of the work."""

    def work(self, work: Callable[[Run], Result], advance: Callable[[], None] = lambda: None) -> Result:
        """Do some work that computes trials; whatever was started for it ends with it.

        Args:
            work: It is called with a function that computes trials.
            advance: Called after each batch of images, by a progress bar.

        Returns:
            What the work returned.
        """


@dataclass(frozen=True)
class RunnerSettings:
    """Who computes the trials.

    Raises:
        ValueError: A setting is not allowed, or has no meaning with the runner.
    """

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
        check_whole("`runner.threads`", self.threads, 1)
        if self.address is not None and not re.fullmatch(r"[^\s/]+:\d+", self.address):
            raise ValueError(
                "`runner.address` must be HOST:PORT of a cluster that runs, as `ray start --head` prints it, such as "
                f"10.0.0.1:6379, got {self.address!r}"
            )
        for name, value in (("workers", self.workers), ("address", self.address)):
            if self.name != "ray" and value is not None:
                raise ValueError(
                    f"`runner.{name}` is of `runner: ray`, got {value} with `runner: {self.name}`, whose processes "
                    "`trainer.devices` sets"
                )


def runner_of(settings: RunnerSettings, trainer: Trainer, model: CimClassifier, data: LightningDataModule) -> Runner:
    """The runner that settings describe.

    Args:
        settings: Its settings.
        trainer: Lightning trainer.
        model: Converted classifier.
        data: Its data.

    Raises:
        ValueError: It is not installed, or not for so many processes.
    """
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


class TrainerRunner:
    """One trial after the other: in this process, or shared out by images over the ranks of a trainer.

    Args:
        trainer: The trainer.
        model: Converted classifier.
        data: Its data.
    """

    workers = 1
    follows_network = True

    def __init__(self, trainer: Trainer, model: CimClassifier, data: LightningDataModule) -> None:
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


def proceed(steps: Steps, outcomes: Outcomes | None) -> Evaluation | Outcomes:
    """The next evaluation that a trial asks for, or its outcomes if it is finished.

    Args:
        steps: The trial.
        outcomes: Those of the evaluation that it asked for last; None at its start.
    """
    try:
        return next(steps) if outcomes is None else steps.send(outcomes)
    except StopIteration as end:
        found: Outcomes = end.value
        return found
