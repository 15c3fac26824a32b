"""A study: points of a method, each evaluated under its conditions; no finished trial is lost."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from lightning.pytorch import LightningDataModule

from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.evaluation.axis_settings import CHECKPOINT, CHIP, CORNER
from asim_lightning.evaluation.binomial import hypergeometric_interval
from asim_lightning.evaluation.chip_yield import crossed_difference, crossed_interval, good_chips, yield_figures
from asim_lightning.evaluation.interval import NO_DIFFERENCE, Interval
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import AGREEMENT, AxisValue, Decision, Kind, Outcomes, Result, agreement, stacked
from asim_lightning.evaluation.run import Run, read_run
from asim_lightning.evaluation.store import Store
from asim_lightning.evaluation.target import Target
from asim_lightning.exploration.fingerprint import fingerprint
from asim_lightning.exploration.methods import Answer, Look, Point
from asim_lightning.exploration.needed_images import Images
from asim_lightning.exploration.point import Points
from asim_lightning.exploration.point_costs import CostFigures, write_layers
from asim_lightning.exploration.run_folder import RunFolder
from asim_lightning.exploration.runner import Trial, Weights, Work
from asim_lightning.exploration.search_space import checkpoint_of, of_network
from asim_lightning.exploration.trials import Trials
from asim_lightning.lightning_private import works_elsewhere

REFERENCES: tuple[Kind, ...] = ("float", "quantized")
"""The kinds of points without a macro."""
_DIGITS = 12
"""Digits of a key in the name of a point's computation."""
_FILES = (CHECKPOINT, "column_args")
"""Axes whose values may name files, also in a rule for some layers."""
Say = Callable[[str], None]
"""Takes a line for the user."""
Read = Sequence[Sequence[Outcomes]]
"""The outcomes of a point, by chip and read."""

Others = Mapping[Kind, tuple[Result, Outcomes]]
"""The references that are known, with their outcomes."""


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class StudySettings:
    """How each point of a study is measured.

    Attributes:
        kind: Kind of the run, such as sweep or search.
        axes: Names of the axes.
        targets: Targets of each simulated point.
        until: The target that ends the images or the chips of each point when it is answered.
        chips: Numbers of the chips of a point whose chips differ; empty: only the model's chip.
        reads: Reads of each chip of a noisy point.
        checkpoints: Other weights of the network, and None for its own; the references belong to the first.
        places: Places of the images in the test loader; None: all.
        most_images: Number of all images if more images may decide a point of one chip; None if they may not.
        described: Other settings that name the run's folder, and decide no outcome.
        knows_exact: Whether a point that surely equals the quantised network differs from it by exactly 0.
        by_chip: Whether a point's result has the result of each chip.
        goes_on: Whether the run also has points of earlier calls that this call may not ask for.
        corners: Names of the corners of each point; empty: no corners.
    """

    kind: str
    axes: Sequence[str]
    targets: Sequence[Target] = ()
    until: Target | None = None
    chips: Sequence[AxisValue] = ()
    reads: int = 1
    checkpoints: Sequence[str | None] = (None,)
    places: range | None = None
    most_images: int | None = None
    described: Mapping[str, object] = field(default_factory=dict)
    knows_exact: bool = True
    by_chip: bool = False
    goes_on: bool = False
    corners: Sequence[str] = ()

    @property
    def chips_may_end(self) -> bool:
        """Whether a target on the yield ends the chips of a point."""
        return self.until is not None and self.until.form == "yield"


@dataclass(frozen=True, eq=False)
class Planned:
    """A point as the method proposed it, and its trials."""

    point: Point
    kind: Kind
    trials: list[list[Trial]]
    """Its trials by chip and read."""
    of: Trials
    """The trials of its network."""


@dataclass(frozen=True)
class Measured(Generic[Answer]):
    """What a study measured; in the first process only."""

    results: list[Result]
    """A result a point in order, float and quantised first."""
    answer: Answer
    """The return value of the method."""
    others: Others
    """The references, with their outcomes."""


Opened = TypeVar("Opened", bound="Study")
"""Class of a study."""


@dataclass(frozen=True, eq=False)
class Study:
    """A network with its points, trials and folder, ready to measure.

    The work is the same on all processes of the trainer: rank 0 reads the store, and tells the others what to compute.
    """

    work: Work
    settings: StudySettings
    points: Points
    folder: RunFolder
    trials: Mapping[str | None, Trials]
    """The trials of each checkpoint."""
    weights: Weights
    costs: CostFigures | None = None

    @classmethod
    def open(
        cls: type[Opened], work: Work, settings: StudySettings, points: Points, costs: CostFigures | None = None
    ) -> Opened:
        """Find the folder of a study, and the trials that the store has."""
        until = settings.until if settings.until is not None and settings.until.ends_images else None
        images, store = Images.of(work, until, settings.places), Store(work.folder)
        weights, trials, prints, token = Weights(work), dict[str | None, Trials](), [], secrets.token_hex()
        for checkpoint in settings.checkpoints:
            weights.switch(checkpoint)  # the fingerprint includes the weights
            prints.append(fingerprint(work.model, work.data, work.trainer, settings.axes))
            trials[checkpoint] = Trials(work, store, points, images, prints[-1], token)
        weights.switch(None)
        described = {**settings.described, **({} if until is None else {"until": str(until)})}
        if settings.corners:
            described["corners"] = {name: work.corners.fields[name] for name in settings.corners}
        folder = RunFolder(work, store, settings.kind, settings.axes, prints[0], described)
        if work.trainer.is_global_zero and any(map(_names_files, settings.axes)):
            folder.leave_out([each for each in folder.results() if _is_of_older_file(each, trials)])
        return cls(work, settings, points, folder, trials, weights, costs)

    def planned(self, asked: Point | Look) -> list[Planned]:
        """The trials of a proposed point, at each of its corners."""
        look = asked if isinstance(asked, Look) else Look(asked)
        if not self.settings.corners:
            return [self._planned(look)]
        return [
            self._planned(replace(look, point={**at, **look.at_corners.get(str(at[CORNER]), {})}))
            for at in self.at_corners(look.point)
        ]

    def at_corners(self, point: Point) -> list[Point]:
        """A point at each corner of the study; itself without corners."""
        return self.work.corners.points(point, self.settings.corners)

    def _planned(self, look: Look) -> Planned:
        point, kind, chips = look.point, look.kind, self.settings.chips[: look.chips]
        axes = of_network(point)
        places = [axes]
        if kind == "simulated" and chips and ([*chips] == [self.work.model.chip] or self.points.chips_differ(axes)):
            places = [{**axes, CHIP: number} for number in chips]
        reads = self.settings.reads if kind == "simulated" and self.points.is_noisy(axes) else 1
        of = self.trials.get(checkpoint_of(point)) or next(iter(self.trials.values()))
        of = of.on(of.images.part(look.images))
        return Planned(point, kind, [of.of(each, kind, reads) for each in places], of)

    def references(self) -> list[Planned]:
        """The float and the quantised network, with the weights of the first checkpoint."""
        first, of = next(iter(self.trials.items()))
        owner: Point = {} if first is None else {CHECKPOINT: first}
        return [Planned(owner, kind, [of.of({}, kind)], of) for kind in REFERENCES]

    def figures_at(self, point: Point, kind: Kind) -> Mapping[str, float]:
        """Costs and other numbers of a point, next to its outcomes."""
        return {} if self.costs is None or kind != "simulated" else self.costs.at(point)

    def decision(self, target: Target, result: Result, chips: Read, others: Others) -> Decision:
        """Whether a point keeps a target; the target may be a share of one of the references, see `Target.decide`."""
        most = self.settings.most_images if len(chips) == 1 else None
        paired = paired_difference(chips, others["float"][1], result.measure) if target.of == "float" else None
        return target.decide(result, target.of and others[target.of][0], most, paired)

    def is_over(self, chips: Read) -> bool:
        """Whether the chips of a point so far, by chip and read, answer the target on the yield."""
        until = self.settings.until
        if until is None or not self.settings.chips_may_end or len(chips) < 2:
            return False
        return until.answer_of_chips(good_chips(chips, until.accuracy), len(chips)) is not None

    def result(self, planned: Planned, chips: Read, others: Others) -> Result:
        """The result of a point from the outcomes of its chips, with costs and decisions, paired with references."""
        reference = others["quantized"][1] if "quantized" in others else None
        axes = {} if planned.kind in REFERENCES else of_network(planned.point)
        result = self._mean(planned, axes, chips, reference)
        figures = dict(self.figures_at(planned.point, planned.kind))
        if planned.kind in REFERENCES:
            return replace(result, axes=planned.point, figures=figures)
        figures = {**result.figures, **figures}
        yields = dict[str, float]()
        for target in self.settings.targets:
            if target.form == "yield":
                yields |= yield_figures(chips, target.accuracy, self.settings.chips_may_end)
        result = replace(result, axes=planned.point, figures=figures | yields)
        targets = self.settings.targets
        decisions = {str(each): self.decision(each, result, chips, others) for each in targets}
        result = replace(result, decisions=decisions)
        if not (self.settings.by_chip and self.settings.chips):
            return result
        of_chips = []
        for trials, reads in zip(planned.trials, chips, strict=False):  # no chips after an answer
            of_chip = self._mean(planned, trials[0].axes, [reads], reference)
            own_figures = {**of_chip.figures, **self.figures_at(dict(of_chip.axes), "simulated")}
            of_chip = replace(of_chip, figures={**own_figures, **yields})
            own = [each for each in targets if each.form != "yield"]
            decided = decisions | {str(each): self.decision(each, of_chip, [reads], others) for each in own}
            of_chips.append(replace(of_chip, decisions=decided))
        return replace(result, chips=tuple(of_chips), chips_ended=self.settings.chips_may_end)

    def _mean(self, planned: Planned, axes: Mapping[str, AxisValue], chips: Read, reference: Outcomes | None) -> Result:
        """The mean of a point with its paired difference to the quantised network.

        The interval is over images, or over chips and images if there are several chips. If a target ended the images,
        it is the interval of the target's sequential test.
        """
        measure, images, kind = Measure.of_module(self.work.model), planned.of.images, planned.kind
        result = Result.of(axes, kind, [read for reads in chips for read in reads], measure)
        result = replace(result, point=planned.of.key(axes, kind)[:_DIGITS])
        if images.may_end(kind) and images.needed is not None:
            sequence = hypergeometric_interval(sum(result.right), result.images, len(images.needed))
            result = replace(result, low=sequence.low, high=sequence.high, differing=None)
        if len(chips) > 1:
            mean = crossed_interval(list(map(stacked, chips)), measure.is_share)
            ends = min(mean.low, result.accuracy), max(mean.high, result.accuracy)
            result = replace(result, low=ends[0], high=ends[1], differing=mean.differing)
        if kind in REFERENCES or reference is None:
            return result
        same = reference.part(chips[0][0].sample_index).value
        is_equal = all(np.array_equal(read.value, same) for reads in chips for read in reads)
        # numbers without bounds have no other interval if none differs
        knows_exact = self.settings.knows_exact and planned.of is next(iter(self.trials.values()))
        is_exact = is_equal and (knows_exact or not measure.is_share) and self.points.is_quantized(axes)
        difference = NO_DIFFERENCE if is_exact else paired_difference(chips, reference, measure)
        share = agreement([read for reads in chips for read in reads], reference)
        return replace(result, difference=difference, figures={} if share is None else {AGREEMENT: share})

    def reads(self, result: Result) -> list[Outcomes]:
        """The finished trials of a point on one chip, with the weights of the first checkpoint."""
        of = next(iter(self.trials.values()))
        return [of.outcomes(trial) for trial in of.of(result.axes, result.kind, result.trials)]

    def run_of(self, results: Sequence[Result]) -> Run:
        """The run with the results of this call; the first process prices its layers, and adds all data of the run."""
        path = self.folder.path
        if not works_elsewhere(self.work.trainer):  # only the first process knows the answers, which name the folder
            path = self.work.agreed(path)
        if not self.work.trainer.is_global_zero:
            return Run(path, tuple(results))
        if self.costs is not None:
            write_layers(self.costs, self.folder)
        return replace(read_run(self.folder.path), results=tuple(results))


def _names_files(axis: str) -> bool:
    return axis.rpartition(".")[2] in _FILES


def _is_of_older_file(result: Result, trials: Mapping[str | None, Trials]) -> bool:
    """Whether an axis of an earlier result names a file whose content was another one then.

    Other contents are in the name of the run's folder. A checkpoint that this call does not ask for is not looked at,
    and neither is a file that is gone.
    """
    of = trials.get(checkpoint_of(result.axes))
    if of is None or not any(map(_names_files, result.axes)):
        return False
    with suppress(ValueError):
        return of.key(of_network(result.axes), result.kind)[:_DIGITS] != result.point
    return False


def paired_difference(chips: Read, reference: Outcomes, measure: Measure) -> Interval:
    """Mean of all reads of all chips minus a reference's on the same images; the reference may have more images."""
    same = reference.part(chips[0][0].sample_index).units
    return crossed_difference(list(map(stacked, chips)), same, measure.is_share)


def all_images(data: LightningDataModule) -> int:
    """Number of test images, which may exceed `test_images`; of a user's data module, those of its loader."""
    return data.all_test_images if isinstance(data, (ImageDataModule, GivenData)) else loaded_images(data)


def loaded_images(data: LightningDataModule) -> int:
    """Number of test images that the loader of a data module gives."""
    loader: Any = data.test_dataloader()
    return len(loader.dataset)
