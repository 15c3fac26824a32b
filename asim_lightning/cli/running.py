"""The commands that run a network: a function each, whose arguments behind the setup are the command's own options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asim_lightning.checks import check_whole
from asim_lightning.cli.bench import BenchOptions, bench
from asim_lightning.cli.calibrate_adc import CalibrateAdcOptions, calibrate_adc
from asim_lightning.cli.cost import CostOptions, network_cost, write_cost
from asim_lightning.cli.explain import ExplainOptions, explain_macros
from asim_lightning.cli.fitting import fit
from asim_lightning.cli.messages import UsageError
from asim_lightning.cli.prepare import prepare, read_data
from asim_lightning.cli.recorded_command import recorded
from asim_lightning.cli.start import Setup, load_weights, read_checkpoint
from asim_lightning.cli.validate import TestOptions, ValidateOptions, evaluate, validate
from asim_lightning.cli.verify import VerifyOptions, verify
from asim_lightning.cost import Technology
from asim_lightning.engine import SavedChip
from asim_lightning.evaluation.chip_layers import chip_layers
from asim_lightning.evaluation.whole_file import write_whole
from asim_lightning.exploration.axes import SweepAxes
from asim_lightning.exploration.runner_settings import RunnerSettings, runner_of
from asim_lightning.exploration.search_settings import SearchSettings
from asim_lightning.resources import shipped_file
from asim_lightning.surgery import macro_layers


def predict(setup: Setup) -> None:
    """A CSV of labels, predictions and confidences.

    Args:
        setup: What it works with.

    Raises:
        UsageError: There is no image.
    """
    trainer = setup.trainer
    trainer.predict(setup.model, datamodule=setup.data, weights_only=True)
    if not sum(trainer.num_predict_batches):
        raise UsageError("No image was predicted; `trainer.limit_predict_batches` bounds them")
    setup.say(f"predictions  {setup.predictions}")


@dataclass(frozen=True)
class Reads:
    """Reads of each point, and what ends them."""

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
    fresh: bool = False
    """Whether every trial is computed anew, also if an earlier command has finished it."""


def sweep(
    setup: Setup,
    axes: SweepAxes = SweepAxes(),
    reads: Reads = Reads(),
    progress: bool = True,
    technology: Technology = Technology(),
    runner: RunnerSettings = RunnerSettings(),
) -> None:
    """Accuracy of a checkpoint over a grid of macros, with a 95 % interval a point.

    Writes results.csv, a plot and TensorBoard scalars; a sweep that was stopped goes on where it was.

    Args:
        setup: What it works with.
        axes: Values of macro fields; several axes give every combination.
        reads: Reads of each point, and what ends them.
        progress: Whether a progress bar with the time left is shown, where standard error is a terminal.
        technology: What energy, latency and TOPS/W of each point are computed from.
        runner: Who computes the trials.
    """
    from asim_lightning.evaluation.chip_yield import thresholds_of
    from asim_lightning.evaluation.target import ENDS_IMAGES, Target
    from asim_lightning.exploration.axes import with_chips
    from asim_lightning.exploration.estimate import grid_line
    from asim_lightning.exploration.publish import publish, publish_yields
    from asim_lightning.exploration.sweep import Sweep

    trainer, model, data = setup.trainer, setup.model, setup.data
    until = None if reads.until is None else Target.read(reads.until, "`until`", ("yield", *ENDS_IMAGES))
    of_chips = reads.chips is not None or (until is not None and until.form == "yield")
    levels = thresholds_of(reads.thresholds, of_chips)
    computing = runner_of(runner, trainer, model, data)
    if of_chips:
        if until is not None and until.ends_images:
            raise UsageError(
                f"`until` '{until}' ends the images of a chip, so that `chips` must be null, got {reads.chips}"
            )
        axes = with_chips(axes, reads.chips, until)
    read_data(model, data)
    what = "the yield" if of_chips else "the accuracy"
    fewer = "" if until is None else f", fewer if the target of {what} is answered before"
    setup.say(f"grid     {grid_line(model, data, axes, reads.trials)}{fewer}")
    prepare(trainer, model, data)
    sweep = Sweep(
        trainer, model, data, axes, reads.trials, str(setup.folder), progress, until, technology, computing, reads.fresh
    )
    for note in sweep.notes:
        setup.say(note)
    with recorded(setup, sweep.folder):
        results = sweep.run(setup.say)
    write_cost(setup, technology, sweep.folder)
    if trainer.is_global_zero:
        print(publish(results, sweep, setup.folder.name, model.num_classes, levels if of_chips else None))
        if of_chips:
            print(f"\n{publish_yields(results, sweep, setup.folder.name, levels)}")


def trade_off(
    setup: Setup,
    search: SearchSettings = SearchSettings(),
    technology: Technology = Technology(),
    progress: bool = True,
    runner: RunnerSettings = RunnerSettings(),
    fresh: bool = False,
) -> None:
    """What accuracy costs: macros, chips, checkpoints and technologies that trade accuracy, energy and time best.

    Writes results.csv, pictures and TensorBoard scalars; a search that was stopped goes on where it was.

    Args:
        setup: What it works with.
        search: Space, method, objectives and constraints.
        technology: What energy and latency are computed from.
        progress: Whether a progress bar is shown, where standard error is a terminal.
        runner: Who computes the trials.
        fresh: Whether every trial is computed anew, also if an earlier command has finished it.
    """
    from asim_lightning.exploration.publish import publish_search
    from asim_lightning.exploration.search import Search

    trainer, model = setup.trainer, setup.model
    computing = runner_of(runner, trainer, model, setup.data)
    read_data(model, setup.data)
    prepare(trainer, model, setup.data)

    def load(checkpoint: str) -> None:
        path = str(shipped_file("checkpoints", checkpoint))
        load_weights(model, path, read_checkpoint(path))

    made = Search(trainer, model, setup.data, search, technology, str(setup.folder), load, computing, fresh)
    for note in made.notes:
        setup.say(note)
    count = made.space.count() if search.method in ("grid", "random") else None
    points = search.most if count is None else min(count, search.most)
    at_most = "" if search.method == "list" else "at most "
    fewer = "" if search.until is None else f"; images end where '{search.until}' is answered"
    setup.say(f"search   {search.method}, {at_most}{points:,} points of {', '.join(made.space.names)}{fewer}")
    with recorded(setup, made.folder):
        found = made.run(setup.say, progress)
    write_cost(setup, technology, made.folder)
    if trainer.is_global_zero:
        print(publish_search(found, made, setup.folder.name))


def chip(setup: Setup, chip: int | None = None) -> None:
    """What a chip gives each layer: converters, stuck cells and cells, as a table, a picture and a file.

    Args:
        setup: What it works with; the data's first test image is used, for the shapes that layers meet.
        chip: Number of the chip: 0..4294967295; null: that of the model.
    """
    from safetensors.torch import save

    from asim_lightning.report.chip_report import chip_figure, chip_table, worst_converters

    model = setup.model
    if chip is not None and isinstance(model.chip, SavedChip):
        raise UsageError(f"`chip` must be left out with `model.chip_file`, which is one chip, got {chip}")
    shown = model.chip if chip is None else chip
    if not isinstance(shown, SavedChip):
        check_whole("`chip`", shown, 0, 2**32 - 1)
    circuits = [layer.transfer for layer in macro_layers(model.backbone).values()]
    if not any(each.differs_by_chip or each.converters_differ for each in circuits):
        raise UsageError("No chip differs from another: set `model.plan.macro.static`, such as {offset: 0.3 lsb}")
    prepare(setup.trainer, model, setup.data)
    layers = chip_layers(model, next(iter(setup.data.test_dataloader()))[0][:1], shown)
    print("\n\n".join(each for each in (chip_table(layers), worst_converters(layers)) if each))
    tensors = {f"{layer.part}/{kind}": values for layer in layers for kind, values in layer.tensors.items()}
    number = shown.digest if isinstance(shown, SavedChip) else str(shown)
    folder = setup.folder / f"chip-{number}"
    print()
    if tensors:  # there are none where all that differs is what a column or a table of INL says
        content = save(tensors, {"chip": number})
        write_whole(folder / "chip.safetensors", lambda file: file.write(content))
        print(f"numbers  {folder / 'chip.safetensors'}")
    figure = chip_figure(layers, f"chip {number}: {sum(layer.converters for layer in layers):,} converters")
    if figure is not None:
        write_whole(folder / "chip.png", lambda file: figure.savefig(file, format="png"))
        print(f"picture  {folder / 'chip.png'}")


WITHOUT_PREFIX = (
    Reads, ValidateOptions, TestOptions, BenchOptions, ExplainOptions, VerifyOptions, CalibrateAdcOptions, CostOptions
)  # fmt: skip
"""Kinds of arguments whose fields are options of a command by their own names, as --trials."""
COMMANDS: Mapping[str, Callable[..., None]] = {
    "fit": fit,
    "validate": validate,
    "test": evaluate,
    "predict": predict,
    "sweep": sweep,
    "search": trade_off,
    "bench": bench,
    "explain": explain_macros,
    "verify": verify,
    "chip": chip,
    "calibrate-adc": calibrate_adc,
    "cost": network_cost,
}
