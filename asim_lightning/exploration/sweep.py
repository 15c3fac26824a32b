"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from lightning.pytorch import LightningDataModule

from asim_lightning.checks import check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHIP, is_condition
from asim_lightning.evaluation.chip_yield import ChipYield, chip_yield, default_thresholds
from asim_lightning.evaluation.results import Outcomes, Result, axis_text, canonical_json
from asim_lightning.evaluation.run import YIELD_DOCUMENT, Run
from asim_lightning.evaluation.target import Target, grouped
from asim_lightning.exploration.axes import flat
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import Point, no_points
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.search_space import Axis, SearchSpace
from asim_lightning.exploration.study import Planned, Study, loaded_images


class Sweep(Study):
    """Evaluates every point of a grid, and stores each finished trial.

    Chips are not separate points: the chips of a point are evaluated in order, until enough are known.

    Args:
        work: Network, data and trainer.
        axes: The grid; a wrong point is refused before the work.
        trials: Reads of the chip for each noisy point.
        until: A target on the yield ends the chips of each point early; a target on the accuracy ends its images early.
        technology: Technology of the costs.
        thresholds: Accuracies from which a chip is good, 0..1, for the yields of points with several chips; empty: that
            of `until`, or 1, 2 and 5 points below the quantised network's; None: no yields.
    """

    goes_on = True
    figures: CostFigures

    def __init__(
        self,
        work: Work,
        axes: SearchSpace,
        trials: int,
        until: Target | None = None,
        technology: Technology = Technology(),
        thresholds: Sequence[float] | None = (),
    ) -> None:
        super().__init__(work)
        check_whole("`trials`", trials, 1, 65535)
        of_images = until if until is not None and until.ends_images else None
        self.until, self.thresholds = until, thresholds
        # the plan's macro, unless a layer was given another by hand
        self.macro = next(iter(self.layers.values())).assignment.base
        self.records = Records(work, list(axes.axes), "sweep", of_images)
        if of_images is not None and trials > 1:
            raise ValueError(f"`trials` must be 1 with `until` '{until}', because an image counts once, got {trials}")
        if thresholds and not work.model.outcome.is_share:
            raise ValueError(f"`thresholds` are accuracies, which the outcome {work.model.outcome.name} has not")
        self.figures = CostFigures(work.model, technology, work.noise_in)
        self.chips, self.reads = axes.values_of(CHIP) if CHIP in axes.axes else (), trials
        first_chip = {CHIP: self.chips[:1]} if self.chips else {}  # each point has all chips
        self._points = list(SearchSpace({**axes.axes, **first_chip}).grid())
        self.check_all(self._points, "axes")
        self.records.open()

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> Run:
        """Evaluate the unfinished points: a result for each point and chip, float and quantised first.

        `say` and the processes are as for `Study.evaluate`. Chips after an answer to `until` have no result.
        """
        if self.trainer.is_global_zero:  # the run's table also has points of earlier commands, with other technologies
            for result in self.records.results():
                if (priced := self._priced(result)) != result:
                    self.records.keep(priced)
        results, _ = self.evaluate([self.planned(each) for each in self._points], no_points(), 0, progress, say)
        yields, levels = self._yields(results), list[float]()
        if yields:
            levels = self._levels()
            content = {"chips": [each.to_json() for each in yields], "thresholds": levels}
            self.records.store.write(self.folder.name, YIELD_DOCUMENT, content)
        return replace(self.run_of(results), yields=tuple(yields), thresholds=tuple(levels))

    def check(self, point: Point) -> None:
        """Refuse a point that cannot be measured on each chip; a technology is no axis of a sweep."""
        self.records.points.add(point, "simulated")
        self._on_chips(point)
        super().check(point)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """A result for each chip of a point, with its cost."""
        quantized = self.outcomes.get("quantized")
        return [
            self._priced(self.records.result(trials[0].axes, planned.kind, [reads], quantized))
            for trials, reads in zip(planned.trials, chips, strict=False)  # no chips after an answer
        ]

    def _yields(self, results: Sequence[Result]) -> list[ChipYield]:
        """The chips of each point that has several, in the first process; none if yields are not asked for."""
        if self.thresholds is None or not self.model.outcome.is_share or not self.trainer.is_global_zero:
            return []
        if self.until is not None and self.until.ends_images:  # chips saw different images
            return []
        found, on_chips = [], [row for row in results if CHIP in row.axes]
        for rows in grouped(on_chips, lambda row: canonical_json(row.without(CHIP))):
            if len(rows) > 1:
                reads = {int(row.axes[CHIP]): self.records.reads(row) for row in rows}  # type: ignore[arg-type]
                found.append(chip_yield(rows[0].without(CHIP), reads, self.chips_may_end))
        return found

    def _levels(self) -> list[float]:
        """Accuracies from which a chip is good, rising."""
        if self.until is not None and not self.thresholds and self.chips_may_end:
            return [self.until.accuracy]
        return sorted(set(self.thresholds or default_thresholds(self.references["quantized"].accuracy)))

    def _priced(self, result: Result) -> Result:
        return replace(result, figures=self.figures.at(result.axes, result.kind))


def left_out(axes: Mapping[str, Axis], macro: MacroConfig, written: Collection[str]) -> Iterator[str]:
    """A line on each noise or spread of the macro that axes leave out, except for axes that the user has written."""
    own, usual = flat(asdict(macro)), flat(asdict(MacroConfig()))
    for name, values in axes.items():
        value: Any = own.get(name)
        if value == usual.get(name) or not is_condition(name) or {name, name.partition(".")[0]} & {*written}:
            continue
        listed: Sequence[Any] = values if isinstance(values, Sequence) else [value]  # a range may have it
        if canonical_quantity(value) not in map(canonical_quantity, listed):
            given = ", ".join(map(axis_text, listed))
            yield f"axes     {name} {given}; the macro's own {axis_text(value)} is not among them"


def grid_line(data: LightningDataModule, axes: SearchSpace, trials: int) -> str:
    """The size of a grid, such as "36,000 points, up to 72,002 trials of 400 images".

    The float and the quantised network are a trial each. A point without noise takes one trial, whatever `trials` is.
    The data must be set up.
    """
    check_whole("`trials`", trials, 1, 65535)
    points, images = axes.count() or 0, loaded_images(data)
    most = points * trials + 2
    return f"{points:,} point{'s' * (points > 1)}, {'up to ' * (trials > 1)}{most:,} trials of {images:,} images"
