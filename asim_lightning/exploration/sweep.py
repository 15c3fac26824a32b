"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer
from tqdm import tqdm

from asim_lightning.classifier import CimClassifier
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHIP
from asim_lightning.evaluation.chip_yield import ChipYield, chip_yield
from asim_lightning.evaluation.results import AxisValue, Kind, Outcomes, Result, axes_text
from asim_lightning.evaluation.target import Target, is_good
from asim_lightning.exploration.axes import SweepAxes, distinct
from asim_lightning.exploration.figures import PointFigures
from asim_lightning.exploration.methods import Listed, Point
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Runner, TrainerRunner
from asim_lightning.exploration.study import Planned, Study
from asim_lightning.surgery import macro_layers

_SILENT = 2.0
"""Seconds of work on the points before a bar shows it."""


class Sweep:
    """Evaluates every point of a grid, and keeps each finished trial.

    Chips are no points of their own: those of a point are evaluated in their order, until enough are known.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module; the images of its test loader are evaluated.
        axes: The grid.
        trials: Reads of the chip for each noisy point.
        folder: Folder of the store, below which the sweep's own is made.
        progress: Whether a progress bar with the time left is shown.
        until: A target on the yield, which ends the chips of each point when it is answered, or on the accuracy, which
            ends its images.
        technology: What a point's cost is computed from; None: no point has a cost.
        runner: Who computes the trials; None: the trainer's processes.
        fresh: Whether trials of earlier commands do not count.

    Raises:
        ValueError: No layer is on a macro, there is no trial, or several if the target takes one, or a point is not
            allowed.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimClassifier,
        data: LightningDataModule,
        axes: SweepAxes,
        trials: int,
        folder: str | Path,
        progress: bool = True,
        until: Target | None = None,
        technology: Technology | None = None,
        runner: Runner | None = None,
        fresh: bool = False,
    ) -> None:
        self.layers = macro_layers(model.backbone)
        if not self.layers:
            raise ValueError("A sweep needs a network with layers on a macro, got one without; set `model.plan`")
        if trials < 1 or trials > 65535:
            raise ValueError(f"`trials` must be 1..65535, got {trials}")
        of_images = until if until is not None and until.ends_images else None
        if of_images is not None and trials > 1:
            raise ValueError(f"`trials` must be 1 with `until` '{until}', which counts an image once, got {trials}")
        self.trainer, self.model, self.data, self.progress, self.until = trainer, model, data, progress, until
        self.runner: Runner = runner or TrainerRunner(trainer, model, data)
        # that of the plan, as long as no layer was given another by hand
        self.macro = next(iter(self.layers.values())).assignment.base
        names = list(next(iter(axes.points())))
        self.records = Records(trainer, model, data, names, folder, "sweep", of_images, fresh=fresh)
        self._references = [self._plan({}, "float", 1), self._plan({}, "quantized", 1)]
        self._points = self._planned(axes, trials)  # all points first: a wrong one is refused
        self.figures = None if technology is None else PointFigures(model, technology)
        self.records.open()
        self.folder, self.notes = self.records.folder, self.records.notes
        self.yields: list[ChipYield] = []
        """The chips of each combination of the other axes, if the sweep ran over chips."""

    def run(self, say: Callable[[str], None] = lambda line: None) -> tuple[Result, ...]:
        """Evaluate what is not finished yet.

        Args:
            say: Takes a line about trials of an earlier run, if any, and one about the time that is left, once the
                first simulated trials tell it.

        Returns:
            One result a point and chip, float and quantised first, without chips after an answer to `until`; in the
            first process only.
        """
        on_yield = self.until is not None and self.until.form == "yield"
        reference: list[Outcomes] = []

        def told(planned: Planned, chips: list[list[Outcomes]]) -> tuple[list[Result], ChipYield | None]:
            if planned.kind == "quantized":
                reference.append(chips[0][0])
            evaluated = planned.chips[: len(chips)]
            found = [self._result(planned, *each, reference) for each in zip(evaluated, chips, strict=True)]
            if len(planned.chips) == 1:
                return found, None
            numbers = [int(axes[CHIP]) for axes in evaluated]  # type: ignore[arg-type]
            return found, chip_yield(planned.point, dict(zip(numbers, chips, strict=True)), on_yield)

        planned = iter(self._points)
        study: Study[tuple[list[Result], ChipYield | None]] = Study(
            self.trainer, self.data, self.runner, lambda point: next(planned), self._ends if on_yield else None
        )
        method = Listed([each.point for each in self._points])
        try:
            found = study.run(self._references, method, 0, told, self.until is not None, self.progress, say)
        finally:
            if self.trainer.is_global_zero:
                self._price_again()
                self.records.export()
        self.yields = [each for _, each in found if each is not None]
        return tuple(result for results, _ in found for result in results)

    def _ends(self, planned: Planned, chips: Sequence[Sequence[Outcomes]]) -> bool:
        """Whether the target on the yield is answered by the chips so far."""
        if self.until is None or planned.kind != "simulated" or len(chips) < 2:
            return False
        answers = sum(len(read.value) for read in chips[0])
        right = [sum(int(read.correct.sum()) for read in reads) for reads in chips]
        good = sum(is_good(each, answers, self.until.accuracy) for each in right)
        return self.until.answer_of_chips(good, len(chips)) is not None

    def _result(self, planned: Planned, axes: Point, reads: list[Outcomes], reference: list[Outcomes]) -> Result:
        """The result of a point on one chip, which is kept."""
        result = self.records.result(axes, planned.kind, [reads], reference[0] if reference else None)
        if self.figures is not None:
            result = replace(result, figures=self.figures(axes, planned.kind))
        if self.trainer.is_global_zero:
            self.records.keep(result)
        return result

    def _price_again(self) -> None:
        """Give points of earlier commands, which are in the run's table too, the costs of this command's technology."""
        if self.figures is None:
            return
        for result in self.records.results():
            figures = self.figures(result.axes, result.kind)
            if figures != result.figures:
                self.records.keep(replace(result, figures=figures))

    def _plan(self, axes: Point, kind: Kind, reads: int, chips: Sequence[AxisValue] = ()) -> Planned:
        names = self.records.names  # in their order, as the first axis with several values is drawn
        on_chips = [{name: chip if name == CHIP else axes[name] for name in names} for chip in chips] or [axes]
        noisy = [self.records.points.add(each, kind) for each in on_chips]
        return Planned(axes, kind, tuple(on_chips), reads if noisy[0] else 1, self.records)

    def _planned(self, axes: SweepAxes, trials: int) -> list[Planned]:
        """The points of the grid, the chips of each together."""
        planned, chips = [], distinct(CHIP, axes.chip or ())
        grid = replace(axes, chip=None) if chips else axes
        points = iter([{}]) if chips and not grid.given() else grid.points()
        shown = self.progress and self.trainer.is_global_zero and sys.stderr.isatty()
        for point in tqdm(
            points,
            "points",
            axes.count() // (len(chips) or 1),
            leave=False,
            disable=not shown,
            delay=_SILENT,
            dynamic_ncols=True,
        ):
            try:
                planned.append(self._plan(point, "simulated", trials, chips))
            except ValueError as error:
                where = f", at the point {axes_text(point)} of `axes`" if point else ""
                raise ValueError(f"{error}{where}") from None
        return planned
