"""Who computes the trials of a study: the trainer's own processes, in this file, or workers of Ray."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.classifier.network import CimModule
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


class TrainerRunner:
    """One trial after the other: in this process, or shared out by images over the ranks of a trainer.

    Args:
        trainer: The trainer.
        model: Converted classifier.
        data: Its data.
    """

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
