"""`asim sweep`, `search`, `spec` and `doctor`: their options, what they print and write, a record for `asim report`."""

import hashlib
import json
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from matplotlib.axes import Axes

from asim_lightning.bench.machine import this_machine, versions
from asim_lightning.checks import check_choice
from asim_lightning.cli.command_line import dump_yaml, write_text
from asim_lightning.cli.cost import write_cost
from asim_lightning.cli.options import Drawing
from asim_lightning.cli.parser import AsimCLI
from asim_lightning.cli.weights import load_weights, open_checkpoint, prepare
from asim_lightning.cost import Technology
from asim_lightning.data.given import GivenData
from asim_lightning.data.image_data_module import ImageDataModule
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.loss_map import LossMap
from asim_lightning.evaluation.run import COMMAND, MAP, CommandRecord
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.axes import SweepAxes, base_macro, recipe_of
from asim_lightning.exploration.corners import Corners
from asim_lightning.exploration.doctor import open_doctor
from asim_lightning.exploration.plan_study import DoctorSettings
from asim_lightning.exploration.publish import publish, publish_search
from asim_lightning.exploration.runner import RunnerSettings, Work, runner_of
from asim_lightning.exploration.search import SearchSettings, open_search
from asim_lightning.exploration.spec import SpecSettings, open_spec
from asim_lightning.exploration.study import Say, all_images
from asim_lightning.exploration.sweep import SweepSettings, grid_line, left_out, open_sweep
from asim_lightning.report.draw import save_figure
from asim_lightning.report.results_table import published_text
from asim_lightning.resources import shipped_file

Answer = TypeVar("Answer", covariant=True)


@dataclass(frozen=True)
class StudyOptions(Drawing):
    """Runner and display of a study."""

    progress: bool = True
    """Whether to show a progress bar with the time left, if standard error is a terminal."""
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    """Who computes the trials."""
    fresh: bool = False
    """Whether to compute every trial again, even if an earlier command finished it."""
    corners: dict[str, Any] = field(default_factory=dict)
    """Corners, each with fields of macro and technology that win over recipe and flags: {tt: {}, ss:
    {macro.random_noise: 0.2, technology.supply: 0.81}}."""


@dataclass(frozen=True)
class GridOptions(StudyOptions):
    """Runner and display of a study of points, and the meaning of LSB at them."""

    noise_in: Literal["written", "volts"] = "written"
    """Noise, offsets and trim steps in LSB while bits or range of the ADC vary: written (as many LSB of each ADC) or
    volts (the voltage that they have with each layer's own ADC)."""


def work_of(cli: AsimCLI, options: StudyOptions, data: Any, noise_in: str = "written") -> Work:
    """Inputs of a study; images are read, and missing input ranges are fitted."""
    trainer, model = cli.trainer, cli.model
    runner = runner_of(options.runner, trainer, model, data)
    prepare(trainer, model, data)

    def load(checkpoint: str) -> None:
        load_weights(model, *open_checkpoint(checkpoint))

    corners = Corners.read(options.corners).following(base_macro(model)) if options.corners else Corners()
    return Work(trainer, model, data, cli.run_folder, runner, options.fresh, load, noise_in, corners)


class Opened(Protocol[Answer]):
    """A study that is ready to run."""

    @property
    def folder(self) -> Path:
        """Folder of the run."""

    def run(self, say: Say, progress: bool) -> Answer:
        """Compute what is missing, and give the result."""


def run_recorded(cli: AsimCLI, options: StudyOptions, made: Opened[Answer], notes: Iterable[str] = ()) -> Answer:
    """Print notes, run a study, and save the command in its folder at its start, and again with its time at its end."""
    for note in notes:
        cli.say(note)
    if not cli.trainer.is_global_zero:
        return made.run(cli.say, options.progress)
    arguments, chip = cli.arguments, cli.model.chip
    record = CommandRecord(
        command=shlex.join(["asim", *arguments.words]),
        recipe=arguments.recipes[-1].path.stem if arguments.recipes else "",
        differences=dict(_differences(cli.by_recipes, cli.by_flags)),
        preset=None if cli.preset is None else cli.preset.name,
        macro=asdict(base_macro(cli.model)),
        images=all_images(cli.datamodule),
        seeds={
            "seed_everything": {**cli.by_recipes, **cli.by_flags}.get("seed_everything", 0),
            "model.noise_seed": cli.model.noise_seed,
            "model.chip": chip.path if isinstance(chip, SavedChip) else chip,
            "data.seed": getattr(cli.datamodule, "seed", None),
        },
        machine=asdict(this_machine(cli.trainer.strategy.root_device)),
        versions=versions(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    name = COMMAND + hashlib.sha256(record.command.encode(errors="surrogateescape")).hexdigest()
    store = Store(cli.run_folder)
    if (before := store.read(made.folder.name, name)) is not None:
        record = replace(record, seconds=before["seconds"], calls=before["calls"] + 1)
    start = time.monotonic()
    store.write(made.folder.name, name, asdict(record))
    found = made.run(cli.say, options.progress)
    seconds = (record.seconds or 0.0) + time.monotonic() - start
    store.write(made.folder.name, name, asdict(replace(record, seconds=seconds)))
    return found


def _differences(
    recipe: Mapping[str, Any], flags: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Settings of flags, by full name, that differ from the recipe or are not in it."""
    for name, value in flags.items():
        before = recipe.get(name)
        if isinstance(value, Mapping) and value and not above.startswith("axes."):
            yield from _differences(before if isinstance(before, Mapping) else {}, value, f"{above}{name}.")
        elif before != value or name not in recipe:
            yield f"{above}{name}", (before, value)


@dataclass(frozen=True)
class SweepOptions(GridOptions, SweepSettings):
    """Points of the grid, reads, targets, and runner."""

    axes: SweepAxes = field(default_factory=SweepAxes)
    """Values of macro fields; several axes give every combination."""
    published: dict[str, list[float]] = field(default_factory=dict)
    """Published accuracies, percent, for the points of the grid, in their order, by the name of a network."""
    against: str | None = None
    """A network in `published` to print next to the sweep's accuracies."""


def sweep(cli: AsimCLI, options: SweepOptions) -> None:
    """Accuracy of a checkpoint over a grid of macros, with a 95 % interval a point."""
    until = options.end
    check_flags(options.grid_at().axes, cli.by_flags)
    published = _published(options, not cli.model.outcome.is_share, cli.by_flags)
    made = open_sweep(work_of(cli, options, cli.datamodule, options.noise_in), options)
    what = "the yield" if options.of_chips else "the accuracy"
    fewer = "" if until is None else f", fewer if the target of {what} is answered before"
    cli.say(f"grid     {grid_line(cli.datamodule, made.grid, options.trials)}{fewer}")
    for line in left_out(made.grid.axes, made.macro, cli.by_flags.get("axes") or {}):
        cli.say(line)
    run = run_recorded(cli, options, made, made.notes)
    write_cost(cli, options.technology, made.folder)
    if cli.trainer.is_global_zero:
        print(publish(run, made, cli.run_folder.name, options.paper))
        if published:
            print(f"\n{published_text(run, published, options.against or '')}")


def check_flags(axes: Iterable[str], flags: Mapping[str, Any]) -> None:
    """Refuse a flag for a setting of the model that is an axis; in recipes, the axis wins."""
    model = flags.get("model") or {}
    macro = (model.get("plan") or {}).get("macro") or {}
    static = macro.get("static") or {}
    fixed = {*macro, *(f"static.{name}" for name in static), *({"chip"} & model.keys())}
    for name in axes:
        if name in fixed:
            raise ValueError(
                f"The sweep varies {name}, so its flag under `model` would change nothing; leave it out, or give "
                f"--axes.{name} '[VALUE]'"
            )


def _published(options: SweepOptions, is_other: bool, flags: Mapping[str, Any]) -> list[float]:
    """The accuracies to compare with, one a point of the grid; none: there is no comparison."""
    if options.against is None:
        return []
    check_choice("`against`", options.against, list(options.published))
    if is_other or options.of_chips or options.corners:
        raise ValueError(
            "`against` compares accuracies of one chip; leave out `chips`, a yield in `until`, `corners`, and another "
            "outcome"
        )
    if "axes" in flags and "published" not in flags:
        raise ValueError("`axes` must be the recipe's with `against`, as `published` holds accuracies of these points")
    found, points = options.published[options.against], options.grid_at().count()
    if len(found) != points:
        raise ValueError(
            f"`published` must have an accuracy for each of the {points} points, got {len(found)} for {options.against}"
        )
    return found


@dataclass(frozen=True)
class SearchOptions(GridOptions):
    """The search, and its runner."""

    search: SearchSettings = field(default_factory=SearchSettings)
    """Space, method, objectives and constraints."""
    technology: Technology = field(default_factory=Technology)
    """Technology for energy and latency."""


def search(cli: AsimCLI, options: SearchOptions) -> None:
    """The macros, chips, checkpoints and technologies with the best trade-offs of accuracy, energy and time."""
    asked = options.search
    made = open_search(work_of(cli, options, cli.datamodule, options.noise_in), asked, options.technology)
    points = f"{len(made.listed):,}" if made.listed else f"at most {asked.most:,}"
    fewer = "" if asked.until is None else f"; images end where '{asked.until}' is answered"
    corners = made.study.settings.corners
    at = f" at the corners {', '.join(corners)}" * bool(corners)
    cli.say(f"search   {asked.method}, {points} points of {', '.join(made.space.axes)}{at}{fewer}")
    run = run_recorded(cli, options, made, made.notes)
    write_cost(cli, options.technology, made.folder)
    if cli.trainer.is_global_zero:
        print(publish_search(run, made, cli.run_folder.name, options.paper))


@dataclass(frozen=True)
class SpecOptions(StudyOptions, SpecSettings):
    """The target, the properties to limit, and the runner."""


def spec(cli: AsimCLI, options: SpecOptions) -> None:
    """How bad each property of the macro may be, first each one, then all together, for a network that keeps a target.

    The macro of spec.yaml keeps the target; every command takes spec.yaml as a second recipe.
    """
    made = open_spec(work_of(cli, options, cli.datamodule), options)
    found = run_recorded(cli, options, made, made.notes)
    if not cli.trainer.is_global_zero:
        return
    texts = {"spec.json": json.dumps(found.to_json(), indent=2)}
    if found.keeps is not None:
        texts["spec.yaml"] = _recipe(cli, found.keeps, corners=found.corners)
    drawn = found.plot(f"{cli.run_folder.name}: how bad a macro may be that keeps {found.target}", options.width)
    _write(made.folder, texts, drawn, f"spec.{options.format}")
    said = "\n".join([str(found.table), *found.notes[len(made.notes) :]])
    cli.say(f"{said}\nfiles    {made.folder}/{', '.join(texts)}, spec.{options.format}")


def _recipe(
    cli: AsimCLI,
    macro: Mapping[str, Any],
    rules: Sequence[Mapping[str, Any]] = (),
    checkpoint: str | None = None,
    corners: Mapping[str, Any] = {},
) -> str:
    """A recipe with a found macro, rules, corners, and the command's weights unless others are given; see
    `recipe_of`."""
    start = None if cli.start.path is None else str(Path(cli.start.path).resolve())
    found = recipe_of(cli.model, macro, rules, checkpoint or start)
    found["model"] |= {"fidelity": "simulated", "outcome": cli.config.model.outcome}
    found |= {"corners": corners} if corners else {}
    return dump_yaml(json.loads(json.dumps(found)))


def _write(folder: Path, texts: Mapping[str, str], drawn: Axes, picture: str) -> None:
    for name, text in texts.items():
        write_text(folder / name, text)
    save_figure(drawn.figure, folder / picture)  # type: ignore[arg-type]


@dataclass(frozen=True)
class DoctorOptions(StudyOptions, DoctorSettings):
    """The target, the samples that measure plans, and the runner."""

    map: str | None = None
    """map.json of an earlier call, to use again; null: make a map."""
    technology: Technology = field(default_factory=Technology)
    """Technology of the energies."""


def doctor(cli: AsimCLI, options: DoctorOptions) -> None:
    """Find changes with which the network keeps a target: the cheapest plans, proved on other images, noise and chips.

    Writes map.json, doctor.json, a picture, and plan-1.yaml and so on; every command takes a plan as a second recipe.
    """
    known = None if options.map is None else read_map(Path(options.map))
    data = cli.datamodule
    if isinstance(data, ImageDataModule):
        data = copy(data)
        data.test_images = None
    else:
        prepare(cli.trainer, cli.model, data)
        data = GivenData(data)  # whose test samples can be taken in parts
    for each in options.checkpoints:
        shipped_file("checkpoints", each)  # refuses a wrong name early
    made = open_doctor(work_of(cli, options, data), options, options.technology, known, say=cli.say)
    found = run_recorded(cli, options, made)
    if not cli.trainer.is_global_zero:
        return
    texts = {str(each.file): _recipe(cli, each.macro, each.rules, each.checkpoint) for each in found.plans}
    texts[MAP] = json.dumps(found.map.to_json(), indent=1)
    texts["doctor.json"] = json.dumps(found.to_json(), indent=2)  # last, because it names the others
    drawn = found.plot(f"{cli.run_folder.name}: loss by layer and bit position", options.width)
    _write(made.folder, texts, drawn, f"map.{options.format}")
    print(f"{found}\n\nfiles    {made.folder}/{', '.join(texts)}, map.{options.format}")


def read_map(path: Path) -> LossMap:
    """The map of a map.json; a NaN is refused, because no plan could be ranked by it."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no share")

    try:
        return LossMap.of_json(json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"`map` must be a map.json of asim doctor, got {path}") from None
