"""`asim sweep`, `asim search` and `asim spec`, and what all studies share: options, and a record for `asim report`."""

import hashlib
import json
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from asim_lightning.bench.machine import this_machine, versions
from asim_lightning.checks import check_choice
from asim_lightning.cli.command_line import dump_yaml, write_text
from asim_lightning.cli.cost import write_cost
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.start import Drawing, Setup, load_weights, open_checkpoint, prepare
from asim_lightning.cost import Technology
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.chip_yield import thresholds_of
from asim_lightning.evaluation.run import COMMAND, CommandRecord
from asim_lightning.evaluation.store import Store
from asim_lightning.evaluation.target import ENDS_IMAGES, MEASURED, Target
from asim_lightning.exploration.axes import SweepAxes, with_chips
from asim_lightning.exploration.estimate import all_images, grid_line
from asim_lightning.exploration.publish import publish, publish_search, publish_yields
from asim_lightning.exploration.runner import RunnerSettings, Work, runner_of
from asim_lightning.exploration.search import Search
from asim_lightning.exploration.search_settings import SearchSettings
from asim_lightning.exploration.spec import SpecStudy
from asim_lightning.exploration.sweep import Sweep
from asim_lightning.report.draw import save_figure
from asim_lightning.report.results_table import published_text
from asim_lightning.surgery import macro_layers


@dataclass(frozen=True)
class StudyOptions(Drawing):
    """Who computes the trials of a study, and how it is shown."""

    progress: bool = True
    """Whether a progress bar with the time left is shown, where standard error is a terminal."""
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    """Who computes the trials."""
    fresh: bool = False
    """Whether every trial is computed anew, also if an earlier command has finished it."""


def work_of(setup: Setup, options: StudyOptions) -> Work:
    """What a study works with: the images are read, and input ranges that are missing are fitted."""
    trainer, model, data = setup.trainer, setup.model, setup.data
    runner = runner_of(options.runner, trainer, model, data)
    prepare(trainer, model, data)

    def load(checkpoint: str) -> None:
        load_weights(model, *open_checkpoint(checkpoint))

    return Work(trainer, model, data, setup.folder, runner, options.fresh, load)


@contextmanager
def recorded(setup: Setup, folder: Path, notes: Iterable[str] = ()) -> Iterator[None]:
    """Say notes, and keep the command in a folder as it starts, and again with its time as it ends."""
    for note in notes:
        setup.say(note)
    if not setup.trainer.is_global_zero:
        yield
        return
    record = _record(setup)
    name = COMMAND + hashlib.sha256(record.command.encode(errors="surrogateescape")).hexdigest()
    store = Store(setup.folder)
    if (before := store.read(folder.name, name)) is not None:
        record = replace(record, seconds=before["seconds"], calls=before["calls"] + 1)
    start = time.monotonic()
    store.write(folder.name, name, asdict(record))
    yield
    seconds = (record.seconds or 0.0) + time.monotonic() - start
    store.write(folder.name, name, asdict(replace(record, seconds=seconds)))


def _record(setup: Setup) -> CommandRecord:
    arguments, chip = setup.arguments, setup.model.chip
    # the plan's, as long as no layer was given another by hand
    macro = next(iter(macro_layers(setup.model.backbone).values())).assignment.base
    return CommandRecord(
        command=shlex.join(["asim", *arguments.words]),
        recipe=arguments.recipes[-1].path.stem if arguments.recipes else "",
        differences=dict(_differences(setup.by_recipes, setup.by_flags)),
        preset=setup.preset,
        macro=asdict(macro),
        images=all_images(setup.data),
        seeds={
            "seed_everything": {**setup.by_recipes, **setup.by_flags}.get("seed_everything", 0),
            "model.noise_seed": setup.model.noise_seed,
            "model.chip": chip.path if isinstance(chip, SavedChip) else chip,
            "data.seed": getattr(setup.data, "seed", None),
        },
        machine=asdict(this_machine(setup.trainer.strategy.root_device)),
        versions=versions(),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _differences(
    recipe: Mapping[str, Any], flags: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Settings of flags, by full name, that the recipe has not or has otherwise."""
    for name, value in flags.items():
        before = recipe.get(name)
        if isinstance(value, Mapping) and value and not above.startswith("axes."):
            yield from _differences(before if isinstance(before, Mapping) else {}, value, f"{above}{name}.")
        elif before != value or name not in recipe:
            yield f"{above}{name}", (before, value)


@dataclass(frozen=True)
class SweepOptions(StudyOptions):
    """Points of the grid, reads of each, what ends them, and who computes them."""

    axes: SweepAxes = field(default_factory=SweepAxes)
    """Values of macro fields; several axes give every combination."""
    trials: int = 2
    """Reads of the chip for each noisy point: 1..65535."""
    chips: int | None = None
    """Number of chips at each point, for a yield: 2..10000; null: the model's chip alone."""
    until: str | None = None
    """A target that ends the work when it is answered: the chips by "yield 0.95 at 90 %", 500 or `chips` at most;
    the images of each point by "accuracy 90 %", or "accuracy within 2 %" for the width of its interval."""
    thresholds: list[float] | None = None
    """Accuracies, percent, from which a chip counts as good; null: that of `until`, or 1, 2 and 5 points below the
    quantised network's."""
    published: dict[str, list[float]] = field(default_factory=dict)
    """Accuracies, percent, that were published for the points of the grid, in their order, by the name of a network."""
    against: str | None = None
    """A network in `published`, whose accuracies are printed next to those of the sweep."""
    technology: Technology = field(default_factory=Technology)
    """What energy, latency and TOPS/W of each point are computed from."""


def sweep(setup: Setup, options: SweepOptions) -> None:
    """Accuracy of a checkpoint over a grid of macros, with a 95 % interval a point.

    Writes results.csv, a plot and TensorBoard scalars; a sweep that was stopped goes on where it was.
    """
    model, axes = setup.model, options.axes
    until = None if options.until is None else Target.read(options.until, "`until`", ("yield", *ENDS_IMAGES))
    of_chips = options.chips is not None or (until is not None and until.form == "yield")
    levels = thresholds_of(options.thresholds, of_chips)
    published = _published(options, of_chips, setup.by_flags)
    if of_chips:
        if until is not None and until.ends_images:
            raise UsageError(
                f"`until` '{until}' ends the images of a chip, so that `chips` must be null, got {options.chips}"
            )
        axes = with_chips(axes, options.chips, until)
    work = work_of(setup, options)
    what = "the yield" if of_chips else "the accuracy"
    fewer = "" if until is None else f", fewer if the target of {what} is answered before"
    setup.say(f"grid     {grid_line(model, setup.data, axes, options.trials)}{fewer}")
    made = Sweep(work, axes, options.trials, until, options.technology, options.progress)
    with recorded(setup, made.folder, made.notes):
        results = made.run(setup.say)
    write_cost(setup, options.technology, made.folder)
    if setup.trainer.is_global_zero:
        of_chips = of_chips and model.outcome.is_share
        shown = levels if of_chips else None
        print(publish(results, made, setup.folder.name, model.num_classes, shown, options.format))
        if of_chips:
            print(f"\n{publish_yields(results, made, setup.folder.name, levels, options.format)}")
        if published:
            print(f"\n{published_text(results, published, options.against or '')}")


def _published(options: SweepOptions, of_chips: bool, flags: Mapping[str, Any]) -> list[float]:
    """The accuracies to compare with, one a point of the grid; none: there is no comparison."""
    if options.against is None:
        return []
    check_choice("`against`", options.against, list(options.published))
    if of_chips:
        raise UsageError("`against` compares points of one chip; leave out `chips`, and a yield in `until`")
    if "axes" in flags and "published" not in flags:
        raise UsageError("`axes` must be the recipe's with `against`, as `published` holds accuracies of these points")
    found, points = options.published[options.against], options.axes.count()
    if len(found) != points:
        raise UsageError(
            f"`published` must have an accuracy for each of the {points} points, got {len(found)} for {options.against}"
        )
    return found


@dataclass(frozen=True)
class SearchOptions(StudyOptions):
    """What is searched, and who computes it."""

    search: SearchSettings = field(default_factory=SearchSettings)
    """Space, method, objectives and constraints."""
    technology: Technology = field(default_factory=Technology)
    """What energy and latency are computed from."""


def search(setup: Setup, options: SearchOptions) -> None:
    """What accuracy costs: macros, chips, checkpoints and technologies that trade accuracy, energy and time best.

    Writes results.csv, pictures and TensorBoard scalars; a search that was stopped goes on where it was.
    """
    asked = options.search
    made = Search(work_of(setup, options), asked, options.technology)
    points = f"{len(made.listed):,}" if made.listed else f"at most {asked.most:,}"
    fewer = "" if asked.until is None else f"; images end where '{asked.until}' is answered"
    setup.say(f"search   {asked.method}, {points} points of {', '.join(made.space.names)}{fewer}")
    with recorded(setup, made.folder, made.notes):
        found = made.run(setup.say, options.progress)
    write_cost(setup, options.technology, made.folder)
    if setup.trainer.is_global_zero:
        print(publish_search(found, made, setup.folder.name, options.format))


@dataclass(frozen=True)
class SpecOptions(StudyOptions):
    """What the network must keep, of which properties the limits are wanted, and who computes them."""

    target: str = "accuracy 99 % of quantized"
    """What must be kept, such as "accuracy 99 % of quantized", "accuracy 88 %" or "yield 0.9 at 85 %"."""
    properties: list[str] | None = None
    """Properties whose limits are looked for, such as [random_noise, offset, adc_bits]; null: all."""
    given: dict[str, Any] = field(default_factory=dict)
    """What every macro has, such as {random_noise: 0.3 lsb, static.gain: 1}; it has no other noise and spreads."""
    chips: int = 10
    """Chips of each macro with spreads: 2..10000."""
    trials: int = 1
    """Reads of each chip of a macro with noise: 1..65535."""


def spec(setup: Setup, options: SpecOptions) -> None:
    """How bad each property of the macro may be, only it and then all together, so that the network keeps a target.

    Writes spec.json, spec.yaml (a macro that keeps the target) and a picture; a spec that was stopped goes on.
    """
    target = Target.read(options.target, "`target`", MEASURED)
    work = work_of(setup, options)
    made = SpecStudy(work, target, options.properties, options.given, options.chips, options.trials)
    with recorded(setup, made.folder, made.notes):
        found = made.run(setup.say, options.progress)
    if not setup.trainer.is_global_zero:
        return
    texts = {"spec.json": json.dumps(found.to_json(), indent=2)}
    if found.keeps is not None:
        texts["spec.yaml"] = dump_yaml({"model": {"plan": {"macro": dict(found.keeps)}}})
    for name, text in texts.items():
        write_text(made.folder / name, text)
    drawn = found.plot(f"{setup.folder.name}: how bad a macro may be that keeps {target}")
    save_figure(drawn.figure, made.folder / f"spec.{options.format}")  # type: ignore[arg-type]
    print(f"{found.table}\nfiles    {made.folder}/{', '.join(texts)}, spec.{options.format}")
