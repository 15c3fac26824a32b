"""A search over macros, chips, checkpoints and technologies for what trades accuracy, energy and time best."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer

from asim_lightning.circuit import MacroConfig
from asim_lightning.classifier.network import CimModule
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHECKPOINT, TECHNOLOGY
from asim_lightning.evaluation.chip_yield import yield_figures
from asim_lightning.evaluation.results import AxisValue, Outcomes, Result, axes_text
from asim_lightning.evaluation.run import TRADED, Run
from asim_lightning.evaluation.target import costs
from asim_lightning.exploration.estimate import all_images
from asim_lightning.exploration.figures import CostFigures
from asim_lightning.exploration.methods import LEARNING, Listed, Method, Point, random_points
from asim_lightning.exploration.records import Records
from asim_lightning.exploration.runner import Runner
from asim_lightning.exploration.search_settings import MACRO_FIGURES, SearchSettings
from asim_lightning.exploration.search_space import SearchSpace, checkpoint_of, of_network
from asim_lightning.exploration.study import REFERENCES, Planned, Study


class Search(Study):
    """Evaluates points of a space, one after another, and keeps each finished trial.

    A search that was stopped and starts again finds its trials and proposes the same points.

    Args:
        trainer: Lightning trainer whose processes, device and precision are used.
        model: Converted classifier with its trained weights.
        data: Data module that is set up; the images of its test loader are evaluated.
        settings: What is searched.
        technology: What energy and latency are computed from.
        folder: Folder of the store, below which the search's own is made.
        load: Loads a checkpoint's weights into the model, if the space has checkpoints.
        runner: Who computes the trials; None: the trainer's processes.
        fresh: Whether trials of earlier commands do not count.

    Raises:
        ValueError: No layer is on a macro, or a setting or point is not allowed.
    """

    def __init__(
        self,
        trainer: Trainer,
        model: CimModule,
        data: LightningDataModule,
        settings: SearchSettings,
        technology: Technology,
        folder: str | Path,
        load: Callable[[str], None] | None = None,
        runner: Runner | None = None,
        fresh: bool = False,
    ) -> None:
        super().__init__(trainer, model, data, runner)
        self.settings = settings
        self.technology, self._load_weights, self._folder, self._fresh = technology, load, Path(folder), fresh
        self.space = _space(settings)
        axis = self.space.axes.get(CHECKPOINT)
        self._checkpoints: list[str | None] = [str(each) for each in axis] if isinstance(axis, list) else [None]
        if axis is not None and not self.runner.follows_network:
            raise ValueError(
                "`search.space.checkpoint` must be absent with `runner: ray`, whose workers keep the weights that they "
                "started with; a search for each checkpoint, by `ckpt_path`, takes it"
            )
        if settings.chips is not None and "chip" in self.space.axes:
            raise ValueError("`search.chips` takes chips 0, 1, 2, ..., so that `search.space.chip` must be absent")
        names = [*self.space.names, *(["chip"] if settings.chips is not None else [])]
        self._names = [name for name in names if name in of_network({name: None})]
        self.figures = CostFigures(model, technology)
        self._method: Method = Listed([])
        self._records: dict[str | None, Records] = {}
        self._loaded: str | None = None
        self._listed = self._checked()
        for checkpoint in self._checkpoints:
            self._of(checkpoint).open(has_table=checkpoint == self._checkpoints[0])  # its weights are part of the key
        self.records, self.may_end = self._of(self._checkpoints[0]), settings.ends is not None
        self.folder, self.notes = self.records.folder, self.records.notes

    def run(self, say: Callable[[str], None] = lambda line: None, progress: bool = True) -> Run:
        """Evaluate what is not finished yet.

        Args:
            say: Takes a line about the time that is left, once the first simulated trials tell it, and one on trials of
                an earlier run.
            progress: Whether a progress bar is shown.

        Returns:
            All points, in the order in which they were asked for, references first; in the first process only.
        """
        settings = self.settings
        traded: dict[str, Any] = {
            "objectives": tuple(settings.objectives), "targets": tuple(map(str, settings.targets))
        }  # fmt: skip
        if self.trainer.is_global_zero:
            self.records.store.clear_points(self.folder.name)  # those of another call may not be asked for now
            self.records.store.write(self.folder.name, TRADED, traded)
        if self._listed is not None:
            self._method = Listed(self._listed)
        else:
            learning = LEARNING[settings.method]
            self._method = learning(self.space, settings.most, settings.seed, len(settings.objectives))
        asked = [Planned(self._owner, kind, ({},), 1, self.records) for kind in REFERENCES]
        most = settings.most * settings.reads * (settings.chips or 1)
        results = self.evaluate(asked, self._method, most, progress, say)
        return Run(self.folder, tuple(results), self.records.settings, **traded)

    def planned(self, point: Point) -> Planned:
        """The trials of a point, on each chip."""
        axes, records = of_network(point), self._records[checkpoint_of(point)]
        chips: tuple[Point, ...] = (axes,)
        if self.settings.chips is not None:
            chips = tuple({**axes, "chip": number} for number in range(self.settings.chips))
        reads = self.settings.reads if records.points.add(chips[0], "simulated") else 1
        return Planned(point, "simulated", chips, reads, records)

    def told(self, planned: Planned, chips: list[list[Outcomes]]) -> list[Result]:
        """The result of a point, over all its chips, with its decisions, which the method is told."""
        if planned.kind != "simulated":
            return [replace(planned.records.result({}, planned.kind, chips), axes=self._owner)]
        quantized = self.references["quantized"][1]
        measured = planned.records.result(of_network(planned.point), "simulated", chips, quantized)
        return [self._judged(self._figured(planned, measured, chips), chips)]

    def load(self, planned: Planned) -> None:
        """Load the checkpoint of a point."""
        self._switch(planned.point)

    def macros(self, point: Mapping[str, AxisValue]) -> set[MacroConfig]:
        """The macros of all layers on one, at a point."""
        return self._records[checkpoint_of(point)].points.macros(of_network(point))

    @property
    def _owner(self) -> Point:
        """The axes of the references: the first checkpoint, if there are several."""
        return {} if self._checkpoints == [None] else {CHECKPOINT: self._checkpoints[0]}

    def _checked(self) -> list[Point] | None:
        """The points of a method that knows them before, each worked out; None if it does not."""
        settings, space = self.settings, self.space
        if settings.method in LEARNING:
            LEARNING[settings.method](space, 1, 0, 1)  # that its package is installed
            known, checked = None, [dict(point) for point in _one_at_a_time(space)]
        elif settings.method == "random":
            known = checked = random_points(space, settings.most, settings.seed)
        else:
            given: Iterator[Any] = iter(settings.points) if settings.method == "list" else space.grid()
            known = checked = [dict(point) for _, point in zip(range(settings.most), given, strict=False)]
        for checkpoint in self._checkpoints:
            for kind in REFERENCES:
                self._of(checkpoint).points.add({}, kind)
        for point in checked:
            try:
                self._of(checkpoint_of(point)).points.add(self._on_chip(of_network(point)), "simulated")
                self.figures.at({name: point[name] for name in point if name.startswith(TECHNOLOGY)})
                self._check_numbers(point)
            except ValueError as error:
                raise ValueError(f"{error}, at the point {axes_text(point)} of `search.space`") from None
        return known

    def _check_numbers(self, point: Point) -> None:
        """Refuse a number of the macro as an objective if rules give layers different ones."""
        names = [name for name in self.settings.objectives if name in MACRO_FIGURES]
        macros = self.macros(point) if names else ()
        for name in names:
            values = {str(getattr(macro, name)) for macro in macros}
            if len(values) > 1:
                raise ValueError(
                    f"`search.objectives` takes {name} if all layers on a macro have the same, got "
                    f"{' and '.join(sorted(values))} by rules"
                )

    def _on_chip(self, axes: Point) -> Point:
        """A point as it is checked: on a chip that is not the model's if the search is over chips."""
        return axes if self.settings.chips is None else {**axes, "chip": 1 if self.model.chip == 0 else 0}

    def _of(self, checkpoint: str | None) -> Records:
        """The records of the network with a checkpoint's weights, which it has then."""
        self._switch({} if checkpoint is None else {CHECKPOINT: checkpoint})
        if checkpoint not in self._records:
            # what a run depends on; more trials go on in the same
            described = {"search": {**asdict(self.settings), "trials": None}, "technology": asdict(self.technology)}
            self._records[checkpoint] = Records(
                self.trainer, self.model, self.data, self._names, self._folder, "search", self.settings.ends,
                described, self._fresh,
            )  # fmt: skip
        return self._records[checkpoint]

    def _switch(self, point: Point) -> None:
        checkpoint = checkpoint_of(point)
        if checkpoint is not None and checkpoint != self._loaded:
            if self._load_weights is None:
                raise ValueError("`search.space.checkpoint` needs a way to load checkpoints, got none")
            self._load_weights(checkpoint)
            self._loaded = checkpoint

    def _judged(self, result: Result, chips: list[list[Outcomes]]) -> Result:
        """A result with its decisions, which the method is told."""
        # images decide on one chip, but not on all chips, nor if they ended as they answer another target
        most = all_images(self.data) if len(chips) == 1 and self.settings.ends is None else None
        decisions, excesses = {}, {}
        for target in self.settings.targets:
            decisions[str(target)] = self.decision(target, result, chips, most)
            excesses[str(target)] = -target.margin(result, self.references[target.of][0] if target.of else None)
        self._method.tell(dict(result.axes), costs(result, self.settings.objectives), excesses)
        return replace(result, decisions=decisions)

    def _figured(self, planned: Planned, result: Result, chips: list[list[Outcomes]]) -> Result:
        """A result with its cost, its yield and the macro's numbers that are traded."""
        point = planned.point
        figures = self.figures.at(point)
        (macro, *_) = self.macros(point)
        for name in MACRO_FIGURES:
            if name in self.settings.objectives:
                value = getattr(macro, name)
                figures[name] = inf if value is None else float(value)
        if (question := self.settings.question) is not None:
            figures |= yield_figures(chips, question.accuracy)
        return replace(result, axes=point, figures=figures)


def _space(settings: SearchSettings) -> SearchSpace:
    """The space of a search; that of a list is the values that its points have."""
    if settings.method != "list":
        return SearchSpace(settings.space)
    if settings.space:
        raise ValueError("`search.space` must be absent with the method list, whose `search.points` have their axes")
    names = settings.points[0]
    return SearchSpace({name: [point[name] for point in settings.points] for name in names})


def _one_at_a_time(space: SearchSpace) -> Iterator[Point]:
    """Points that have each value of a list, and both ends of a range, once."""
    values = {name: axis if isinstance(axis, list) else [axis.low, axis.high] for name, axis in space.axes.items()}
    base = {name: each[0] for name, each in values.items()}
    for name, each in values.items():
        for value in each:
            yield {**base, name: value}
