"""A sweep, search, spec or doctor in its store and folder: points, commands, settings, costs, documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from asim_lightning.circuit import MacroConfig
from asim_lightning.circuit.fields import settings_of
from asim_lightning.evaluation.axis_settings import CORNER, is_condition
from asim_lightning.evaluation.chip_yield import ChipYield
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.measure import Measure
from asim_lightning.evaluation.results import AGREEMENT, AxisValue, Decision, Result, axis_text, distinct_values
from asim_lightning.evaluation.store import STORE, Store
from asim_lightning.evaluation.target import EVERY_CORNER, Target, costs, grouped, has_figure, pareto
from asim_lightning.evaluation.worst_corner import WorstResult, decided_together, design_of, designs_of, worst_result

RESULTS, YIELDS, DIFFERENCES, COST, LAYERS, SETTINGS = (
    "results.csv", "yield.csv", "differences.csv", "cost.json", "layers.json", "settings.json",
)  # fmt: skip
"""Files of a run that are only written; the store has the last three as documents, too."""
THRESHOLDS, TRADED, COMMAND, DOCUMENT = "thresholds", "traded", "command ", "document"
"""Documents of the store: thresholds of yields, objectives with targets, commands by their digest, and the result of a
spec or doctor."""
STUDIES, MAP = ("spec", "doctor"), "map.json"
"""Runs with a result at their end; and the map of a doctor, in the store and as a file."""
_FIELDS = settings_of(MacroConfig)


@dataclass(frozen=True)
class CommandRecord:
    """A command line, and the data that a reader needs to repeat and judge its results."""

    command: str
    """As written, such as "asim sweep -c quickstart"."""
    recipe: str = ""
    """Name of the last configuration file; empty if there is none."""
    differences: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Settings of flags: value in the recipe (None: absent), and in the command."""
    preset: str | None = None
    macro: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the plan's macro."""
    images: int | None = None
    """Test images in the data; a run may take fewer. None: not known."""
    seeds: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    """Time of the last start, ISO 8601."""
    seconds: float | None = None
    """Total wall time of all finished calls; None if no call finished."""
    calls: int = 1


@dataclass(frozen=True)
class Run(Sequence[Result]):
    """The results of a sweep, a search, a spec or a doctor, float and quantized first, with all data of the run."""

    folder: Path
    results: tuple[Result, ...]
    """A result a point, with its chips inside."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything that outcomes depend on except the point, as in settings.json."""
    commands: tuple[CommandRecord, ...] = ()
    """Commands of the run, the first one first."""
    thresholds: tuple[float, ...] = ()
    """Accuracies from which a chip is good, rising: 0..1; empty: yields are not asked for."""
    network_cost: Mapping[str, Any] = field(default_factory=dict)
    """Technology, totals and layers of the configured network, as in cost.json."""
    designs: tuple[Mapping[str, Any], ...] = ()
    """Axes that change a cost, and layers, at each evaluated design, as in layers.json; empty if not known."""
    objectives: tuple[str, ...] = ("accuracy", "energy")
    """Objectives, the first first."""
    targets: tuple[str, ...] = ()
    """Targets of each point, as texts."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """The result of a spec or a doctor, as in spec.json or doctor.json; empty for a sweep or a search."""
    loss_map: LossMap | None = None
    """The map of a doctor."""

    @overload
    def __getitem__(self, place: int) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, place: int | slice) -> Result | tuple[Result, ...]:
        return self.results[place]

    def __len__(self) -> int:
        return len(self.results)

    @property
    def kind(self) -> str:
        """Kind of study: sweep, search, spec, doctor or yield."""
        named = self.folder.resolve().name.partition("-")[0]
        return "yield" if self.yields else named if named in ("search", *STUDIES) else "sweep"

    @property
    def until(self) -> str | None:
        """The target that ended the images of each point; None if all images were evaluated."""
        return self.settings.get("until")

    @property
    def images(self) -> int | None:
        """Number of test images; None if a target ended the images of each point, because more decide nothing."""
        known = [*(each.images or 0 for each in self.commands), *(row.images for row in self.rows)]
        return max(known) if self.until is None and known else None

    @cached_property
    def rows(self) -> tuple[Result, ...]:
        """The rows of results.csv: a point each, or a chip each of a point with chips."""
        return tuple(row for result in self.results for row in result.rows)

    @cached_property
    def yields(self) -> tuple[ChipYield, ...]:
        """The chips of each point that has several, if yields are asked for."""
        return tuple(ChipYield.of(each) for each in self.results if self.thresholds and len(each.chips) > 1)

    @cached_property
    def axes(self) -> list[str]:
        """Names of the axes."""
        return list(dict.fromkeys(name for row in self.rows for name in row.axes))

    @cached_property
    def costs(self) -> list[str]:
        """Names of the figures that are not fields of the macro."""
        names = dict.fromkeys(name for row in self.rows for name in row.figures)
        return [name for name in names if name not in (*_FIELDS, AGREEMENT)]

    def of_kind(self, kind: str) -> list[Result]:
        """Rows of a kind."""
        return [row for row in self.rows if row.kind == kind]

    @cached_property
    def points(self) -> list[Result]:
        """The simulated rows."""
        return self.of_kind("simulated")

    @property
    def measure(self) -> Measure:
        """The measure of its results."""
        if self.results:
            return self.results[0].measure
        return Measure(are_images=self.document.get("are_images", True))

    @property
    def corners(self) -> Mapping[str, Mapping[str, AxisValue]]:
        """The changed fields of each corner, by the names of their axes; empty without corners."""
        return self.settings.get("corners", {})

    @cached_property
    def compared(self) -> list[Result]:
        """The simulated rows to compare; with a target "at every corner", each design once, at its worst corners."""
        if not any(each.endswith(EVERY_CORNER) for each in self.targets):
            return self.points
        return list(map(worst_result, designs_of(self.points)))

    @cached_property
    def references(self) -> list[Result]:
        """The float and the quantised network."""
        return [result for result in self.results if result.kind != "simulated"]

    @cached_property
    def groups(self) -> list[tuple[dict[str, AxisValue], list[Result]]]:
        """Conditions, and the simulated points under each: axes that nobody chooses, such as noise and spreads. Numbers
        rise; other values are in order of appearance."""
        found = [(_conditions(points[0]), points) for points in grouped(self.compared, _group)]
        names = dict.fromkeys(name for given, _ in found for name in given)
        values = {name: distinct_values(given[name] for given, _ in found if name in given) for name in names}
        return sorted(found, key=lambda group: [values[name].index(value) for name, value in group[0].items()])

    @cached_property
    def front(self) -> list[Result]:
        """The Pareto front under each condition."""
        if not self.points or not all(has_figure(point, name) for point in self.points for name in self.objectives):
            return []
        return [each for points in grouped(self.compared, _group) for each in pareto(points, self.objectives)]

    @cached_property
    def cheapest(self) -> list[Result | None]:
        """For each of the `groups`, the cheapest point that keeps all targets; None if no point surely does."""
        kept = ([point for point in points if self.targets and point.verdict == "kept"] for _, points in self.groups)
        return [min(points, key=self.price, default=None) for points in kept]

    def price(self, result: Result) -> tuple[float, ...]:
        """The sort key of cost: last objective, then those before it, without objectives that have no figure."""
        names = [name for name in self.objectives if has_figure(result, name)]
        return costs(result, names)[::-1]

    def reference(self, target: Target) -> Result | None:
        """The reference of a target that is a share; it must exist, on all images. None for other targets."""
        if target.of is None:
            return None
        if self.until is not None:
            raise ValueError(
                f"`--target` must be as '88 %' for {self.folder}, whose images ended by '{self.until}', because the "
                f"difference to another network is decided on all images, got '{target}'"
            )
        found = self.of_kind(target.of)
        if not found:
            raise ValueError(f"`--target` '{target}' needs a point of kind {target.of}, which {self.folder} lacks")
        return found[0]

    def decision(self, target: Target, result: Result) -> Decision:
        """Whether a point keeps a target; a search's decision counts."""
        return result.decisions.get(str(target)) or target.decide(result, self.reference(target), self.images)

    def decided(self, *targets: Target) -> "Run":
        """The same run with decisions on some targets for each simulated point."""

        def of(result: Result) -> Result:
            decisions = {str(each): self.decision(each, result) for each in targets if result.kind == "simulated"}
            return replace(result, decisions=decisions, chips=tuple(map(of, result.chips)))

        every = next((each for each in targets if each.every_corner), None)
        if every is not None and CORNER not in self.axes:
            raise ValueError(f"the target '{every}' needs a run with `corners`, which {self.folder} has not")
        designs = grouped(map(of, self.results), design_of) if every is not None else [list(map(of, self.results))]
        results = tuple(each for corners in designs for each in decided_together(corners))
        return replace(self, results=results, targets=tuple(map(str, targets)))

    @property
    def own_target(self) -> Target:
        """The target of a spec or a doctor; else a search's first accuracy, the target that ended images, the highest
        threshold of yields, or 99 % of quantized. If images ended, that share is a number, from the quantised accuracy
        on all of them.
        """
        if self.document:
            return Target.read(self.document["target"], "`target`")
        asked = [Target.read(text, "`--target`") for text in (*self.targets, *([self.until] if self.until else []))]
        accuracies = [each for each in asked if each.form in ("accuracy", "share")]
        quantized = self.of_kind("quantized")
        if self.yields and not accuracies:
            return Target("accuracy", self.thresholds[-1])
        if accuracies or self.until is None or not quantized:
            name = "accuracy" if self.measure.is_share else self.measure.name
            return accuracies[0] if accuracies else Target("share", 0.99, "quantized", name=name)
        return Target("accuracy", round(0.99 * quantized[0].accuracy, 4) or 1e-4)

    @property
    def macro(self) -> Mapping[str, Any]:
        """Fields of the recipe's macro; empty if it is not known."""
        return self.commands[-1].macro if self.commands else {}

    def own(self, points: Sequence[Result]) -> Result | None:
        """The point of the recipe's macro among some points, under any conditions; None if there is none."""
        macro = self.macro
        for point in points:
            chosen = {name: value for name, value in point.axes.items() if not is_condition(name)}
            if are_among(chosen, macro):
                return point
        return None

    @cached_property
    def all_digital(self) -> tuple[float, float, float] | None:
        """Energy of the same products in a digital macro, uJ, with low and high by the model's factor.

        None if it is not known, or if it differs by point, because bits and technology decide it.
        """
        names = ("all_digital_uj", "all_digital_uj_low", "all_digital_uj_high")
        found = {tuple(point.figures.get(name) for name in names) for point in self.compared}
        value, low, high = found.pop() if len(found) == 1 else (None, None, None)
        return None if value is None or low is None or high is None else (value, low, high)


def _conditions(result: Result) -> dict[str, AxisValue]:
    return {name: value for name, value in result.axes.items() if is_condition(name)}


def _group(result: Result) -> str:
    return "\n".join(f"{name}={axis_text(value)}" for name, value in _conditions(result).items())


def are_among(some: Mapping[str, AxisValue], others: Mapping[str, AxisValue]) -> bool:
    """Whether all of some axes have the same values in others."""
    return all(name in others and axis_text(others[name]) == axis_text(value) for name, value in some.items())


def is_among(result: Result, others: Sequence[Result | None]) -> bool:
    """Whether a point is one of the others, or one of their corners, by identity."""
    every = [one for each in others for one in (each.corners if isinstance(each, WorstResult) else (each,))]
    return any(result is each for each in every)


def read_run(folder: str | Path) -> Run:
    """The run in a folder such as runs/quickstart/sweep-39d02d15, from the store next to it."""
    folder = Path(folder)
    store, name = Store(folder.absolute().parent, read_only=True), folder.absolute().name
    results, document = tuple(map(Result.of_json, store.points(name))), store.read(name, DOCUMENT)
    if not results and store.earlier_version is not None:
        raise FileNotFoundError(
            f"{folder} is of version {store.earlier_version} of the store, which is not read; run its command again"
        )
    if not results:
        what = "holds no run" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {what}; asim sweep and asim search write runs/NAME and runs/NAME/sweep-HASH")
    if document is None and (kind := name.partition("-")[0]) in STUDIES:
        raise FileNotFoundError(f"{folder} has no {kind}.json, because it has not ended; run its command again")
    commands = (CommandRecord(**each) for each in store.documents_of(name, COMMAND))
    drawn = store.read(name, MAP)
    return Run(
        folder,
        results,
        settings=store.read(name, SETTINGS) or {},
        commands=tuple(sorted(commands, key=lambda each: (each.started, each.command))),
        thresholds=tuple(store.read(name, THRESHOLDS) or ()),
        network_cost=store.read(name, COST) or {},
        designs=tuple(store.read(name, LAYERS) or ()),
        document=document or {},
        loss_map=None if drawn is None else LossMap.of_json(drawn),
        **{key: tuple(values) for key, values in (store.read(name, TRADED) or {}).items()},
    )


def run_names(folder: str | Path) -> list[str]:
    """Names of the sweeps, searches, specs and doctors in a folder, such as runs/quickstart.

    Unfinished specs and doctors are left out, because their points mean nothing without the document.
    """
    if not (Path(folder) / STORE).is_file():
        return []
    store = Store(folder, read_only=True)
    kinds = {name: name.partition("-")[0] for name in store.runs()}
    others = [name for name, kind in kinds.items() if kind not in STUDIES]
    studies = [name for each in STUDIES for name, kind in kinds.items() if kind == each]
    return [*others, *(name for name in studies if store.read(name, DOCUMENT) is not None)]


_COLUMNS = ("kind", "trials", "images", "accuracy", "low", "high", "seconds", "algorithm", "point", "right")


def result_rows(run: Run, axes: Sequence[str]) -> list[list[object]]:
    """The lines of results.csv, column names first, with means as in `Measure.plain`: shares are 0..1."""
    figures = list(dict.fromkeys(name for row in run.rows for name in row.figures))
    differences = ("difference", "difference_low", "difference_high")
    rows: list[list[object]] = [
        [*axes, *_COLUMNS, *(name for name in figures if name not in axes), *differences, *run.targets,
         "front", "cheapest"]
    ]  # fmt: skip
    for result in run.rows:
        is_point, difference = result.kind == "simulated", result.difference
        rows.append([
            *(axis_text(result.axes[name]) if name in result.axes else "" for name in axes),
            result.kind, result.trials, result.images,
            *(f"{number:.6f}" for number in result.plain),
            f"{result.seconds:.3f}", result.algorithm, result.point, " ".join(map(str, result.right)),
            *(f"{result.figures[name]:.6g}" if name in result.figures else "" for name in figures if name not in axes),
            *(["", "", ""] if difference is None else (f"{result.measure.plain_change(end):.6f}" for end in
              (difference.mean, difference.low, difference.high))),
            *(result.decisions.get(target, "") for target in run.targets),
            *(str(is_among(result, some)).lower() if is_point else "" for some in (run.front, run.cheapest)),
        ])  # fmt: skip
    return rows
