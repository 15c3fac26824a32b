"""One checkpoint over a grid of macros: float, quantised and simulated accuracy with error bars."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from asim_lightning.checks import check_whole
from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.units import canonical_quantity
from asim_lightning.cost import Technology
from asim_lightning.evaluation.axis_settings import CHIP, CORNER, is_condition
from asim_lightning.evaluation.chip_yield import default_thresholds, thresholds_of
from asim_lightning.evaluation.layer_inputs import needed_layers
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import Kind, Result, axis_text
from asim_lightning.evaluation.run import THRESHOLDS, TRADED, Run
from asim_lightning.evaluation.target import ENDS_IMAGES, OF_A_POINT, Target, target_texts
from asim_lightning.exploration.axes import SweepAxes, base_macro, flat, grid_of
from asim_lightning.exploration.methods import Point, no_points
from asim_lightning.exploration.point import Points, check_points
from asim_lightning.exploration.point_costs import CostFigures
from asim_lightning.exploration.runner import Work
from asim_lightning.exploration.running import measure
from asim_lightning.exploration.search_space import Axis, SearchSpace
from asim_lightning.exploration.study import Measured, Say, Study, StudySettings, all_images, loaded_images, silent


@dataclass(frozen=True)
class SweepSettings:
    """Points of the grid, reads, chips and targets."""

    axes: Mapping[str, Any] | SweepAxes = field(default_factory=SweepAxes)
    """Values of macro fields; several axes give every combination."""
    trials: int = 2
    """Reads of the chip for each noisy point: 1..65535."""
    chips: int | None = None
    """Number of chips at each point, for a yield: 2..10000; null: only the model's chip."""
    until: str | None = None
    """A target that ends the work when it is decided. "yield 0.95 at 90 %" ends the chips, at most 500 or `chips`.
    "accuracy 90 %" ends the images of each point, or "accuracy within 2 %" for the width of its interval."""
    thresholds: list[float] | None = None
    """Accuracies, percent, from which a chip is good; null: the one of `until` or of a yield in `targets`, or 1, 2 and
    5 points below quantized."""
    targets: list[str] = field(default_factory=list)
    """Targets of each point, such as "accuracy 99 % of quantized", "yield 0.9 at 85 %" or "energy 2 uJ"."""
    technology: Technology = field(default_factory=Technology)
    """Technology for energy, latency and TOPS/W of each point."""

    def __post_init__(self) -> None:
        check_whole("`trials`", self.trials, 1, 65535)

    def on(self, measure: Measure) -> "SweepSettings":
        """The same sweep with the name of an outcome in its targets read as accuracy, if it is a share."""
        (until,) = [None] if self.until is None else target_texts("until", [self.until], measure)
        return replace(self, until=until, targets=target_texts("targets", self.targets, measure))

    @property
    def end(self) -> Target | None:
        """`until` as a target."""
        return None if self.until is None else Target.read(self.until, "`until`", ("yield", *ENDS_IMAGES))

    @property
    def of_chips(self) -> bool:
        """Whether yields are asked for."""
        return self.chips is not None or (self.end is not None and self.end.form == "yield")

    @property
    def given(self) -> Mapping[str, Any]:
        """The axes that are given, nested as in a recipe."""
        return self.axes.given() if isinstance(self.axes, SweepAxes) else self.axes

    def grid_at(self, corners: Sequence[str] = ()) -> SearchSpace:
        """The grid at some corners."""
        return grid_of(self.given, self.chips, self.end, corners)

    @property
    def wanted(self) -> list[Target]:
        """`targets`; refuses two yields, and a yield of one chip."""
        wanted = [Target.read(text, "`targets`", OF_A_POINT) for text in self.targets]
        of_chips = [each for each in wanted if each.form == "yield"]
        if len(of_chips) > 1 or (self.chips is None and of_chips):
            raise ValueError(f"`targets` may have one yield, and it needs `chips`, such as 20, got {self.targets}")
        return wanted


@dataclass(frozen=True, eq=False)
class SweepStudy(Study):
    """A study whose references have costs too."""

    def figures_at(self, point: Point, kind: Kind) -> Mapping[str, float]:
        """Costs of a point; the quantised network has those of a digital macro."""
        return {} if self.costs is None else self.costs.at(point, kind)


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep that is ready to run.

    Chips are not separate points: the chips of a point are evaluated in order, until enough are known.
    """

    study: SweepStudy
    settings: SweepSettings
    grid: SearchSpace
    costs: CostFigures
    macro: MacroConfig
    """The plan's macro, unless a layer was given another by hand."""
    known: Sequence[Point]
    """The points of the grid, without corners and chips."""
    thresholds: Sequence[float] | None
    """Accuracies from which a chip is good, 0..1; empty: 1, 2 and 5 points below the quantised network's; None: no
    yields."""
    notes: tuple[str, ...]
    """Messages for the user before the points are evaluated, a line each."""

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.study.folder.path

    def run(self, say: Say = silent, progress: bool = True) -> Run:
        """Evaluate the unfinished points: a result for each point with its chips, float and quantised first.

        `say` and the processes are as for `measure`. Chips after an answer to `until` have no result.
        """
        study = self.study
        if study.work.trainer.is_global_zero:  # the table also has points of earlier commands, with other technologies
            for result in study.folder.results():
                if (priced := self._priced(result)) != result:
                    study.folder.keep(priced)
            study.folder.write(TRADED, {"targets": list(map(str, study.settings.targets))})
        measured = measure(study, self.known, no_points(), 0, progress, say)
        if study.work.trainer.is_global_zero:
            study.folder.write(THRESHOLDS, self._levels(measured))
        return study.run_of(measured.results)

    def _levels(self, measured: Measured[None]) -> list[float]:
        """Accuracies from which a chip is good, rising; empty without yields."""
        if self.thresholds is None or not any(len(each.chips) > 1 for each in measured.results):
            return []
        return sorted(set(self.thresholds or default_thresholds(measured.others["quantized"][0].accuracy)))

    def _priced(self, result: Result) -> Result:
        figures = {**result.figures, **self.study.figures_at(dict(result.axes), result.kind)}
        chips, more = (tuple(map(self._priced, each)) for each in (result.chips, result.more_chips))
        return replace(result, figures=figures, chips=chips, more_chips=more)


def open_sweep(work: Work, settings: SweepSettings) -> Sweep:
    """Make a sweep ready; a wrong setting or point is refused before the work.

    Raises:
        ValueError: A setting or point is not allowed, or no layer is on a macro.
    """
    needed_layers(work.model, "A sweep or search")
    outcome = Measure.of(work.model.outcome)
    settings = settings.on(outcome)
    until, asked, corners = settings.end, settings.given.get(CORNER), work.corners
    names = corners.used(asked, "axes.corner", base_macro(work.model), settings.technology)
    grid = settings.grid_at(names)
    ends_images = until is not None and until.ends_images
    if ends_images and settings.trials > 1:
        said = f"because an image counts once, got {settings.trials}"
        raise ValueError(f"`trials` must be 1 with `until` '{until}', {said}")
    wanted = settings.wanted
    corners.check_targets(wanted, until)
    if ends_images and (shares := [each for each in wanted if each.of]):
        raise ValueError(
            f"`targets` must be as 'accuracy 88 %' with `until` '{until}', because images that end early decide no "
            f"difference to another network, got '{shares[0]}'"
        )
    thresholds = thresholds_of(settings.thresholds, settings.of_chips)
    if thresholds and not outcome.is_share:
        raise ValueError(f"`thresholds` are accuracies, which the outcome {outcome.name} has not")
    yields = [each.accuracy for each in wanted if each.form == "yield"]
    yields += [until.accuracy] if until is not None and until.form == "yield" else []
    costs, points = CostFigures(work.model, settings.technology, work.noise_in, corners), Points.of(work, grid.axes)
    chips = () if ends_images else grid.values_of(CHIP) if CHIP in grid.axes else ()  # else chips see other images
    inside = {CORNER, *([CHIP] if chips else [])}
    known = list(SearchSpace({name: axis for name, axis in grid.axes.items() if name not in inside}).grid())

    def check(point: Point) -> None:
        points.is_noisy(point)
        costs.at({name: value for name, value in point.items() if name == CORNER})

    def check_chips(point: Point) -> None:
        for number in chips[:2]:
            points.is_noisy({**point, CHIP: number})

    for point in known:
        places = corners.points(point, names)
        check_points(places, "axes", check)
        # one chip stands for all at other corners
        check_points([each for each in places if points.chips_differ(each)] or places, "axes", check_chips)
    study = SweepStudy.open(
        work,
        StudySettings(
            "sweep", list(grid.axes), wanted, until, chips, settings.trials, by_chip=True, goes_on=True,
            most_images=None if ends_images else all_images(work.data), corners=names,
        ),
        points,
        costs,
    )  # fmt: skip
    has_yields = outcome.is_share and bool(chips)
    levels = (thresholds or yields) if has_yields and settings.of_chips else None
    notes = (*study.folder.notes, *corners.notes(names, grid.axes))
    return Sweep(study, settings, grid, costs, base_macro(work.model), known, levels, notes)


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
